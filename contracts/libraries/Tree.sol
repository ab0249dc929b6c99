// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRounds} from "../interfaces/IRounds.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Member} from "../rounds/Member.sol";
import {Round} from "../rounds/Round.sol";
import {Blocks, Entry} from "./Blocks.sol";
import {Lanes} from "./Lanes.sol";
import {GRID_CONNECTION, MAX_NODES, Nodes} from "./Nodes.sol";

/// @notice What the agreement keeps of a member's declaration: its terms (see Member).
///
///      | bits  | holds                                       |
///      |-------|---------------------------------------------|
///      | 0-7   | parent                                      |
///      | 8-15  | depth                                       |
///      | 16-31 | bids                                        |
///      | 32    | whether it has children, which stand apart  |
///      | 33-47 | zero                                        |
type Place is uint48;

/// @title The tree that nodes declare
/// @notice A declaration is checked for itself when it is made, and against the others when the round starts: so nobody's
///         declaration can make another's fail.
library Tree {
    /// @dev 65 slots.
    struct Store {
        uint128 lines; // nodes of the round that are not roots
        uint128 inner; // those of them that have children
        uint128[MAX_NODES] children; // of those that are parents
    }

    /// @notice Who stays, and what they hold.
    struct Settled {
        uint128 nodes; //  that stay; the others are out
        uint128 lines;
        uint128 inner;
        uint256 blocks; // in the submissions of all of them
        uint256 bids;
    }

    uint256 private constant IS_PARENT = 1 << 32;

    function place(uint8 parent, uint8 depth, uint16 bids, bool isParent) internal pure returns (Place) {
        return Place.wrap(
            uint48(
                uint256(parent) | uint256(depth) << 8 | uint256(bids) << 16 | (isParent ? IS_PARENT : 0)
            )
        );
    }

    /// @notice Whether one declaration can be true.
    function check(uint8 node, uint8 parent, uint8 depth, uint128 children, uint128 enrolled) internal pure {
        if (parent >= MAX_NODES) revert IRounds.NodeOutOfRange(parent);
        // A root, and only a root, has depth 0 and names itself.
        if (enrolled & Nodes.bit(parent) == 0 || (parent == node) != (depth == 0)) {
            revert IVirtualAggregator.TopologyMismatch(parent, node);
        }
        // Whoever else names itself stands alone: there is one tree, and its root is the grid connection.
        bool alone = depth == 0 && node != GRID_CONNECTION;
        uint128 refused = alone ? children : children & (~enrolled | Nodes.bit(node));
        if (refused != 0) revert IVirtualAggregator.TopologyMismatch(node, Nodes.lowest(refused));
        if (depth == 0 || children == 0) return;
        uint256 count = Nodes.count(children);
        if (count > Lanes.MAX_SHARERS) revert IVirtualAggregator.TooManyChildren(node, count);
    }

    /// @notice Whether a declaration leaves every variable with two holders, so that each can be sealed for the other: only
    ///         a root has children.
    function checkStar(uint8 node, uint8 parent, uint8 depth, uint128 children) internal pure {
        if (depth > 1) revert IVirtualAggregator.TopologyMismatch(parent, node);
        if (depth != 0 && children != 0) revert IVirtualAggregator.TopologyMismatch(node, Nodes.lowest(children));
    }

    /// @notice Fills in what a node declared.
    /// @return account its author
    function read(
        Store storage self, Round.State storage round, uint8 node, IVirtualAggregator.Declaration memory declared
    ) internal view returns (address account) {
        Member member = round.members[node];
        declared.round = member.round();
        declared.misses = member.misses();
        declared.out = member.isOut();
        uint256 place_ = member.terms();
        declared.parent = uint8(place_);
        declared.depth = uint8(place_ >> 8);
        declared.bids = uint16(place_ >> 16);
        declared.children = place_ & IS_PARENT == 0 ? 0 : self.children[node];
        return member.account();
    }

    /// @notice What a node has copies of, see Blocks.
    function held(Store storage self, uint8 node, IVirtualAggregator.Declaration memory declared)
        internal
        view
        returns (Entry[] memory)
    {
        return Blocks.held(node, declared, declared.depth > 1 ? self.children[declared.parent] : 0);
    }

    /// @notice Keeps what both ends of an edge agree on, from the roots down: a node stays where it is a root, or where
    ///         its parent stays, lists it and is one less deep. Of a node's children those stay that do. Depths that
    ///         grow by one exclude cycles.
    /// @param heard nodes that have declared or abstained
    function settle(Store storage self, Round.State storage round, uint128 heard)
        internal
        returns (Settled memory settled)
    {
        IVirtualAggregator.Declaration memory mine;
        uint128 reached = _roots(round, heard); // their children have not been looked at yet
        uint128 waiting = heard & ~reached;

        while (reached != 0) {
            uint8 node = Nodes.lowest(reached);
            // It fills in `mine`; the account is not needed.
            // slither-disable-next-line unused-return
            read(self, round, node, mine);
            uint128 children = _children(round, node, mine, waiting);
            if (children != mine.children) {
                mine.children = children;
                self.children[node] = children;
            }
            waiting &= ~children;
            reached = Nodes.withoutLowest(reached) | children;
            settled.nodes |= Nodes.bit(node);
            if (mine.depth != 0) {
                settled.lines |= Nodes.bit(node);
                if (children != 0) settled.inner |= Nodes.bit(node);
            }
            settled.blocks += Blocks.count(mine);
            settled.bids += mine.bids;
        }
        for (; waiting != 0; waiting = Nodes.withoutLowest(waiting)) {
            uint8 node = Nodes.lowest(waiting);
            round.members[node] = round.members[node].excluded();
        }
        (self.lines, self.inner) = (settled.lines, settled.inner);
    }

    /// @dev Those of a node's children that are waiting and agree.
    function _children(
        Round.State storage round, uint8 node, IVirtualAggregator.Declaration memory mine, uint128 waiting
    ) private view returns (uint128 children) {
        uint256 below = uint256(node) | (uint256(mine.depth) + 1) << 8; // parent and depth of a child that agrees
        for (uint128 rest = mine.children & waiting; rest != 0; rest = Nodes.withoutLowest(rest)) {
            uint8 child = Nodes.lowest(rest);
            if (uint16(round.members[child].terms()) == below) children |= Nodes.bit(child);
        }
    }

    function _roots(Round.State storage round, uint128 heard) private view returns (uint128 roots) {
        for (uint128 rest = heard; rest != 0; rest = Nodes.withoutLowest(rest)) {
            uint8 node = Nodes.lowest(rest);
            if (uint8(round.members[node].terms() >> 8) == 0) roots |= Nodes.bit(node);
        }
    }
}
