// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @notice What a round has come to for a node, token units.
///
///      | bits    | holds                                                                          |
///      |---------|--------------------------------------------------------------------------------|
///      | 0-7     | positions: recorded pairs                                                      |
///      | 8       | whether it was delivered                                                       |
///      | 9-15    | zero                                                                           |
///      | 16-127  | delivery, int112: the part that is not of trades                               |
///      | 128-255 | net, int128. What is larger, at prices beyond all sense, is refused            |
type Reckoning is uint256;

using Reckonings for Reckoning global;

/// @title Words of what rounds come to
library Reckonings {
    using SafeCast for int256;

    uint256 private constant DELIVERED = 1 << 8;
    uint256 private constant LOWEST = type(uint16).max; // bits, of positions and whether it was delivered
    uint256 private constant DELIVERY_AT = 16;
    uint256 private constant NET_AT = 128;

    function positions(Reckoning self) internal pure returns (uint256) {
        return uint8(Reckoning.unwrap(self));
    }

    function isDelivered(Reckoning self) internal pure returns (bool) {
        return Reckoning.unwrap(self) & DELIVERED != 0;
    }

    function delivery(Reckoning self) internal pure returns (int256) {
        return int112(int256(Reckoning.unwrap(self) >> DELIVERY_AT));
    }

    function net(Reckoning self) internal pure returns (int256) {
        return int256(Reckoning.unwrap(self)) >> NET_AT;
    }

    /// @notice With one pair more. There are at most 127.
    function traded(Reckoning self, int256 payment) internal pure returns (Reckoning) {
        uint256 rest = uint128(Reckoning.unwrap(self));
        unchecked {
            ++rest;
        }
        return _with(self, payment, rest);
    }

    /// @notice As delivered, with what that comes to besides.
    function delivered(Reckoning self, int256 payment) internal pure returns (Reckoning) {
        uint112 delivery_ = uint112((self.delivery() + payment).toInt112());
        uint256 lowest = Reckoning.unwrap(self) & LOWEST;
        return _with(self, payment, uint256(delivery_) << DELIVERY_AT | lowest | DELIVERED);
    }

    /// @param rest the bits below
    function _with(Reckoning self, int256 payment, uint256 rest) private pure returns (Reckoning) {
        return Reckoning.wrap(uint256(int256((self.net() + payment).toInt128())) << NET_AT | rest);
    }
}
