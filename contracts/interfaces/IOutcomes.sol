// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title What came of rounds
/// @notice All that a settlement must know of them; what trades must fit is asked of IAgreement.
interface IOutcomes {
    /// @notice Phases of a round. The last three are final.
    enum Phase {
        None, //      no round was opened yet
        Declaring, // nodes declare participation (step 2 of the report)
        Iterating, // nodes submit (steps 3 to 6)
        Converged, // all four residual tests held
        Exhausted, // mu iterations were not enough
        Abandoned //  no node was left: nobody declared (or all abstained), or all are out, or the root of a tree is
    }

    /// @notice Where a round stands. One storage slot.
    struct Progress {
        uint32 round; //      see above; 0 before the first
        uint16 iteration; //  the iteration that is open (or, once final, the last one); 0 while declaring
        Phase phase;
        uint40 deadline; //   unix time after which `closeOverdue` may be called
        uint8 counter; //     nodes that have declared or abstained, or submitted in this iteration and are not out
        uint8 expected; //    the counter that completes: nodes enrolled, then nodes that are not out
        uint16 history; //    the last two bytes of the head, see IVirtualAggregator.submit; 0 while declaring
        uint128 present; //   nodes that have declared or abstained, or whose copies are in the running sums; bit i for
        //                    node i
    }

    /// @notice How a round ended. `phase` is None while it has not.
    struct Outcome {
        Phase phase;
        uint16 iterations; // closed iterations
        uint128 present; //   nodes present in the last of them
        uint32 day; //        the label with which the round was opened
        bytes32 head; //      the chain of the closed iterations
    }

    function outcome(uint32 round) external view returns (Outcome memory);
    /// @notice The round in which a day was agreed in a product; zero where none was, or it was replaced.
    function agreedInOf(uint8 product, uint32 day) external view returns (uint32 round);
    /// @notice The node as which the account declared in that round, whoever is enrolled now: the manager cannot give
    ///         a past round's trades to somebody else. Reverts with NotEnrolled where the account did not declare.
    function nodeIn(uint32 round, address account) external view returns (uint8);
    /// @notice The account that declared as that node in that round; zero where none did.
    function accountIn(uint32 round, uint8 node) external view returns (address);
    /// @notice Where the current round of a product stands.
    function progressOf(uint8 product) external view returns (Progress memory);
    /// @notice Time for declaring, and for each iteration.
    function phaseSeconds() external view returns (uint32);
}
