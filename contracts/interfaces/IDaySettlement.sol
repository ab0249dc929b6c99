// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDayProducts} from "./IDayProducts.sol";
import {IDeposits} from "./IDeposits.sol";
import {ITradeSettlement} from "./ITradeSettlement.sol";
import {IVirtualAggregator} from "./IVirtualAggregator.sol";

/// @title A day of a community with its suppliers, from its positions to the last payment
/// @notice The community's supplier opens a day with its terms, other suppliers take part with their own tariffs;
///         households join it. Through the day they have positions: of the
///         round that was agreed the day before, of rounds about the rest of the day, and of spot trades, options and
///         forwards (IDayProducts). They nominate what they will draw from the supplier. After each step meters are read; what members
///         have over and lack beyond their positions is matched (the pool), the supplier buys and sells the rest, and
///         an adder is due on what the members together deviate from what they nominated.
///
/// @dev Units. Energy Wh, prices 1e-6 currency/kWh, money token units: energy * price * 10^decimals / 10^9.
///
/// Time. Step k of a day begins at start + k * stepSeconds. Its gate closes gateSeconds before: until then positions
/// and nominations of it change, and not after. From its end on it can be read. It is settled, after the step before
/// it, when all members are read, or readingSeconds after its end.
///
/// Suppliers. A member is the customer of the supplier that the trade settlement names when it joins (ISupply). Suppliers
/// have numbers in a day, the community's 0, others from 1 on as they came; what one has left of its lock is the balance of
/// party 255 less its number. A tariff has import and feed-in price of each step, int32 each; then, if it has fees, one on
/// what comes from neighbours for each step, int32, and a peak fee, uint48, 1e-6 currency for each kWh in the step in which
/// most is drawn; then, if it counts over more than the day, the period, uint32: so a month's peak is paid for bit by bit,
/// whenever a step is above all those of the same supplier and period that are settled, and once. Members agree to the
/// tariff, and the most that they can owe is locked beforehand, as ever.
///
/// Rounds. The round with the day as its label is the one of the day before. A round about the steps from k on has the
/// label `labelOf(day, k)`; its trades are changes of positions, stated and paid on the trade settlement like any
/// other. `bring` counts a recorded pair for both of its nodes, at the steps whose gates are open; one of them brings it, or
/// anybody for them. It counts where both are members and can cover it, and for neither else. Rounds that have a tariff on the trade settlement are delivered there, and are
/// not taken here.
///
/// Series of energies are int32, big-endian, one a step (nominations) or one a node (readings).
///
/// Cover. A member's position of a step is covered from when it is made until the step is settled: by what it costs if
/// nothing of it is fed in or drawn (`coverOf`), the dearer of import and feed-in price and the adder on what is sold; on
/// what is bought the fee, and what is below zero of the cheaper price less the adder. It is taken from the member's balance of the day,
/// as far as that is above the least lock, then from its free deposit; what is left of it after the step is in the balance.
///
/// A step, of the customers i of one supplier, ascending, by its tariff: pool and imbalance are theirs. r_i: reading, Wh fed into the grid; where none came, such that g_i = n_i, but
/// at least 0, and what i has sold: who is not read is not paid for what it nominated to have over, and has delivered
/// nothing. Where a price is below zero, it counts as having nominated nothing: nobody is paid for drawing unread.
///   g_i = position_i (sold) - r_i       what i draws from pool and supplier; negative: has over
///   n_i                                 the same, as i nominated it last; 0 where it never did
/// Pool, where import price less fee > feed-in price, among those whose balance covers g_i at the dearer of both prices:
///   energy      min(sum of what is lacking, sum of what is over)
///   given       in proportion to what each has over
///   taken       by the key: in proportion to what each lacks, or in equal parts, or by shares that sum to 10^9, but by
///               nobody more than it lacks; what it does not need goes to the others
///   price       half way between feed-in price and import price less fee, or by the ratio of what is over to what is
///               lacking, from the latter where hardly anything is over to feed-in where enough is
///   fee         on what is taken, and on what was bought by the position, whether it is drawn or not
/// The rest of g_i is bought at the import price from, or sold at the feed-in price to the supplier. Where the feed-in price
/// is above the import price, there is no pool, and what is read is supplied at these prices, what was sold is bought at
/// the dearer and what was bought sold at the cheaper. Peak fee: on what is drawn by its meter beyond the most of the
/// period until then. Adder: on |sum of g_i - n_i|, borne by those who deviate in its direction, in proportion, each mostAdder at most.
/// Parts are differences of the rounded-down running sum, so nothing is lost by rounding: what is taken is what is
/// given, and the payments of a step and supplier sum to zero. What the supplier receives and pays is rounded in its favour.
///
/// Nobody owes more than it locked. What a member has to pay beyond its balance of the day and its cover of the step is not
/// paid (`Uncovered`): that is the supplier's risk, which it takes with the least lock that it asks for. What the supplier has to pay beyond
/// its balance is not paid either, in proportion: that is the members', who see its lock before they join.
///
/// Invariants. Tests bear these numbers.
///   DS1  Free and locked deposits of all accounts together are totalDeposits, and the contract has as many tokens.
///   DS2  What is locked is the balances of days that are not closed, the covers of positions in steps that are not
///        settled, and what is locked for products.
///   DS3  The payments of a step among a supplier and its customers sum to zero.
///   DS4  A day takes from nobody more than it has locked for it and received in it.
///   DS5  A day's locks end, and anybody can end them after the last reading's deadline. No step before needs anybody's
///        consent.
///   DS6  Positions and nominations of a step do not change once its gate has closed.
///   DS7  Positions of members sum to zero, but for what they have traded with the supplier; a pair's trades of a round
///        count once, and for both.
///   DS8  A reading counts once, where the metering account signed it, between the end of the step and its settlement.
///   DS10 Where no supplier's feed-in price is above another's import price: suppliers never pay for energy that was not read and that nobody covered: positions move money between
///        members, and leave suppliers together in each step at least what one meter for all of them would, less what members
///        could not pay of what they drew themselves (but for units of rounding). So nobody is out of money by a delivery
///        that never happened but who promised it.
///   DS11 A peak is paid for once in its period: the fees of a period are the fee on the most that was read of all its
///        settled steps, whatever the order of its days.
///   DS12 What a supplier and its customers pay each other in a step follows from these customers' positions, nominations,
///        readings and balances, and its own, whatever others do.
///   DS9  No call needs more than 2^24 gas, with up to 128 members and 192 steps.
interface IDaySettlement is IDeposits {
    /// @notice By what those who lack get from the pool.
    enum Key {
        Proportional,
        Equal,
        Shares
    }

