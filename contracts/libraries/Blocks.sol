// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Lanes} from "./Lanes.sol";
import {Nodes} from "./Nodes.sol";

/// @notice Coupled variables, and who holds a copy of them. P and Q of a line always go together: they are one entry, twice
///         as wide as V of a node.
///
///      | bits   | holds                                                                                     |
///      |--------|-------------------------------------------------------------------------------------------|
///      | 8-135  | holders, bit i for node i                                                                 |
///      | 0-7    | key: 2 i for P and Q of the line from node i to its parent, 2 i + 1 for the voltage of i  |
type Entry is uint256;

using Blocks for Entry global;

/// @title Blocks of coupled variables
/// @dev All numbers are small, below 2^16, and go unchecked.
library Blocks {
    uint256 private constant VOLTAGE = 1;
    uint256 private constant HOLDERS_AT = 8;

    function key(Entry self) internal pure returns (uint256) {
        return uint8(Entry.unwrap(self));
    }

    function isVoltage(Entry self) internal pure returns (bool) {
        return Entry.unwrap(self) & VOLTAGE != 0;
    }

    function holders(Entry self) internal pure returns (uint128) {
        return uint128(Entry.unwrap(self) >> HOLDERS_AT);
    }

    /// @notice Number of blocks in an entry.
    function width(Entry self) internal pure returns (uint256) {
        return isVoltage(self) ? 1 : 2;
    }

    /// @notice Number of blocks in a submission.
    function count(IVirtualAggregator.Declaration memory declared) internal pure returns (uint256 blocks) {
        unchecked {
            blocks = declared.children == 0 ? 0 : 2 * Nodes.count(declared.children);
            if (declared.depth != 0) blocks += declared.children == 0 ? 2 : 3;
            if (declared.depth > 1) ++blocks;
        }
    }

    /// @notice The first word of a node's copies that has a bit above the payload set; their number where none has.
    /// @param words of a block
    function overflow(IVirtualAggregator.Declaration memory declared, uint256[] calldata copies, uint256 words)
        internal
        pure
        returns (uint256 at)
    {
        uint256 end = copies.length;
        at = Lanes.overflow(copies, 0, end, Lanes.ABOVE_POWER);
        if (at != end || (declared.children == 0 && declared.depth < 2)) return at;
        // Voltages take less: the node's own, and its parent's.
        unchecked {
            if (declared.depth != 0 && declared.children != 0) {
                at = Lanes.overflow(copies, 2 * words, 3 * words, Lanes.ABOVE_VOLTAGE);
                if (at != 3 * words) return at;
            }
            return declared.depth > 1 ? Lanes.overflow(copies, end - words, end, Lanes.ABOVE_VOLTAGE) : end;
        }
    }

    /// @notice Number of blocks of a round, and where each begins among their sums: places[key], words.
    /// @param words of a block
    function layout(uint256 lines, uint256 inner, uint256 words)
        internal
        pure
        returns (uint256 total, uint256[] memory places)
    {
        if (lines == 0) return (0, places);
        unchecked {
            places = new uint256[](2 * (Math.log2(lines) + 1));
            for (uint256 at = 0; lines != 0; at += 2) {
                if (lines & 1 != 0) {
                    places[at] = total * words;
                    total += 2;
                }
                lines >>= 1;
            }
            for (uint256 at = VOLTAGE; inner != 0; at += 2) {
                if (inner & 1 != 0) places[at] = total++ * words;
                inner >>= 1;
            }
        }
    }

    /// @notice What a node holds, in the order of its copies.
    /// @param siblings children of its parent; read only where the depth is above 1
    function held(uint8 node, IVirtualAggregator.Declaration memory declared, uint128 siblings)
        internal
        pure
        returns (Entry[] memory entries)
    {
        (uint256 parent, uint256 depth) = (declared.parent, declared.depth);
        if (depth == 0) return below(node, declared);
        unchecked {
            entries = _below(node, declared, 1, depth == 1 ? 0 : 1);
            entries[0] = _entry(1 << node | 1 << parent, 2 * uint256(node));
            if (depth == 1) return entries;
            entries[entries.length - 1] = _entry(siblings | 1 << parent, 2 * parent | VOLTAGE);
        }
    }

    /// @notice What a node shares with its children. Everything in a round is below one node.
    function below(uint8 node, IVirtualAggregator.Declaration memory declared)
        internal
        pure
        returns (Entry[] memory)
    {
        return _below(node, declared, 0, 0);
    }

    /// @dev With room before and after.
    function _below(uint8 node, IVirtualAggregator.Declaration memory declared, uint256 before, uint256 after_)
        private
        pure
        returns (Entry[] memory entries)
    {
        uint256 rest = declared.children;
        if (rest == 0) return new Entry[](before + after_);
        unchecked {
            bool inner = declared.depth != 0;
            entries = new Entry[](before + Nodes.count(uint128(rest)) + (inner ? 1 : 0) + after_);
            uint256 own = 1 << node;
            if (inner) entries[before++] = _entry(own | rest, 2 * uint256(node) | VOLTAGE);
            for (uint256 child = 0; rest != 0; ++child) {
                if (rest & 1 != 0) entries[before++] = _entry(own | 1 << child, 2 * child);
                rest >>= 1;
            }
        }
    }

    function _entry(uint256 holders_, uint256 key_) private pure returns (Entry) {
        return Entry.wrap(holders_ << HOLDERS_AT | key_);
    }
}
