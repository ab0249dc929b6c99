// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev Node numbers are 0 to 127. Of file level, since array lengths may not be a library's constants.
uint8 constant MAX_NODES = 128;

/// @dev The node of the grid operator, and the only one below which others can stand.
uint8 constant GRID_CONNECTION = 0;

/// @title Sets of nodes
/// @notice Node numbers 0 to 127 as bitmaps, bit i for node i.
library Nodes {
    uint256 private constant EACH_BYTE = (2 ** 128 - 1) / (2 ** 8 - 1); // one in each of 16 bytes

    function bit(uint8 node) internal pure returns (uint128) {
        return uint128(1) << node;
    }

    /// @notice The lowest node of a set that is not empty.
    function lowest(uint128 nodes) internal pure returns (uint8) {
        return uint8(count((nodes - 1) & ~nodes));
    }

    /// @notice The set, not empty, without its lowest node.
    function withoutLowest(uint128 nodes) internal pure returns (uint128) {
        return nodes & (nodes - 1);
    }

    /// @notice Number of nodes in a set.
    function count(uint128 nodes) internal pure returns (uint256 number) {
        // Bits are added up in pairs, fours and bytes; the product has the sum of the bytes in the sixteenth.
        unchecked {
            number = nodes;
            number -= (number >> 1) & (EACH_BYTE * 0x55);
            number = (number & (EACH_BYTE * 0x33)) + ((number >> 2) & (EACH_BYTE * 0x33));
            number = (number + (number >> 4)) & (EACH_BYTE * 0x0F);
            number = uint8(number * EACH_BYTE >> 120);
        }
    }
}