    /// @notice What the pool's energy costs.
    enum Pricing {
        MidMarket,
        Ratio
    }

    /// @notice What a day's members agree to by joining.
    struct Terms {
        uint40 start; //          unix time at which step 0 begins
        uint32 stepSeconds;
        uint32 gateSeconds; //    before a step begins
        uint32 readingSeconds; // after a step ends, at most 2^24
        Key key;
        Pricing pricing;
        uint32 adder; //          1e-6 currency/kWh of deviation
        uint32 tolerance; //      Wh, within which a position is delivered
        uint128 leastLock; //     of a member, token units
        uint128 mostAdder; //     of a member in a step, token units
    }

    /// @notice Where a day stands.
    struct Standing {
        uint32 index; //   1, 2, ...; 0 where it was never opened
        uint16 next; //    the step that is settled next
        bool closed;
        uint128 members; // bitmap of node numbers
        uint8 suppliers; // how many there are
        bytes32 terms; //  hash, see `termsHash`
    }

    /// @notice A member's last nomination.
    struct Nomination {
        // Of keccak256(abi.encodePacked(day, node, first, energies)), with uint32, uint8, uint8; 0 where a position of the
        // member has changed since: it still counts, and what its meter will read follows from both no longer.
        bytes27 hash;
        uint40 time;
    }

    /// @notice How often an account had a position in a step that was read, and delivered it.
    struct History {
        uint64 had;
        uint64 delivered;
    }

