// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Many small numbers in one word
/// @notice Words of copies, and of their sums: 12 lanes of 21 bits, time step t of a block in word t / 12.
///
///      | bits                    | holds                                        |
///      |-------------------------|----------------------------------------------|
///      | 252-255                 | zero                                         |
///      | 21 l to 21 l + 20       | lane l = t % 12                              |
///
///      What one node may put into a lane (its payload), so that the sum of all holders stays below 2^21:
///
///      | block | payload bits | bias | number, in resolution units | holders    | largest sum         |
///      |-------|--------------|------|-----------------------------|------------|---------------------|
///      | P, Q  | 20           | 2^19 | -2^19 to 2^19 - 1           | at most 2  | 2 (2^20 - 1) < 2^21 |
///      | V     | 16           | 2^15 | v - 1: -2^15 to 2^15 - 1    | at most 32 | 32 (2^16 - 1) < 2^21 |
///
///      Lanes carry the bias, so they are never negative and never borrow; whole words are added at once.
///
///      A word of residuals, and of their sums: 4 lanes of 64 bits.
///
///      | bits    | sum of squares of                                | one node | 128 nodes |
///      |---------|--------------------------------------------------|----------|-----------|
///      | 192-255 | r_grid, primal residual of the network agreement | < 2^56   | < 2^63    |
///      | 128-191 | s_grid, its dual residual                        | < 2^56   | < 2^63    |
///      | 64-127  | r_trade, primal residual of the trades           | < 2^56   | < 2^63    |
///      | 0-63    | s_trade, their dual residual                     | < 2^56   | < 2^63    |
library Lanes {
    uint256 internal constant PER_WORD = 12;
    /// @notice Children of a node whose V block others hold: with the node itself 32 holders.
    uint256 internal constant MAX_SHARERS = 31;

    /// @dev One in each of the 12 lanes, and the four bits above them.
    uint256 private constant ONES = (2 ** 252 - 1) / (2 ** 21 - 1);
    uint256 private constant TOP = 0xF << 252;

    /// @notice Bits that no word of a P or Q block, and none of a V block, may have set.
    uint256 internal constant ABOVE_POWER = TOP | ONES << 20;
    uint256 internal constant ABOVE_VOLTAGE = TOP | ONES * 0x1F << 16;

    /// @notice Bits that no node's residuals may have set.
    uint256 internal constant ABOVE_RESIDUAL = (2 ** 256 - 1) / (2 ** 64 - 1) * (0xFF << 56);

    /// @notice Words of a block of so many time steps.
    function words(uint256 steps) internal pure returns (uint256) {
        return (steps + PER_WORD - 1) / PER_WORD;
    }

    /// @notice Whether the sum of squares in one lane of a word of residuals, lane 0 the most significant, is within its
    ///         limit: RMS <= eps / 1000, that is sum / count <= (eps / 1000)^2.
    /// @dev Left < 2^64 * 2^20, right < 2^64 * 2^64.
    function within(uint256 sums, uint256 lane, uint32 eps, uint64 count) internal pure returns (bool) {
        uint256 sum = uint64(sums >> 64 * (3 - lane));
        return sum * 1e6 <= uint256(eps) * eps * count;
    }
}
