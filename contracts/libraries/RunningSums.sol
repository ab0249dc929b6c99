// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Round} from "../rounds/Round.sol";
import {Blocks, Entry} from "./Blocks.sol";
import {Nodes} from "./Nodes.sol";
import {Tree} from "./Tree.sol";

/// @title Sums of the copies of an open iteration
/// @notice They stand in storage while the iteration is open; nothing is ever zeroed. The first holder of a block to
///         submit overwrites what stands there, the others add: which of the two follows from `before`, the nodes whose
///         copies are in the sums, and the tree. Whoever closes the iteration adds in memory only, to the sums of all
///         blocks in the order of a closed iteration; `places` says where the words of an entry begin (see Blocks).
/// @dev `width` is the number of words of a block. No lane carries, by the number of a block's holders (see Lanes); and
///      indices are small, and follow from lengths that were checked. So both go unchecked.
library RunningSums {
    struct Store {
        uint256[2 * 16][256] words; // by key: P and Q, or V
    }

    /// @notice Adds a node's copies to the sums in storage.
    /// @param entries what the node holds
    function add(
        Store storage self, uint128 before, Entry[] memory entries, uint256[] calldata copies, uint256 width
    ) internal {
        unchecked {
            uint256 from = 0;
            for (uint256 i = 0; i < entries.length; ++i) {
                uint256[2 * 16] storage words = self.words[entries[i].key()];
                uint256 count = width * entries[i].width();
                bool first = before & entries[i].holders() == 0;
                assembly ("memory-safe") {
                    let source := add(copies.offset, shl(5, from))
                    for { let word := 0 } lt(word, count) { word := add(word, 1) } {
                        let value := calldataload(add(source, shl(5, word)))
                        if iszero(first) { value := add(value, sload(add(words.slot, word))) }
                        sstore(add(words.slot, word), value)
                    }
                }
                from += count;
            }
        }
    }

    /// @notice Adds a node's copies to the sums in memory.
    function add(
        uint256[] memory sums,
        uint256[] memory places,
        Entry[] memory entries,
        uint256[] calldata copies,
        uint256 width
    ) internal pure {
        unchecked {
            uint256 from = 0;
            for (uint256 i = 0; i < entries.length; ++i) {
                uint256 place = places[entries[i].key()];
                uint256 count = width * entries[i].width();
                assembly ("memory-safe") {
                    let target := add(add(sums, 32), shl(5, place))
                    let ahead := sub(add(copies.offset, shl(5, from)), target) // of the source
                    for { let end := add(target, shl(5, count)) } lt(target, end) { target := add(target, 32) } {
                        mstore(target, add(mload(target), calldataload(add(target, ahead))))
                    }
                }
                from += count;
            }
        }
    }

    /// @notice Writes to the words of a node's line that were never written: in a fresh slot a word costs its first
    ///         writer four times as much, and one node's copies of all lines would not fit into a transaction.
    function prepare(Store storage self, uint8 node, uint256 width) internal {
        uint256[2 * 16] storage words = self.words[2 * uint256(node)];
        for (uint256 word = 0; word < 2 * width; ++word) {
            if (words[word] == 0) words[word] = 1;
        }
    }

    /// @notice The sums of what a node holds, from storage.
    /// @param length words of a submission of the node
    function read(Store storage self, Entry[] memory entries, uint256 length, uint256 width)
        internal
        view
        returns (uint256[] memory sums)
    {
        sums = new uint256[](length);
        uint256 at = 0;
        for (uint256 i = 0; i < entries.length; ++i) at += _read(self, entries[i], sums, at, width);
    }

    /// @notice Reads the sums of all blocks of which a copy is there.
    function readAll(
        Store storage self,
        uint128 before,
        Round.State storage round,
        Tree.Store storage tree,
        uint256[] memory sums,
        uint256[] memory places,
        uint256 width
    ) internal view {
        IVirtualAggregator.Declaration memory declared;
        uint128 parents = _parents(round, tree);
        for (; parents != 0; parents = Nodes.withoutLowest(parents)) {
            uint8 parent = Nodes.lowest(parents);
            // It fills in `declared`; the account is not needed.
            // slither-disable-next-line unused-return
            Tree.read(tree, round, parent, declared);
            Entry[] memory entries = Blocks.below(parent, declared);
            for (uint256 i = 0; i < entries.length; ++i) {
                if (before & entries[i].holders() == 0) continue;
                _read(self, entries[i], sums, places[entries[i].key()], width);
            }
        }
    }

    /// @notice Writes back the sums of all blocks of which a copy has come since.
    /// @param added nodes whose copies have come
    function writeAll(
        Store storage self,
        uint128 added,
        Round.State storage round,
        Tree.Store storage tree,
        uint256[] memory sums,
        uint256[] memory places,
        uint256 width
    ) internal {
        IVirtualAggregator.Declaration memory declared;
        uint128 parents = _parents(round, tree);
        for (; parents != 0; parents = Nodes.withoutLowest(parents)) {
            uint8 parent = Nodes.lowest(parents);
            // It fills in `declared`; the account is not needed.
            // slither-disable-next-line unused-return
            Tree.read(tree, round, parent, declared);
            Entry[] memory entries = Blocks.below(parent, declared);
            for (uint256 i = 0; i < entries.length; ++i) {
                if (added & entries[i].holders() == 0) continue;
                uint256[2 * 16] storage words = self.words[entries[i].key()];
                uint256 place = places[entries[i].key()];
                uint256 count = width * entries[i].width();
                for (uint256 word = 0; word < count; ++word) words[word] = sums[place + word];
            }
        }
    }

    /// @dev Nodes that hold something together with their children, or may: where there are no lines, nobody does.
    function _parents(Round.State storage round, Tree.Store storage tree) private view returns (uint128) {
        uint128 lines = tree.lines;
        return lines == 0 ? 0 : round.nodes & ~lines | tree.inner;
    }

    /// @return count words that were read
    function _read(Store storage self, Entry entry, uint256[] memory sums, uint256 place, uint256 width)
        private
        view
        returns (uint256 count)
    {
        unchecked {
            uint256[2 * 16] storage words = self.words[entry.key()];
            count = width * entry.width();
            assembly ("memory-safe") {
                let target := add(add(sums, 32), shl(5, place))
                for { let word := 0 } lt(word, count) { word := add(word, 1) } {
                    mstore(add(target, shl(5, word)), sload(add(words.slot, word)))
                }
            }
        }
    }
}