    event DayOpened(uint32 indexed day, uint32 index, Terms terms, bytes tariff, bytes shares, uint256 lock);
    /// @param number of the supplier in the day
    /// @param terms  hash that its customers agree to
    event DaySupplied(
        uint32 indexed day, address indexed supplier, uint8 number, bytes32 terms, bytes tariff, uint256 lock
    );
    event Joined(uint32 indexed day, uint8 indexed node, address indexed account, uint256 lock);
    /// @param pairs that count from now on
    event Brought(uint32 indexed day, uint32 indexed round, uint8 indexed node, uint256 pairs);
    /// @notice A pair does not count, since a partner is no member of the day or cannot cover what it has sold (or, where
    ///         feeding in costs, bought). It can be brought again.
    event NotCovered(uint32 indexed day, uint32 indexed round, uint8 indexed partner, uint8 node);
    event Nominated(uint32 indexed day, uint8 indexed node, uint8 first, bytes32 hash, bytes energies);
    /// @param nodes bitmap of those that are read, energies ascending
    event StepRead(uint32 indexed day, uint8 indexed step, uint128 nodes, bytes energies);
    /// @notice What a step came to among a supplier and its customers.
    /// @param number     of the supplier in the day
    /// @param customers  bitmap of node numbers
    /// @param poolEnergy of neighbours for neighbours, Wh
    /// @param deviation  of all customers together from what they nominated, Wh; positive: they took more
    /// @param payments   token units, received, of each customer, ascending, and of the supplier
    event StepSettled(
        uint32 indexed day,
        uint8 indexed step,
        uint8 indexed number,
        uint128 customers,
        uint256 poolEnergy,
        int256 poolPrice,
        int256 deviation,
        int256[] payments
    );
    /// @notice A member could not pay all that it had to, or the supplier could not pay a member.
    event Uncovered(uint32 indexed day, uint8 indexed step, uint8 indexed node, int256 amount);
    event DayClosed(uint32 indexed day);

    error NotSupplier(address account);
    error SuppliesAlready(uint32 day, address supplier);
    error TooManySuppliers(uint32 day);
    error NotSupplied(uint32 day, address supplier);
    error FeeBelowZero(uint256 step, int256 fee);
    error NotProducts(address account);
    error NotMember(uint32 day, address account);
    error InvalidTerms(string what, uint256 value);
    error SharesDoNotSumToOne(uint256 sum);
    error LengthMismatch(uint256 expected, uint256 actual);
    error DayOpenedAlready(uint32 day);
    error NoSuchDay(uint32 day);
    error JoinedAlready(uint32 day, uint8 node);
    error OtherTerms(uint32 day, bytes32 terms);
    error LockTooSmall(uint256 least, uint256 given);
    error NoSuchStep(uint8 step);
    error GateClosed(uint32 day, uint8 step, uint256 gate);
    error RoundOfOther(uint32 round, uint32 day);
    error NotRecorded(uint32 round, uint8 node, uint8 partner);
    error BroughtAlready(uint32 round, uint8 node, uint8 partner);
    error StepNotOver(uint32 day, uint8 step, uint256 end);
    error StepSettledAlready(uint32 day, uint8 step);
    error ReadTwice(uint32 day, uint8 step, uint8 node);
    error ReadingsAwaited(uint32 day, uint8 step, uint256 until);
    error StepsLeft(uint32 day, uint16 next);
    error ClosedAlready(uint32 day);

    // ------------------------------------------------------------------ the day

    /// @notice The supplier opens a day, before the gate of its first step closes, and locks what it can owe.
    /// @param day    the label of the round of the day before; below 2^31
    /// @param tariff see above
    /// @param shares with the key Shares those of the node numbers from 0 on, int32 each, sum 10^9; else none
    function openDay(
        uint32 day, Terms calldata terms_, bytes calldata tariff, bytes calldata shares, uint128 lock
    ) external;

    /// @notice The caller, another supplier than the community's, takes part with its tariff, before the gate of the first
    ///         step closes, and locks what it can owe.
    /// @param terms hash of the terms that it agrees to, the community's
    function supplyDay(uint32 day, bytes32 terms, bytes calldata tariff, uint128 lock) external;

    /// @notice The caller, who is enrolled as a household, takes part: before the gate of the first step closes.
    /// @param terms hash of the terms that it agrees to, see `termsFor`
    function join(uint32 day, bytes32 terms, uint128 lock) external;

    /// @notice Counts recorded trades of a node, for its partners, too: energies at the steps whose gates are open become
    ///         positions.
    function bring(uint32 day, uint32 round, uint8 node, ITradeSettlement.Position[] calldata pairs) external;

    /// @notice What the caller will draw from pool and supplier in each step from `first` on, whose gate is open.
    function nominate(uint32 day, uint8 first, bytes calldata energies) external;

    // ------------------------------------------------------------------ products only

    /// @notice Locks an account's free deposit for a product.
    function lockFor(address account, uint256 amount) external;

