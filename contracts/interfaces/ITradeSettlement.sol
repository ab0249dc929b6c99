// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAgreement} from "./IAgreement.sol";
import {IDeposits} from "./IDeposits.sol";
import {ISupply} from "./ISupply.sol";

/// @title Settlement of bilateral trades and of what is delivered
/// @notice Households, and their supplier, hold deposits in an ERC-20 token. After a round of the virtual aggregator has
///         converged, both sides of a pair state the trades they agreed on; a trade is recorded, and paid from deposits,
///         when the two statements are identical and fit the last bids on the aggregator, and never on one side's word.
///         Of a pair that only one side states, or each otherwise, the metering account says what was agreed on.
///         After delivery, what a household's meter says beyond its trades is bought from or sold to the supplier, at
///         the tariff that the supplier published before anybody declared.
///
/// @dev A statement about the pair (lower, higher), two node numbers, is a byte string of one 9-byte entry a traded
///      step, steps ascending:
///
///      | bytes | field    | meaning                                                                    |
///      |-------|----------|----------------------------------------------------------------------------|
///      | 0     | step     | uint8, 0 to steps - 1                                                      |
///      | 1-4   | energy   | int32, Wh, positive where the lower node sells                             |
///      | 5-8   | price    | int32, 1e-6 currency/kWh                                                   |
///
///      It fits the last bids where its energies are, step by step, the agreed ones,
///        (d_ij - d_ji) / 2 * powerResolutionMilliwatt * stepSeconds / 3,600,000, to the nearest Wh, halves away from 0
///      (i the lower node, j the higher), with an entry wherever that is not zero and nowhere else. Bids count where both
///      books list the other with the same steps. The lower node opens the commitments of both, so that the contract
///      can read the bids. An empty statement takes the side's statement back; it is never recorded.
///
///      Payment = sum(energy * price) * 10^decimals / 10^9, once a pair, where who pays pays a begun token unit as a whole
///      (Money); positive from the higher to the lower node. |sum| < 192 * 2^62 < 2^70, times 10^18 < 2^130.
///
///      The side that has to pay locks the payment with its statement, so recording never fails for want of money and
///      neither side can make the other's call fail. A lock ends with the record, with a new statement of the
///      same side, or by `release` after its deadline. The side whose statement completes the record pays at once,
///      without a lock.
///
///      A tariff has 8 bytes a step: import and feed-in price, each int32, 1e-6 currency/kWh; and with fees behind them 4
///      bytes a step, int32 of at least 0, 1e-6 currency/kWh of what a household buys from others in the step beyond what
///      it sells, and 6 bytes, uint48, 1e-6 currency/kWh of the most that it draws from the grid in a step, by its
///      reading. The supplier collects fees with its bill, for the grid operator. A reading has 4 bytes a step: int32, Wh that the household fed into the grid (negative: drew from it), signed by the metering account
///      as EIP-712 data Reading(uint32 round,uint8 node,bytes energies) of domain ("gridpact settlement", "1").
///      deviation = reading - sum of the recorded trades of the node, energy sold positive; payment from the supplier
///      = (sum(worth(deviation)) - fees) * 10^decimals / 10^9, worth(e) = e * (feed-in price where e is positive, else import price),
///      rounded against the household, once a reading. In a step whose feed-in price is above its import price
///      worth(reading) - worth(trades) counts instead of worth(reading - trades): what was sold is bought at the dearer
///      price and what was bought is sold at the cheaper one, so that nobody earns the difference on energy that was
///      only traded (TS14).
///      What a household cannot pay is in arrears (ISupply). If the supplier's deposit is too small, the call fails, and can
///      be made again. After a delivery the node's trades can no longer be recorded, so the metering account signs when the
///      day is over, and not before.
///
///      Each supplier publishes its own tariff, is paid and pays for its customers' deliveries, and lays out what they
///      cannot pay of trades that were vouched for. The price of a trade that is vouched for lies within the tariffs of
///      the suppliers of its two sides: neither below the higher of their lower prices of the step nor above the lower of
///      their higher ones, so that whoever of the two buys pays no more than its own supplier asks, and whoever sells gets
///      no less than its own supplier pays, and no third supplier's tariff counts. Where one of the two tariffs pays more
///      than the other asks, so that no price is both, it lies between these: else one of a pair could keep the other's
///      trades from being vouched for by a bid in such a step.
///
/// Invariants. Tests bear these numbers.
///   TS1  Free and locked deposits of all accounts together equal the contract's token balance (tokens that somebody
///        sends past `deposit` stay in the contract and belong to nobody).
///   TS2  A trade is recorded at most once, and only where it fits the last bids and both sides stated the same; or
///        where one stated something and the metering account vouches for it, at prices within the tariffs of the two
///        sides' own suppliers, or between them where they have none in common.
///   TS3  The payments of a round, the suppliers' included, sum to zero.
///   TS4  What is neither locked nor in arrears can be withdrawn at any time.
///   TS5  Every lock ends: by the record, a new statement, or release after the deadline.
///   TS6  Trades are recorded only for rounds that converged, between nodes that were present at the end.
///   TS7  A delivery is settled at most once a node and round, with all its recorded trades, at the tariff that stood
///        before the round started.
///   TS8  Nobody's deposit pays but for its own statement, its own last bids, its own reading, or as the supplier.
///   TS9  A day is settled by one round only in each product: the one in which it was agreed and not replaced; of a day that was agreed
///        in none, the first that is settled.
///   TS10 A delivery takes no more from a household than the limit that it set itself before it declared in the round,
///        or abstained, and what its trades come to that its meter does not bear out: what it sold and did not feed
///        in, at the dearer price of the step, and what it bought and did not draw, where a price is below zero. And
///        nothing from who did neither.
///   TS11 Arrears grow by deliveries, each of which counts once, by corrections to which the household consented, and by
///        what it has to pay for a trade that was vouched for; by nothing else.
///   TS13 A day is settled with the supplier whose customer the household was when the round was opened, at its tariff. It
///        becomes the customer of none that it did not wish, and none supplies whom it did not accept; but the community's
///        supplier supplies who has no other, or no longer. Who is dismissed supplies nobody in rounds opened later.
///   TS12 What one node of a pair has settled already takes nothing from the other's statements about other pairs.
///   TS14 Where all members of a round are customers of one supplier, trades earn them together no more from it, step by
///        step, than they would be paid without any: each for its own reading, or all for the sum of their readings,
///        whichever is more. Where a limit (TS10) cuts a bill, they are paid for no more than what their meters read.
///   TS15 Arrears are what an account owes suppliers, each its own: what one is owed keeps none from billing, and what
///        comes in pays them in the order in which their debts began.
interface ITradeSettlement is IDeposits, ISupply {
    /// @notice A recorded trade, opened again; or what a node has traded with all at once in a market.
    struct Position {
        uint8 partner; // 255: all
        bytes trades;
    }

