// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Books} from "./Books.sol";
import {Nodes} from "./Nodes.sol";

/// @title What a household of a sealed round answers when it is asked about an iteration
/// @notice It said three things of all its partners together: both residuals of the trades, and sums for the pool. An
///         answer has each partner's part of them, none of which tells a bid:
///
///      | bytes | field   |                                                                               |
///      |-------|---------|-------------------------------------------------------------------------------|
///      | 16    | counted | uint128, the partners whose books mirror the household's                      |
///
///      and for each of these, in the order of the household's book:
///
///      | bytes | field   |                                                                               |
///      |-------|---------|-------------------------------------------------------------------------------|
///      | 8     | primal  | uint64, sum of (d_ij + d_ji)^2                                                |
///      | 8     | dual    | uint64, sum of (a - a')^2, four times what it adds to s_trade                 |
///      | 3     | share   | uint24 for each step of the pair: its bid under the pad of the third kind     |
///      |       |         | (see Seals); zero for a partner that was out. At a step that is none of the   |
///      |       |         | round's it means nothing                                                      |
///
///      Nothing here reverts: what is not there is zero.
library Answers {
    uint256 internal constant HEADER = 16; // bytes
    uint256 internal constant SQUARE = 8;
    uint256 internal constant SQUARES = 2 * SQUARE;
    uint256 internal constant SHARE = 3;

    function counted(bytes calldata answer) internal pure returns (uint128) {
        return uint128(number(answer, 0, HEADER));
    }

    /// @notice Length of the part of a partner.
    /// @param count steps of the pair
    function length(uint256 count) internal pure returns (uint256) {
        return SQUARES + SHARE * count;
    }

    /// @notice Where the part of a partner is.
    /// @param book of who answers
    function find(bytes calldata answer, bytes calldata book, uint8 partner)
        internal
        pure
        returns (bool there, uint256 at)
    {
        uint128 parts = counted(answer);
        at = HEADER;
        (bool more, uint8 listed, uint256 count, uint256 steps) = Books.entry(book, 0, 0);
        while (more && listed < partner) {
            if (parts & Nodes.bit(listed) != 0) at += length(count);
            (more, listed, count, steps) = Books.entry(book, steps + count, uint256(listed) + 1);
        }
        there = more && listed == partner && parts & Nodes.bit(partner) != 0;
    }

    /// @notice A number of some bytes.
    function number(bytes calldata data, uint256 at, uint256 bytes_) internal pure returns (uint256) {
        if (at + bytes_ > data.length) return 0;
        return uint256(bytes32(data[at:])) >> 256 - 8 * bytes_;
    }
}
