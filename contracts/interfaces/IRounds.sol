// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IOutcomes} from "./IOutcomes.sol";

/// @title Rounds: what every agreement needs, whatever is agreed on
/// @notice Who is enrolled, how a round begins, goes on from iteration to iteration and ends, who is out of it, what came
///         of it, and who spoke for a node. Nothing here knows how the nodes agree.
///
/// @dev Products. Rounds of different products (tomorrow's day, the rest of today) are open at the same time, one of each.
///      A round's number says its product, so whatever takes a round needs no other argument:
///
///      | bits  | holds                                                                                |
///      |-------|--------------------------------------------------------------------------------------|
///      | 24-31 | product; 0 is the one that calls without a product mean                              |
///      | 0-23  | number of the round among those of its product, from 1 on                            |
///
///      All products have the same nodes, the same deadlines and the same iterations at most. Nobody is enrolled or
///      expelled while a round of any product runs.
///
///      What is agreed is named by product and day: the same day may be agreed once in each product.
///
/// Invariants: VA1, VA3 to VA6, VA8, VA10 and VA13 of IVirtualAggregator are about what is here.
interface IRounds is IOutcomes {
    event Enrolled(uint8 indexed node, address indexed account);
    event Expelled(uint8 indexed node, address indexed account);
    event RoundOpened(uint32 indexed round, uint32 day, uint40 deadline);
    /// @notice A round was opened for a day in place of the one in which it was agreed.
    event RoundReplaced(uint32 indexed agreed, uint32 indexed round);
    /// @notice A node has no plan for the day: it is not in the round.
    event Abstained(uint32 indexed round, uint8 indexed node);
    event IterationOpened(uint32 indexed round, uint16 indexed iteration, uint40 deadline);
    /// @notice A node is out of the round: it missed too many iterations, or the referee found it false.
    event Excluded(uint32 indexed round, uint16 indexed iteration, uint8 indexed node, bool proved);
    event RoundEnded(uint32 indexed round, Phase phase, uint16 iterations);

    error InvalidTheta(string what, uint256 value);
    error DayAgreed(uint32 day, uint32 round);
    error ProductTooLarge(uint8 product);
    error NodeOutOfRange(uint8 node);
    error NodeTaken(uint8 node, address account);
    error AccountTaken(address account, uint8 node);
    error ZeroAccount(uint8 node);
    error NotEnrolled(address account);
    error EnrolmentFull(uint16 n);
    error NobodyEnrolled();
    error LengthMismatch(uint256 expected, uint256 actual);
    error WrongPhase(Phase phase);
    error RoundsRun(uint16 rounds);
    error WrongRound(uint32 current, uint32 given);
    error AlreadyDeclared(uint8 node);
    error NotInRound(uint8 node, uint32 round);
    error DeadlineNotPassed(uint40 deadline);

    // ------------------------------------------------------------------ manager, between rounds

    /// @notice Enrols accounts as nodes. Only the manager, only while no round runs.
    function enrol(uint8[] calldata nodes, address[] calldata accounts) external;

    /// @notice Ends the enrolment of nodes. Only the manager, only while no round runs.
    function expel(uint8[] calldata nodes) external;

    /// @notice Opens the next round, of the nodes that are enrolled. Only the manager, only while no round of the product
    ///         runs, and not for a day that was agreed already.
    /// @param day a label, yyyymmdd
    function openRound(uint32 day) external returns (uint32 round);

    /// @notice The same for a day that was agreed: the round in which it was is no longer the one that counts, whatever
    ///         becomes of the new one. What was settled of it already stays, and then the new one settles nothing (see
    ///         ITradeSettlement): so replace a day before anybody has stated its trades, or not at all.
    /// @param agreed the round that is replaced
    function replaceRound(uint32 day, uint32 agreed) external returns (uint32 round);

    /// @notice Both of them for any product; refused for others than 0 where nodes and steps are so many that the first
    ///         submissions of a product would need more gas than a transaction takes (see Sizes).
    /// @param agreed the round that is replaced; 0 where the day was agreed in none
    function openRoundOf(uint8 product, uint32 day, uint32 agreed) external returns (uint32 round);

    // ------------------------------------------------------------------ nodes

    /// @notice Instead of declaring: the node has no plan for the day and keeps out of the round, so that the others need
    ///         not wait for it until the deadline. It counts as heard: the last of the enrolled nodes to declare or to
    ///         abstain starts the first iteration, without those that abstained, and without the nodes below them in
    ///         the tree. It cannot be taken back. A node that abstained is in no blocks and no bids, but still one of
    ///         the round for `nodeIn` and `accountIn`, so that its delivery can be settled.
    ///         Like a declaration it ends the time for the supplier's tariff: wait for that before.
    function abstain(uint32 round) external;

    // ------------------------------------------------------------------ anyone

    /// @notice Ends a phase whose deadline has passed. Declaring: the round starts with those who have declared.
    ///         Iterating: the iteration is closed with the nodes that are present; the copies of the others are
    ///         missing from the counts and their bids stay at the last ones. It is not judged, as their residuals are
    ///         missing too. Who is missing for the maxMisses-th time is out.
    function closeOverdue() external;
    function closeOverdueOf(uint8 product) external;

    // ------------------------------------------------------------------ views

    function progress() external view returns (Progress memory);
    /// @notice The round in which a day was agreed; zero where none was, or it was replaced.
    function agreedIn(uint32 day) external view returns (uint32 round);
    function nodeOf(address account) external view returns (uint8); // reverts with NotEnrolled
    function accountOf(uint8 node) external view returns (address); // zero where nobody is enrolled
    function enrolled() external view returns (uint128 bitmap);
    /// @notice The chain of the closed iterations of the current round, and how many there are.
    function head() external view returns (uint16 iteration, bytes32 hash);
    function headOf(uint8 product) external view returns (uint16 iteration, bytes32 hash);
}