    /// @notice Ends such a lock.
    function unlockFor(address account, uint256 amount) external;

    /// @notice Pays from one account's free deposit to another's.
    function pay(address from, address to, uint256 amount) external;

    /// @notice Moves energy from a seller's position to a buyer's, and locks what covers them.
    function move(uint32 day, uint8 seller, uint8 buyer, uint8 step, uint256 energy) external;

    // ------------------------------------------------------------------ delivery

    /// @notice Readings of a step. Anybody may bring what the metering account signed, EIP-712
    ///         Reading(uint32 day,uint8 step,uint128 nodes,bytes energies) of domain ("gridpact day", "1").
    /// @param nodes    bitmap of members
    /// @param energies Wh that each fed into the grid (negative: drew), nodes ascending
    function read(uint32 day, uint8 step, uint128 nodes, bytes calldata energies, bytes32 r, bytes32 vs) external;

    /// @notice Pool, supply and imbalance of the next step. Anybody may call.
    function settleStep(uint32 day) external;

    /// @notice Ends the day's locks, after its last step. Anybody may call.
    function closeDay(uint32 day) external;

    // ------------------------------------------------------------------ views

    function aggregator() external view returns (IVirtualAggregator);
    function settlement() external view returns (ITradeSettlement);
    function supplier() external view returns (address);
    function metering() external view returns (address);
    /// @notice The half that opens, settles and closes days.
    function clearing() external view returns (address);
    function steps() external view returns (uint16);
    function products() external view returns (IDayProducts);
    function standing(uint32 day) external view returns (Standing memory);
    function terms(uint32 day) external view returns (Terms memory);
    /// @notice What customers of the community's supplier agree to: keccak256(abi.encode(terms, keccak256(tariff),
    ///         keccak256(shares))); those of another to keccak256(abi.encode(that, keccak256(its tariff))).
    function termsHash(Terms calldata terms_, bytes calldata tariff, bytes calldata shares)
        external
        pure
        returns (bytes32);
    /// @notice The label of a round about the steps of an open day from one on.
    function labelOf(uint32 day, uint8 step) external view returns (uint32);
    /// @notice A member's node in a day, or SUPPLIER, 255; reverts with NotMember.
    function partyOf(uint32 day, address account) external view returns (uint8);
    /// @notice When a step begins, unix time; the one after the last, when the day ends.
    function startOf(uint32 day, uint256 step) external view returns (uint256);
    /// @notice Unix time from which a step's positions and nominations stand.
    function gateOf(uint32 day, uint8 step) external view returns (uint256);
    function memberOf(uint32 day, uint8 node) external view returns (address);
    /// @notice A member's supplier.
    function supplierOf(uint32 day, uint8 node) external view returns (address);
    /// @notice What an account agrees to that joins: the hash of its supplier's terms; reverts with NotSupplied.
    function termsFor(uint32 day, address account) external view returns (bytes32);
    /// @notice Import and feed-in price of a step, and the fee on what comes from neighbours, of a member's supplier.
    function pricesOf(uint32 day, uint8 node, uint8 step)
        external
        view
        returns (int256 importPrice, int256 feedInPrice, int256 tradeFee);
    /// @notice What covers a member's position: what it costs if nothing of it is fed in or drawn.
    /// @param energy sold (negative: bought), Wh
    function coverOf(uint32 day, uint8 node, uint8 step, int256 energy) external view returns (uint256);
    /// @notice Wh that a node has sold (negative: bought) in a step.
    function position(uint32 day, uint8 node, uint8 step) external view returns (int256);
    /// @notice Wh that a node will draw in a step, as it nominated last.
    function nominated(uint32 day, uint8 node, uint8 step) external view returns (int256);
    function nomination(uint32 day, uint8 node) external view returns (Nomination memory);
    function reading(uint32 day, uint8 step, uint8 node) external view returns (bool isRead, int256 energy);
    /// @notice What an account has left of its lock for a day; suppliers as 255 less their numbers.
    function balance(uint32 day, uint8 node) external view returns (uint256);
    /// @notice Partners whose trades with a node in a round were brought, as a bitmap.
    function brought(uint32 round, uint8 node) external view returns (uint128);
    function history(address account) external view returns (History memory);
    function readingDigest(uint32 day, uint8 step, uint128 nodes, bytes calldata energies)
        external
        view
        returns (bytes32);
}
