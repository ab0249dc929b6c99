// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title A contract of a market of several levels, whose rounds about a day end from the top down
/// @notice Nodes that take part in a contract and in the one above it, its gateways, pass on what they buy and sell. What is
///         agreed above has to fit what is agreed below, so contracts end one after the other. The one at the top ends when
///         it and all below it are within their limits. Then what the gateways have agreed there is fixed, and those below
///         end by their own test, which they can keep, since households have a supplier. The other way round gateways
///         would have fixed sums above that add up to something.
///
/// @dev Ties are a tree, made by the manager. Rounds are those of product 0, and belong together by their day.
///
/// Invariants. Tests bear these numbers.
///   TI1  A round ends by nothing but its own test, as in IVirtualAggregator; ties can only put that off.
///   TI2  It does not before the round above has ended, unless none of its gateways is in that round any more.
///   TI3  It does not while a round below whose gateways are in it is open and was not within its limits in its newest
///        closed iteration, or while one below that is not.
///   TI4  Nobody is waited for for ever: from 2/5 of mu iterations on none below, and none above in the last one. By then
///        nothing is within reach but what was agreed (see Reach). A contract that answers nothing, or not in the gas
///        that there is for it, is one that has to be waited for.
interface ITied {
    /// @notice What hangs on a contract: a contract, and the nodes up here that are its gateways, bit i for node i.
    struct Branch {
        ITied level;
        uint128 gateways;
    }

    event Tied(ITied above, Branch[] below);

    /// @notice A branch without gateways, or with one of another branch.
    error InvalidBranch(ITied level, uint128 gateways);

    /// @notice Says what is above and below, instead of what was. The manager's, while no round runs.
    /// @param above zero where nothing is
    function tie(ITied above, Branch[] calldata below) external;

    /// @notice Whether the one above need not wait for it: its round about the day has ended, or it and all below it that
    ///         it waits for were within their limits in the newest closed iteration.
    function isReady(uint32 day) external view returns (bool);

    /// @notice Whether the caller, below, need not wait for it: its round about the day has ended, or is without the
    ///         caller's gateways.
    function releases(uint32 day) external view returns (bool);
}
