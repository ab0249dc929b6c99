// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IVirtualAggregator} from "./IVirtualAggregator.sol";

/// @title The referee: whether an accusation is proved by what stands on the chain
/// @notice Holds nothing and rules over nothing. Evidence opens the hashes that the aggregator stores (commitments,
///         head, books), so nobody needs to be believed: anybody can call `judge`, and the aggregator calls it before it
///         excludes a node. A call that returns is a verdict of guilty; every other outcome is a revert.
///
/// @dev evidence = abi.encode(Charge, bytes), the bytes an abi.encode of ResidualEvidence or PlanEvidence; where rounds are
///      sealed, of SealedEvidence or OpenedPlan.
///
///      Charge Residuals: the residuals that the node claimed for iteration k, in its submission for k + 1, are not
///      those that follow from the public integers (see IVirtualAggregator); or what it submitted in k is further from
///      what was agreed in k - 1 than the library Reach allows, as far as the evidence shows the age of k.
///
///      Charge Plan: the node is a root with children that published a feeder (see the library Feeder) as its book, and
///      with the injections P, Q of its newest submission, an exact power flow of that feeder has a voltage that is more
///      than 1e-4 p.u. outside the published limits, at one step. Nodes on the feeder that are no children of the root
///      in this round inject nothing: what they draw is not in the plan, and an operator answers for what is.
///      Of a street with phases (see the library Street) the same is judged of the voltage of each phase of each home, of
///      the current of each phase and the neutral of a section that has a rating, and of the apparent power into the
///      transformer: more than 1e-4 p.u., or of the rating, beyond. Whom the street does not have may inject nothing.
///
///      Where rounds are sealed, the charge Plan takes an OpenedPlan: node 0 signs, with its key of the round, which keys open
///      its newest answer, and what these open it to is judged as above. Charge Residuals proves nothing there. Charges
///      Sealed, Answer and Late are there only: see SealedReferee for what they prove; the evidence is a SealedEvidence.
///
/// Invariants. Tests bear these numbers.
///   RF1  A node that computed its residuals as the interface defines them, and kept within reach, cannot be proved
///        false, whatever the evidence; where rounds are sealed and the reach is zero, if it proves within six iterations
///        which partner went beyond it.
///   RF2  Any difference in any of the four residuals can be proved.
///   RF3  A plan whose exact voltages are within the limits cannot be proved false; one that is outside by more than
///        2e-4 p.u. can.
///   RF4  The same of a street with phases, its currents and its transformer (2e-4 of their ratings). Of its power flow by
///        sweeps from the voltages without load is asked that it settles to 2^-27 p.u. within twenty; one that does not,
///        or that does not exist, can be proved. Flows within limits settle in about ten.
interface IReferee {
    enum Charge {
        Residuals,
        Plan,
        Sealed,
        Answer,
        Late
    }

    /// @notice A submission, as its node's commitment hashes it.
    struct Link {
        uint16 iteration;
        bytes32 copies; // keccak256 of the packed words
        bytes32 bids; //   keccak256
        uint256 residuals;
    }

    /// @notice The newest part of a node's chain of submissions: folded from `before`, it gives the commitment.
    struct History {
        bytes32 before; // zero where `links` begins with the first submission of the round
        Link[] links; //   ascending
    }

    /// @notice A closed iteration, as the head hashes it.
    struct Closed {
        uint16 iteration;
        uint128 present;
        uint256 residuals;
        bytes32 sums; // keccak256 of the packed words
    }

    /// @notice Bids of a partner of the accused, in iterations k and k - 1; empty where it was not present in k.
    struct Partner {
        bytes book;
        History history; // from k - 1, or from k where it was not present in k - 1
        bytes bids;
        bytes bidsBefore; // empty where not present in k - 1
    }

    struct ResidualEvidence {
        uint16 iteration; //   k
        bytes32 headBefore; // the head before the first of `closed`
        Closed[] closed; //    from k - 1 or before (from k where k = 1) to the newest
        uint256[] sums; //     of k, all blocks
        uint256[] sumsBefore; // of k - 1; empty where k = 1
        History accused; //    from k - 1, k or k + 1, whichever it was present in first
        uint256[] copies; //   of the accused in k; these three are empty where it was not present
        bytes bids;
        bytes bidsBefore; //   in k - 1; empty where it was not present
        bytes book; //         of the accused
        Partner[] partners; // in the order of the book
    }

    /// @notice That a point is what the keys of two nodes have in common: with the keys A of the accused and B = b G of who
    ///         accuses it, S = b A. c = keccak256(A, B, S, R1, R2), r = k - c b, where R1 = k G and R2 = k A.
    struct Proof {
        uint256 x; //         S
        uint256 y;
        uint256 challenge; // c
        uint256 response; //  r
    }

    struct SealedEvidence {
        ResidualEvidence residuals; // its one partner: the node that shows what it shares with the accused
        uint256[] copiesBefore; //     of the accused in k - 1; empty where it was not present, or where it is about bids
        uint8 other; //                that node: 0, or a partner
        Proof proof;
        bytes answer; // of the accused about k; empty where it is not about that
    }

    struct PlanEvidence {
        uint256 step;
        bytes32 before; //     the node's commitment before its newest submission
        Link newest;
        uint256[] copies; //   of that submission
        bytes book; //         the feeder
    }

    /// @notice A plan of a sealed round as its node opens it, to whomever it gives this.
    struct OpenedPlan {
        PlanEvidence plan; //  its copies are words as submitted
        bytes32[] keys; //     of the iteration, with each child, ascending (see Seals)
        bytes32 r; //          EIP-2098, by the key that the node declared, of
        bytes32 vs; //         keccak256(abi.encode(aggregator, round, iteration, keys))
    }

    /// @param why what does not fit: "head", "history", "sums", "copies", "bids", "book", "presence", "residuals" (they
    ///            are as they should be), "plan" (it is within the limits), "answer" (it was not given), "secret" (it is
    ///            not what the two have in common, or node 0 has not signed it), "sealed" (the form has no such charge)
    error NotProved(string why);

    /// @notice Whether the rounds that it judges are sealed: what stands on the chain of a submission is then read by the
    ///         other end of each variable and bid only, see the library Seals.
    function seals() external view returns (bool);

    /// @notice Returns where the evidence proves the charge; reverts with NotProved, or on malformed evidence.
    function judge(IVirtualAggregator aggregator, uint32 round, uint8 node, bytes calldata evidence) external view;
}
