// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @dev Node numbers are 0 to 127. Of file level, since array lengths may not be a library's constants.
uint8 constant MAX_NODES = 128;

/// @title Sets of nodes
/// @notice Node numbers 0 to 127 as bitmaps, bit i for node i.
library Nodes {
    function bit(uint8 node) internal pure returns (uint128) {
        return uint128(1) << node;
    }

    /// @notice The lowest node of a set that is not empty.
    function lowest(uint128 nodes) internal pure returns (uint8) {
        return uint8(Math.log2(nodes ^ withoutLowest(nodes)));
    }

    /// @notice The set, not empty, without its lowest node.
    function withoutLowest(uint128 nodes) internal pure returns (uint128) {
        return nodes & (nodes - 1);
    }

    function count(uint128 nodes) internal pure returns (uint256 number) {
        for (; nodes != 0; nodes = withoutLowest(nodes)) ++number;
    }
}
