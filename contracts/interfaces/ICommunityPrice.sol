// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAtOnePrice} from "./IAtOnePrice.sol";

/// @title The manager's step of a community that plans by one price a step
/// @notice The contract is the manager who finds a price: all it does is in its rule. In each iteration every member tells
///         what would pass its meter at each step, planned at home by the price and near what it told before; the last one
///         closes the iteration, and the price moves against the mean, kept between feed-in and import price. In every
///         fifth iteration members tell also what they would gain by planning at the price alone. Where these gains, and
///         what the supplier takes beyond the price for what is left, come to no more than the gap, the round is settled:
///         what was told last are the bids, at the price that they were planned by, and anybody clears them (IAtOnePrice).
///         The side with less trades whole, the other in proportion.
///
///         Who misses `maxMisses` iterations is out, and the others go on without it. A round in which all are out is
///         abandoned; one that does not settle in `mu` iterations, or that nobody clears in time, is exhausted: nothing is
///         traded, and locks can be released.
///
///         The owner enrols nodes and opens rounds with the tariff between which prices lie, the penalty and what the gap is
///         at least a part of. It has no say in anything else. Members look at these terms, and abstain where they are not
///         the supplier's.
///
///         A settled round waits to be cleared: in the iteration after the one that settled it, with all counted as present.
///
/// @dev What a member tells are words of 8 lanes of 32 bits, step t in lane t % 8 of word t / 8, from the least significant:
///
///      | bits of a lane | holds                                                                            |
///      |----------------|----------------------------------------------------------------------------------|
///      | 25-31          | zero: what the sum of 128 members takes                                          |
///      | 0-24           | energy fed into the grid, units, plus 2^24; zero beyond the last step            |
///
///      A unit is so many mWh. Prices are int32, 1e-6 currency/kWh, in words alike.
///
///      With X the sum of what `count` members have told for a step, at price p, and what feeding in earns, f, and
///      importing costs, i:
///        p <- min(max(p - X * rho / (count * 2^32), f), i)      division towards zero; at first (f + i) / 2, rounded down
///      Settled where
///        sum over steps ((p - a) * X) + gains <= gap * max(|sum(a * X)|, base),   a = f where X > 0, else i
///      in 1e-9 currency; gap in millionths. A bid's energy is that of the units, to the nearest Wh (halves away from
///      zero), its price p.
///
/// Invariants. Tests bear these numbers.
///   CP1  A price is what the rule makes of what was told, and lies between feed-in and import price of its step.
///   CP2  What a member tells counts once an iteration, for no other, and in no other history than it was made for.
///   CP3  A round is settled only in an iteration in which all who are not out have told what they would gain, by the
///        test above, and traded at the price that these plans were made by.
///   CP4  Money is conserved: free and locked deposits add up to totalDeposits; payments of a clearing to zero.
///   CP5  Nobody pays more than what it has locked, nor locks more than its own bids of one iteration could come to.
///   CP6  Every lock ends: by the clearing, or by release once the round is over.
///   CP7  No other clearing passes than the one of the rule; energies of a step add up to zero.
///   CP8  Whoever is silent, the round ends, after mu iterations and a clearing at the latest.
///   CP9  Numbers that do not fit their lanes are refused, and no sum reaches into the next lane.
interface ICommunityPrice is IAtOnePrice {
    struct Setting {
        uint16 steps; //        of a day
        uint16 nodes; //        that can be enrolled
        uint32 phaseSeconds; // for joining, for each iteration, and for clearing
        uint16 mu; //           most iterations
        uint8 maxMisses; //     iterations that a node may miss before it is out
        uint16 unit; //         of energy, mWh
        uint32 gap; //          millionths
    }

    /// @notice What a round is opened on, see `openOn`.
    event TermsSet(uint32 indexed round, uint64 rho, uint64 base, uint256[] feedIn, uint256[] imports);
    event Joined(uint32 indexed round, uint8 indexed node);
    /// @notice What a node told where gains were weighed.
    /// @param gain 1e-9 currency
    /// @param bids what it trades if the round is settled by this iteration
    event Weighed(uint32 indexed round, uint16 indexed iteration, uint8 indexed node, uint64 gain, bytes bids);
    /// @notice An iteration was closed.
    /// @param present who has told in it
    /// @param head    with it; what is told next names its last two bytes
    /// @param sums    of what they told
    /// @param price   by which they plan next; where the round is settled, that by which they have planned
    event Priced(
        uint32 indexed round,
        uint16 indexed iteration,
        uint128 present,
        bool settled,
        bytes32 head,
        uint256[] sums,
        uint256[] price
    );
    event Released(address indexed account, uint256 amount);

    error TermsNeeded();
    error WrongIteration(uint16 current, uint16 given);
    error WrongHistory(uint16 current, uint16 given);
    error AlreadyTold(uint32 round, uint8 node);
    error InvalidPrices(uint256 step);
    error UnitsTooLarge(uint256 word);
    error NotSettled(uint32 round);

    /// @notice Opens the next round. Only the owner, as `openRound` of IRounds, which is refused here.
    /// @param rho     1e-6 currency/kWh for a unit, 2^-32
    /// @param base    1e-9 currency
    /// @param feedIn  words of prices
    /// @param imports the same, nowhere below
    function openOn(uint32 day, uint64 rho, uint64 base, uint256[] calldata feedIn, uint256[] calldata imports)
        external
        returns (uint32 round);

    /// @notice Takes part in the round, while it takes declarations.
    function join(uint32 round) external;

    /// @notice What would pass the caller's meter, by the price that stands.
    /// @param history last two bytes of the head
    /// @param units   words
    /// @param gain    by planning at the price alone, 1e-9 currency; counts in every fifth iteration, where what the bids
    ///                could come to is locked, too
    function tell(uint32 round, uint16 iteration, uint16 history, uint256[] calldata units, uint64 gain) external;

    /// @notice Frees what an account has locked, unless a round iterates. Anybody.
    function release(address account) external;

    // ------------------------------------------------------------------ views

    /// @notice Of energy, mWh.
    function unit() external view returns (uint16);
    /// @notice What a round may end with beyond the least that there is, millionths of the bill.
    function gap() external view returns (uint32);
    /// @notice What the round was opened with.
    function terms()
        external
        view
        returns (uint64 rho, uint64 base, uint256[] memory feedIn, uint256[] memory imports);
}