    /// @notice A supplier's tariff of a round, opened again.
    struct Quote {
        address supplier;
        bytes tariff;
    }

    /// @param statement keccak256 of the trades; zero where it was taken back
    /// @param locked    what the statement locks, token units; zero where it completes the record
    event Stated(uint32 indexed round, uint8 indexed node, uint8 indexed partner, bytes32 statement, uint256 locked);
    event StatementsDiffer(uint32 indexed round, uint8 indexed lower, uint8 indexed higher);
    /// @param payment token units, positive from the higher to the lower node
    event TradeRecorded(
        uint32 indexed round, uint8 indexed lower, uint8 indexed higher, int256 payment, bytes trades
    );
    event Released(uint32 indexed round, uint8 indexed node, uint8 indexed partner, uint256 amount);
    event TariffPublished(uint32 indexed round, address indexed supplier, bytes tariff);
    /// @param payment  token units, positive from the supplier to the household
    /// @param arrears  the part of a negative payment that the household could not pay yet
    event Delivered(uint32 indexed round, uint8 indexed node, int256 payment, uint256 arrears, bytes energies);
    /// @notice A pair is recorded on the word of the metering account. `arrears`: what its payer could not pay yet.
    event Vouched(uint32 indexed round, uint8 indexed lower, uint8 indexed higher, uint256 arrears);
    /// @notice A part of `state` or `vouch` did not count. `reason`: the custom error that says why.
    event Skipped(uint32 indexed round, uint8 indexed node, uint8 indexed partner, bytes reason);
    /// @param payment what the delivery would come to with this reading
    event CorrectionProposed(
        uint32 indexed round, uint8 indexed node, address indexed party, int256 payment, bytes energies
    );
    /// @param payment of the delivery as it is now, token units, positive from the supplier to the household
    /// @param arrears the part of what the household pays more that it could not pay yet
    event Corrected(uint32 indexed round, uint8 indexed node, int256 payment, uint256 arrears, bytes energies);
    /// @param round the first for which it holds
    event DebitLimited(address indexed account, uint32 round, uint256 most);
    /// @notice A delivery comes to more than a household pays by its limit. `most`: what it pays, the limit and what
    ///         its meter does not bear out.
    event DebitCut(uint32 indexed round, uint8 indexed node, int256 payment, uint256 most);

