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
library Lanes {
    uint256 internal constant PER_WORD = 12;
    uint256 internal constant LANE_BITS = 21;
    uint256 internal constant LANE = 2 ** LANE_BITS - 1; // mask of the lowest
    uint256 internal constant BIAS_POWER = 2 ** 19; // of P and Q
    uint256 internal constant BIAS_VOLTAGE = 2 ** 15; // of V
    /// @notice Children of a node whose V block others hold: with the node itself 32 holders.
    uint256 internal constant MAX_SHARERS = 31;

    /// @dev One in each of the 12 lanes, and the four bits above them.
    // An exact division: one bit every 21.
    // slither-disable-next-line divide-before-multiply
    uint256 private constant ONES = (2 ** 252 - 1) / (2 ** 21 - 1);
    uint256 private constant TOP = 0xF << 252;

    /// @notice Bits above the payload, which no word of a P or Q block, and none of a V block, may have set.
    uint256 internal constant ABOVE_POWER = TOP | ONES << 20;
    // See ONES.
    // slither-disable-next-line divide-before-multiply
    uint256 internal constant ABOVE_VOLTAGE = TOP | ONES * 0x1F << 16;

    /// @notice Words of a block of so many time steps.
    function words(uint256 steps) internal pure returns (uint256) {
        return (steps + PER_WORD - 1) / PER_WORD;
    }

    /// @notice The first of the words `start` to `end - 1` that has one of some bits set; `end` where there is none.
    /// @dev All words are looked at together first, as a rule there is none. Indices are not checked.
    function overflow(uint256[] calldata copies, uint256 start, uint256 end, uint256 above)
        internal
        pure
        returns (uint256 at)
    {
        uint256 bits = 0;
        assembly ("memory-safe") {
            let from := add(copies.offset, shl(5, start))
            for { let to := add(copies.offset, shl(5, end)) } lt(from, to) { from := add(from, 32) } {
                bits := or(bits, calldataload(from))
            }
        }
        if (bits & above == 0) return end;
        for (at = start; copies[at] & above == 0; ++at) {}
    }

    /// @notice The lane of a time step in its word.
    function lane(uint256 word, uint256 step) internal pure returns (uint256) {
        return word >> 21 * (step % PER_WORD) & (2 ** 21 - 1);
    }

    /// @notice A word that has the same value in each of its lanes.
    function inEach(uint256 value) internal pure returns (uint256) {
        return value * ONES;
    }

    /// @notice keccak256 of the packed words.
    function hash(uint256[] memory packed) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            result := keccak256(add(packed, 32), mul(32, mload(packed)))
        }
    }

    /// @notice The same of words in the calldata.
    function hashOf(uint256[] calldata packed) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := shl(5, packed.length)
            calldatacopy(free, packed.offset, size)
            result := keccak256(free, size)
        }
    }

    /// @notice keccak256 of bytes in the calldata.
    function hashOf(bytes calldata data) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, data.offset, data.length)
            result := keccak256(free, data.length)
        }
    }
}
