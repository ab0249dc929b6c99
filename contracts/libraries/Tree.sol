// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Lanes} from "./Lanes.sol";
import {MAX_NODES, Nodes} from "./Nodes.sol";

/// @title The tree that nodes declare
/// @notice Checks one declaration against those that came before it, and counts a node's blocks.
library Tree {
    /// @notice Edges of the tree as seen from above and from below, two sets of child nodes.
    struct Edges {
        uint128 listed; // by the parent
        uint128 joined; // by the child, that is: declared nodes that are not roots
    }

    /// @notice Agreement of parents and children, each edge checked when the second of its two ends declares:
    ///        - a node that is listed by a parent names that parent, and is one deeper;
    ///        - a node lists no child that another lists, or that has declared with another parent or depth.
    ///      What these leave, a child whose parent declares later without listing it, is in `joined` and never in
    ///      `listed`; the aggregator finds it when the last node declares. Depths that grow by one exclude cycles.
    function check(
        IVirtualAggregator.Declaration[MAX_NODES] storage declarations,
        Edges memory edges,
        uint8 node,
        IVirtualAggregator.Declaration memory declared,
        uint128 present,
        uint128 enrolled
    ) internal view returns (Edges memory) {
        uint8 parent = declared.parent;
        uint128 children = declared.children;
        uint128 bit = Nodes.bit(node);
        if (parent >= MAX_NODES) revert IVirtualAggregator.NodeOutOfRange(parent);
        if (enrolled & Nodes.bit(parent) == 0) revert IVirtualAggregator.TopologyMismatch(parent, node);
        if (children & ~enrolled != 0) revert IVirtualAggregator.TopologyMismatch(node, Nodes.lowest(children & ~enrolled));
        // A root, and only a root, has depth 0 and names itself.
        if ((parent == node) != (declared.depth == 0)) revert IVirtualAggregator.TopologyMismatch(parent, node);

        if (parent == node) {
            if (edges.listed & bit != 0) revert IVirtualAggregator.TopologyMismatch(parent, node);
        } else {
            uint256 count = Nodes.count(children);
            if (count > Lanes.MAX_SHARERS) revert IVirtualAggregator.TooManyChildren(node, count);
            if (present & Nodes.bit(parent) != 0) {
                IVirtualAggregator.Declaration memory above = declarations[parent];
                if (above.children & bit == 0 || uint256(above.depth) + 1 != declared.depth) {
                    revert IVirtualAggregator.TopologyMismatch(parent, node);
                }
            } else if (edges.listed & bit != 0) {
                revert IVirtualAggregator.TopologyMismatch(parent, node);
            }
            edges.joined |= bit;
        }

        uint128 refused = children & (edges.listed | bit);
        if (refused != 0) revert IVirtualAggregator.TopologyMismatch(node, Nodes.lowest(refused));
        for (uint128 rest = children & present; rest != 0; rest = Nodes.withoutLowest(rest)) {
            uint8 child = Nodes.lowest(rest);
            IVirtualAggregator.Declaration memory below = declarations[child];
            if (below.parent != node || uint256(declared.depth) + 1 != below.depth) {
                revert IVirtualAggregator.TopologyMismatch(node, child);
            }
        }
        edges.listed |= children;
        return edges;
    }

    /// @notice Blocks in a submission of the node (see the interface).
    function blocks(IVirtualAggregator.Declaration memory declared) internal pure returns (uint256 number) {
        number = 2 * Nodes.count(declared.children);
        if (declared.depth != 0) number += declared.children == 0 ? 2 : 3;
        if (declared.depth > 1) ++number;
    }
}