    error NotConverged(uint32 round);
    error NotFinished(uint32 round);
    error InvalidPartner(uint8 node, uint8 partner);
    error InvalidTrades(uint8 partner, uint256 position);
    error WrongOpening(uint32 round, uint8 node);
    error DoesNotFitBids(uint8 partner, uint256 step);
    error AlreadyRecorded(uint32 round, uint8 lower, uint8 higher);
    error AlreadyDelivered(uint32 round, uint8 node);
    error NothingLocked(uint32 round, uint8 node, uint8 partner);
    error LockedUntil(uint40 deadline);
    error NothingStated(uint32 round, uint8 lower, uint8 higher);
    error OutsideTariff(uint8 partner, uint256 step, int256 price);
    error NotDelivered(uint32 round, uint8 node);
    error NotConcerned(uint32 round, uint8 node, address account);
    error OtherRoundOfDay(uint32 day, uint32 round);
    error TariffTooLate(uint32 round);
    error OtherProduct(uint32 round);
    error TariffPublishedAlready(uint32 round);
    error FeeBelowZero(uint256 step, int256 fee);
    error WrongTariff(uint32 round);
    error WrongReading(uint32 round, uint8 node);
    error WrongPositions(uint32 round, uint8 node);
    error LengthMismatch(uint256 expected, uint256 actual);

    /// @notice States the caller's trades of a converged round, one statement a partner. A pair whose two statements
    ///         are identical is recorded and paid at once. A statement about a pair that is recorded already, or whose
    ///         partner was delivered, leaves a `Skipped` in the log, and the others count; any other fault reverts.
    /// @param own opening of the caller's last submission; unused where it is the higher node of all its pairs
    function state(uint32 round, IAgreement.Statement[] calldata statements, IAgreement.Opening calldata own) external;

    /// @notice Records the trades of pairs that agreed, and of which one side states nothing, or each something else: as
    ///         all can work them out from what was public in the round. Only the metering account, for one node and its
    ///         partners above it. The energies have to fit the last bids, prices lie within, or between, the tariffs of the suppliers
    ///         of the two, and one of the two has to state something. What was locked for the pair is freed, and then the
    ///         payer pays from its free deposit; what it has not, it owes its supplier, who lays it out. A pair that is
    ///         recorded, of which nobody states anything, of which one was delivered, or for which neither payer nor its
    ///         supplier has the money, leaves a `Skipped` in the log, and can be vouched for again.
    /// @param own    opening of the node's last submission
    /// @param quotes tariffs of the round, as they were published: of all these nodes' suppliers
    function vouch(
        uint32 round,
        uint8 node,
        IAgreement.Statement[] calldata statements,
        IAgreement.Opening calldata own,
        Quote[] calldata quotes
    ) external;

    /// @notice Frees what the caller's account locked for a pair that was not recorded by the lock's deadline.
    function release(uint32 round, uint8 partner) external;

