// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Whole numbers in parts, so that nothing is lost by rounding
/// @notice Parts are differences of the rounded-down running sum: each is off by less than one, and they add up.
///
/// @dev Nothing overflows as long as totals, sums of weights and prices are below 2^120 each: of a step they are, sums of
///      at most 128 energies of 64 bits and prices of 32 bits times 10^18.
library Apportion {
    /// @notice A total in proportion to weights; nothing to anybody where all of them are zero.
    function apportioned(uint256 total, uint256[] memory weights) internal pure returns (uint256[] memory parts) {
        unchecked {
            parts = new uint256[](weights.length);
            uint256 whole = 0;
            for (uint256 k = 0; k < weights.length; ++k) whole += weights[k];
            if (whole == 0) return parts;
            (uint256 running, uint256 before) = (0, 0);
            for (uint256 k = 0; k < weights.length; ++k) {
                running += weights[k];
                uint256 end = total * running / whole;
                (parts[k], before) = (end - before, end);
            }
        }
    }

    /// @notice A total in proportion to weights, but to nobody more than its most; what is over goes to the others. Who
    ///         has no weight gets nothing. Each pass but the last fills somebody, so there are no more than weights.
    function filled(uint256 total, uint256[] memory weights, uint256[] memory most)
        internal
        pure
        returns (uint256[] memory parts)
    {
        unchecked {
            uint256 count = weights.length;
            parts = new uint256[](count);
            uint256[] memory able = new uint256[](count); // weights of those that can take more
            uint256 whole = 0;
            for (uint256 k = 0; k < count; ++k) {
                if (most[k] != 0) (able[k], whole) = (weights[k], whole + weights[k]);
            }
            while (total != 0 && whole != 0) {
                (uint256 rest, uint256 left) = (total, whole);
                for (uint256 k = 0; k < count; ++k) {
                    uint256 weight = able[k];
                    if (weight == 0 || total * weight < most[k] * whole) continue;
                    (parts[k], able[k]) = (most[k], 0);
                    (rest, left) = (rest - most[k], left - weight);
                }
                if (left == whole) {
                    able = apportioned(total, able);
                    for (uint256 k = 0; k < count; ++k) parts[k] += able[k];
                    break;
                }
                (total, whole) = (rest, left);
            }
        }
    }

    /// @notice What each of some amounts costs at a price, price * amount / unit, as differences of the running sum,
    ///         rounded towards minus infinity: equal sums of amounts cost the same.
    function priced(uint256[] memory amounts, int256 price, int256 unit)
        internal
        pure
        returns (int256[] memory costs)
    {
        unchecked {
            costs = new int256[](amounts.length);
            (int256 running, int256 before) = (0, 0);
            for (uint256 k = 0; k < amounts.length; ++k) {
                running += int256(amounts[k]) * price;
                int256 end = running < 0 ? -((-running + unit - 1) / unit) : running / unit;
                (costs[k], before) = (end - before, end);
            }
        }
    }
}
