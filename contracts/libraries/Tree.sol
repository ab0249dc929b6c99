// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Blocks} from "./Blocks.sol";
import {Lanes} from "./Lanes.sol";
import {GRID_CONNECTION, MAX_NODES, Nodes} from "./Nodes.sol";

/// @title The tree that nodes declare
/// @notice A declaration is checked for itself when it is made, and against the others when the round starts: so nobody's
///         declaration can make another's fail.
/// @dev A member: one word, all that is needed of a leaf.
///
///      | bits    | holds                                       |
///      |---------|---------------------------------------------|
///      | 233     | whether it has children, which stand apart  |
///      | 232     | whether it is out                           |
///      | 224-231 | misses                                      |
///      | 208-223 | bids                                        |
///      | 200-207 | depth                                       |
///      | 192-199 | parent                                      |
///      | 160-191 | round                                       |
///      | 0-159   | account                                     |
library Tree {
    struct Store {
        uint256[MAX_NODES] members;
        uint128[MAX_NODES] children; // of those that are parents
    }

    uint256 private constant ONE_MISS = 1 << 224;
    uint256 private constant OUT = 1 << 232;
    uint256 private constant IS_PARENT = 1 << 233;

    /// @notice Whether one declaration can be true.
    function check(uint8 node, uint8 parent, uint8 depth, uint128 children, uint128 enrolled) internal pure {
        if (parent >= MAX_NODES) revert IVirtualAggregator.NodeOutOfRange(parent);
        // A root, and only a root, has depth 0 and names itself.
        if (enrolled & Nodes.bit(parent) == 0 || (parent == node) != (depth == 0)) {
            revert IVirtualAggregator.TopologyMismatch(parent, node);
        }
        // Whoever else names itself stands alone: there is one tree, and its root is the grid connection.
        bool alone = depth == 0 && node != GRID_CONNECTION;
        uint128 refused = alone ? children : children & (~enrolled | Nodes.bit(node));
        if (refused != 0) revert IVirtualAggregator.TopologyMismatch(node, Nodes.lowest(refused));
        uint256 count = Nodes.count(children);
        if (depth != 0 && count > Lanes.MAX_SHARERS) revert IVirtualAggregator.TooManyChildren(node, count);
    }

    /// @notice Keeps a declaration: no misses, not out.
    function write(
        Store storage self, uint8 node, address account, IVirtualAggregator.Declaration memory declared
    ) internal {
        self.members[node] = uint160(account) | uint256(declared.round) << 160 | uint256(declared.parent) << 192
            | uint256(declared.depth) << 200 | uint256(declared.bids) << 208;
        if (declared.children == 0) return;
        self.members[node] |= IS_PARENT;
        self.children[node] = declared.children;
    }

    /// @notice Fills in what a node declared.
    /// @return account its author
    function read(Store storage self, uint8 node, IVirtualAggregator.Declaration memory declared)
        internal
        view
        returns (address account)
    {
        uint256 member = self.members[node];
        declared.round = uint32(member >> 160);
        declared.parent = uint8(member >> 192);
        declared.depth = uint8(member >> 200);
        declared.bids = uint16(member >> 208);
        declared.misses = uint8(member >> 224);
        declared.out = member & OUT != 0;
        declared.children = member & IS_PARENT == 0 ? 0 : self.children[node];
        return address(uint160(member));
    }

    /// @return misses one more than before
    function miss(Store storage self, uint8 node) internal returns (uint8 misses) {
        uint256 member = self.members[node] + ONE_MISS;
        self.members[node] = member;
        return uint8(member >> 224);
    }

    function exclude(Store storage self, uint8 node) internal {
        self.members[node] |= OUT;
    }

    /// @notice What a node has copies of, see Blocks.
    function held(Store storage self, uint8 node, IVirtualAggregator.Declaration memory declared)
        internal
        view
        returns (uint256[] memory)
    {
        return Blocks.held(node, declared, declared.depth > 1 ? self.children[declared.parent] : 0);
    }

    /// @notice Keeps what both ends of an edge agree on, from the roots down: a node stays where it is a root, or where
    ///         its parent stays, lists it and is one less deep. Of a node's children those stay that do. Depths that
    ///         grow by one exclude cycles.
    /// @param  declared nodes that have declared
    /// @return roster   the nodes that stay; the others are out
    /// @return blocks   number of blocks in the submissions of all of them
    /// @return bids     number of their bids
    function settle(Store storage self, uint128 declared)
        internal
        returns (IVirtualAggregator.Roster memory roster, uint256 blocks, uint256 bids)
    {
        IVirtualAggregator.Declaration memory mine;
        IVirtualAggregator.Declaration memory theirs;
        uint128 reached = 0; // their children have not been looked at yet
        for (uint128 rest = declared; rest != 0; rest = Nodes.withoutLowest(rest)) {
            uint8 node = Nodes.lowest(rest);
            read(self, node, mine);
            if (mine.depth == 0) reached |= Nodes.bit(node);
        }
        uint128 waiting = declared & ~reached;

        while (reached != 0) {
            uint8 node = Nodes.lowest(reached);
            read(self, node, mine);
            uint128 children = 0;
            for (uint128 rest = mine.children & waiting; rest != 0; rest = Nodes.withoutLowest(rest)) {
                uint8 child = Nodes.lowest(rest);
                read(self, child, theirs);
                if (theirs.parent == node && theirs.depth == uint256(mine.depth) + 1) children |= Nodes.bit(child);
            }
            if (children != mine.children) {
                mine.children = children;
                self.children[node] = children;
            }
            waiting &= ~children;
            reached = Nodes.withoutLowest(reached) | children;
            roster.nodes |= Nodes.bit(node);
            if (mine.depth != 0) {
                roster.lines |= Nodes.bit(node);
                if (children != 0) roster.inner |= Nodes.bit(node);
            }
            blocks += Blocks.count(mine);
            bids += mine.bids;
        }
        for (; waiting != 0; waiting = Nodes.withoutLowest(waiting)) exclude(self, Nodes.lowest(waiting));
        roster.active = roster.nodes;
    }
}