    /// @notice A supplier's prices for a round: once, and before the first node declares or abstains (also before the
    ///         round is opened), so that everybody who takes part knows them. Only for rounds of product 0: a meter
    ///         tells of a day once. What is agreed in another product is stated, recorded and paid here like any trade,
    ///         and delivered where positions of all products are kept.
    function publishTariff(uint32 round, bytes calldata tariff) external;

    /// @notice Settles a household's delivery of a finished round with the supplier. Anybody may call.
    /// @param tariff    of its supplier, as it was published
    /// @param positions all recorded trades of the node, partners ascending; in a market the one with all at once, also
    ///                  where it is empty
    /// @param r, vs     the metering account's signature, EIP-2098 form
    function deliver(
        uint32 round,
        uint8 node,
        bytes calldata energies,
        bytes calldata tariff,
        Position[] calldata positions,
        bytes32 r,
        bytes32 vs
    ) external;

    /// @notice Another reading for one that was delivered, by consent of the household and its supplier: the first of
    ///         the two calls keeps its hash, the second, with the same reading, settles the difference. A consent holds
    ///         until its party gives another. What the supplier pays back ends arrears first. Needs no signature of the
    ///         metering account, and knows no limit of the household.
    function correct(
        uint32 round, uint8 node, bytes calldata energies, bytes calldata tariff, Position[] calldata positions
    ) external;

    /// @notice The most that a delivery may take from the caller, deposit and arrears together: in the round that takes
    ///         declarations, where the caller has said nothing in it yet, and in each that is opened from now on; besides
    ///         it what its trades come to that its meter does not bear out (TS10). What it comes to beyond is nobody's
    ///         debt here. Zero lifts the limit. Everybody can read it.
    function limitDebit(uint224 most) external;

    /// @notice Who says whether trades fit what was agreed in them.
    function agreement() external view returns (IAgreement);
    /// @notice Who does for it what is called seldom.
    function registrar() external view returns (address);
    /// @notice Whose customer who declared as a node in a round is in it.
    function supplierOf(uint32 round, uint8 node) external view returns (address);
    /// @notice How long a lock holds: as long as the aggregator's phases.
    function lockSeconds() external view returns (uint32);
    /// @notice keccak256 of the recorded trades of a pair; zero where there are none.
    function recorded(uint32 round, uint8 one, uint8 other) external view returns (bytes32);
    /// @notice What a node states about a partner.
    /// @return statement keccak256 of the trades; zero where it states nothing
    /// @return amount    locked, token units
    /// @return deadline  unix time after which `release` may be called; meaningless where nothing is locked
    function stated(uint32 round, uint8 node, uint8 partner)
        external
        view
        returns (bytes32 statement, uint256 amount, uint40 deadline);
    /// @notice Number of recorded pairs of a node.
    function positions(uint32 round, uint8 node) external view returns (uint256);
    function delivered(uint32 round, uint8 node) external view returns (bool);
    /// @notice The round that settles a day; zero before its first record or delivery.
    function settledIn(uint32 day) external view returns (uint32 round);
    function settledInOf(uint8 product, uint32 day) external view returns (uint32 round);
    /// @notice What a delivery of that round takes from an account at most; zero where it has no limit.
    function debitLimit(uint32 round, address account) external view returns (uint256);
    /// @notice keccak256 of a supplier's tariff of a round; zero where it published none.
    function tariffHashOf(uint32 round, address supplier_) external view returns (bytes32);
    /// @notice The same of the community's supplier.
    function tariffHash(uint32 round) external view returns (bytes32);
    /// @notice What the node received (negative: paid or owes) in a round, token units: trades and delivery.
    function netPayment(uint32 round, uint8 node) external view returns (int256);
    /// @notice What the suppliers received in a round, together.
    function supplierPayment(uint32 round) external view returns (int256);
    /// @notice The payment that a statement implies, token units, positive from the higher to the lower node.
    function payment(bytes calldata trades) external view returns (int256);
    /// @notice The EIP-712 digest of a reading.
    function readingDigest(uint32 round, uint8 node, bytes calldata energies) external view returns (bytes32);
}
