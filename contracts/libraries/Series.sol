// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Nodes} from "./Nodes.sol";

/// @title Series of energies in storage and in calldata
/// @notice In storage int32 eight a slot (what was stated and read), int64 four a slot (sums of positions); value i in
///         the lane i % 8 or i % 4 from the least significant. In calldata int32, big-endian.
///
/// @dev Indices are below 2^9. Sums of positions stay within int64: an energy has 32 bits, and nobody pays the gas of
///      2^31 calls.
library Series {
    uint256 private constant BYTES = 4;
    // Both divide without a rest.
    // slither-disable-next-line divide-before-multiply
    uint256 private constant LOW_64 = type(uint256).max / type(uint128).max * type(uint64).max; // of each 128 bits
    // slither-disable-next-line divide-before-multiply
    uint256 private constant LOW_32 = type(uint256).max / type(uint64).max * type(uint32).max; // of each 64 bits

    function at32(mapping(uint256 word => uint256) storage series, uint256 i) internal view returns (int256) {
        return lane32(series[i >> 3], i);
    }

    /// @notice Value i in its word.
    function lane32(uint256 word, uint256 i) internal pure returns (int256) {
        return int32(uint32(word >> ((i & 7) << 5)));
    }

    function at64(mapping(uint256 word => uint256) storage series, uint256 i) internal view returns (int256) {
        return lane64(series[i >> 2], i);
    }

    function lane64(uint256 word, uint256 i) internal pure returns (int256) {
        return int64(uint64(word >> ((i & 3) << 6)));
    }

    /// @notice Adds to value i.
    function add64(mapping(uint256 word => uint256) storage series, uint256 i, int256 energy) internal {
        unchecked {
            uint256 shift = (i & 3) << 6;
            uint256 word = series[i >> 2];
            uint256 sum = uint64(int64(lane64(word, i) + energy));
            series[i >> 2] = word & ~(uint256(type(uint64).max) << shift) | sum << shift;
        }
    }

    /// @notice Adds the energies from one index on, a word at a time.
    function addAll64(mapping(uint256 word => uint256) storage series, uint256 first, int256[] memory energies) internal {
        unchecked {
            for (uint256 i = first; i < energies.length;) {
                (uint256 at, bool changed) = (i >> 2, false);
                uint256 word = series[at];
                for (; i < energies.length && i >> 2 == at; ++i) {
                    if (energies[i] == 0) continue;
                    uint256 shift = (i & 3) << 6;
                    uint256 sum = uint64(int64(lane64(word, i) + energies[i]));
                    word = word & ~(uint256(type(uint64).max) << shift) | sum << shift;
                    changed = true;
                }
                if (changed) series[at] = word;
            }
        }
    }

    /// @notice Writes calldata from one index on, a word at a time.
    function write(mapping(uint256 word => uint256) storage series, uint256 first, bytes calldata energies) internal {
        unchecked {
            uint256 end = first + energies.length / BYTES;
            for (uint256 i = first; i < end;) {
                uint256 at = i >> 3;
                if (i & 7 == 0 && i + 8 <= end) {
                    series[at] = _turned(uint256(bytes32(energies[BYTES * (i - first):])));
                    i += 8;
                    continue;
                }
                uint256 word = series[at];
                for (; i < end && i >> 3 == at; ++i) word = _with(word, i, energies, i - first);
                series[at] = word;
            }
        }
    }

    /// @dev A word with its eight lanes the other way round.
    function _turned(uint256 word) private pure returns (uint256) {
        word = word >> 128 | word << 128;
        word = (word & LOW_64) << 64 | word >> 64 & LOW_64;
        return (word & LOW_32) << 32 | word >> 32 & LOW_32;
    }

    /// @notice Writes calldata at the indices of a set of nodes, ascending, a word at a time.
    function writeAt(mapping(uint256 word => uint256) storage series, uint128 nodes, bytes calldata energies) internal {
        unchecked {
            for (uint256 next = 0; nodes != 0;) {
                uint256 at = Nodes.lowest(nodes) >> 3;
                uint256 word = series[at];
                for (; nodes != 0 && Nodes.lowest(nodes) >> 3 == at; nodes = Nodes.withoutLowest(nodes)) {
                    word = _with(word, Nodes.lowest(nodes), energies, next++);
                }
                series[at] = word;
            }
        }
    }

    /// @dev A word with value i as calldata has it at another index.
    function _with(uint256 word, uint256 i, bytes calldata energies, uint256 index) private pure returns (uint256) {
        unchecked {
            uint256 shift = (i & 7) << 5;
            uint256 value = uint32(bytes4(energies[BYTES * index:BYTES * index + BYTES]));
            return word & ~(uint256(type(uint32).max) << shift) | value << shift;
        }
    }
}
