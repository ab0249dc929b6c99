// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {IRounds} from "../interfaces/IRounds.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Member} from "./Member.sol";
import {Standing, Standings} from "./Standing.sol";

/// @title The state of a round
/// @notice One for each product. The next round of a product takes the place of the last, of which the outcome stays; no
///         slot is cleared that the next round overwrites.
///
/// @dev Storage of a state.
///
/// | variable | slots | written                                                                              |
/// |----------|-------|--------------------------------------------------------------------------------------|
/// | standing | 1     | by each declaration, abstention and submission                                       |
/// | nodes    | 1/2   | when a round is opened and started                                                   |
/// | active   | 1/2   | the same, and when a node goes out                                                   |
/// | closed   | 1     | when a round is opened and started, when an iteration is closed, when a node goes out |
/// | head     | 1     | when an iteration is closed                                                          |
/// | members  | 128   | by the node's declaration or abstention, when it misses or goes out                  |
library Round {
    /// @notice The closed iterations of the round. One storage slot.
    struct Closed {
        uint32 day; //       of the round
        uint16 iteration; // the last one; 0 before the first
        uint128 present; //  in it
        uint16 disturbed; // the last iteration in which a node was missing or excluded
        uint64 tally; //     of the agreement, as it likes
    }

    struct State {
        Standing standing;
        uint128 nodes; //  of the round, from its start
        uint128 active; // those of them that are not out
        Closed closed;
        bytes32 head;
        Member[MAX_NODES] members;
    }

    uint256 private constant PRODUCT_AT = 24;

    /// @notice The product of a round.
    function product(uint32 round) internal pure returns (uint8) {
        return uint8(round >> PRODUCT_AT);
    }

    /// @notice What a day's agreement in a product is kept by.
    function label(uint8 product_, uint32 day) internal pure returns (uint256) {
        return uint256(product_) << 32 | day;
    }

    /// @notice The number of the next round of a product.
    function next(State storage self, uint8 product_) internal view returns (uint32) {
        return uint32(product_) << uint32(PRODUCT_AT) | (uint24(self.standing.round()) + 1);
    }

    function isRunning(IOutcomes.Progress memory progress_) internal pure returns (bool) {
        return progress_.phase == IOutcomes.Phase.Declaring || progress_.phase == IOutcomes.Phase.Iterating;
    }

    /// @notice Where the round stands, which has to be the current one of its product, and in a phase.
    function at(State storage self, uint32 round, IOutcomes.Phase phase) internal view returns (Standing standing) {
        standing = self.standing;
        if (standing.round() != round) revert IRounds.WrongRound(standing.round(), round);
        if (standing.phase() != phase) revert IRounds.WrongPhase(standing.phase());
    }

    /// @notice The same, unpacked.
    function load(State storage self, uint32 round, IOutcomes.Phase phase)
        internal
        view
        returns (IOutcomes.Progress memory)
    {
        return at(self, round, phase).unpack();
    }

    function progress(State storage self) internal view returns (IOutcomes.Progress memory) {
        return self.standing.unpack();
    }

    function save(State storage self, IOutcomes.Progress memory progress_) internal {
        self.standing = Standings.pack(progress_);
    }

    function headOf(State storage self) internal view returns (uint16 iteration, bytes32 hash) {
        iteration = self.closed.iteration;
        return (iteration, iteration == 0 ? bytes32(0) : self.head);
    }

    /// @notice Keeps that the open iteration is closed.
    /// @param hash the head with it
    function close(State storage self, IOutcomes.Progress memory progress_, bytes32 hash)
        internal
        returns (Closed memory closed)
    {
        closed = self.closed;
        closed.iteration = progress_.iteration;
        closed.present = progress_.present;
        if (progress_.counter != progress_.expected) closed.disturbed = progress_.iteration;
        self.closed = closed;
        self.head = hash;
        progress_.history = uint16(uint256(hash));
    }

    /// @notice Whether an iteration, and the one before, was one of all nodes that are not out, and of no other.
    function undisturbed(Closed memory closed) internal pure returns (bool) {
        return closed.iteration >= uint256(closed.disturbed) + 2;
    }

    /// @notice Takes a node out. What it has submitted in the open iteration stays there.
    function exclude(State storage self, IOutcomes.Progress memory progress_, uint8 node) internal {
        self.members[node] = self.members[node].excluded();
        self.active &= ~Nodes.bit(node);
        --progress_.expected;
        if (progress_.present & Nodes.bit(node) != 0) --progress_.counter;
    }
}
