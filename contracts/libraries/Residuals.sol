// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice A word of residuals, or of their sums: 4 lanes of 64 bits.
///
///      | bits    | sum of squares of                                | one node | 128 nodes |
///      |---------|--------------------------------------------------|----------|-----------|
///      | 192-255 | r_grid, primal residual of the network agreement | < 2^56   | < 2^63    |
///      | 128-191 | s_grid, its dual residual                        | < 2^56   | < 2^63    |
///      | 64-127  | r_trade, primal residual of the trades           | < 2^56   | < 2^63    |
///      | 0-63    | s_trade, their dual residual                     | < 2^56   | < 2^63    |
type Residuals is uint256;

using ResidualLanes for Residuals global;

/// @title What is done with words of residuals
library ResidualLanes {
    /// @dev Bits that no node's residuals may have set.
    // An exact division: one bit every 64.
    // slither-disable-next-line divide-before-multiply
    uint256 private constant ABOVE = (2 ** 256 - 1) / (2 ** 64 - 1) * (0xFF << 56);

    /// @notice Whether a node's residuals have no bit above their payload.
    function fits(Residuals self) internal pure returns (bool) {
        return Residuals.unwrap(self) & ABOVE == 0;
    }

    /// @notice The sum of what fits: no lane carries, see the table.
    function plus(Residuals self, Residuals other) internal pure returns (Residuals) {
        unchecked {
            return Residuals.wrap(Residuals.unwrap(self) + Residuals.unwrap(other));
        }
    }

    /// @notice eps squared, four of them; eps in 1/1000 of a resolution unit.
    function limits(uint32 primalGrid, uint32 dualGrid, uint32 primalTrade, uint32 dualTrade)
        internal
        pure
        returns (Residuals)
    {
        return Residuals.wrap(
            uint256(primalGrid) ** 2 << 192 | uint256(dualGrid) ** 2 << 128 | uint256(primalTrade) ** 2 << 64
                | uint256(dualTrade) ** 2
        );
    }

    /// @notice Whether the sums of squares are within their limits: RMS <= eps / 1000, that is sum / count <= (eps / 1000)^2.
    /// @param percent of the limits that count
    /// @param grid    number of scalars that the upper two lanes are about
    /// @param trade   and the lower two
    function within(Residuals self, Residuals limits_, uint256 percent, uint256 grid, uint256 trade)
        internal
        pure
        returns (bool)
    {
        unchecked {
            (grid, trade) = (grid * percent ** 2, trade * percent ** 2);
        }
        return _within(self, limits_, 192, grid) && _within(self, limits_, 128, grid)
            && _within(self, limits_, 64, trade) && _within(self, limits_, 0, trade);
    }

    /// @dev Left < 2^64 * 2^34, right < 2^64 * 2^24 * 2^32.
    function _within(Residuals self, Residuals limits_, uint256 at, uint256 count) private pure returns (bool) {
        return uint256(uint64(Residuals.unwrap(self) >> at)) * 1e10
            <= uint256(uint64(Residuals.unwrap(limits_) >> at)) * count;
    }
}
