// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IOutcomes} from "../interfaces/IOutcomes.sol";

/// @notice Where a round stands, as it is stored: IOutcomes.Progress in one word, which every call reads and writes once.
///
///      | bits    | holds     |
///      |---------|-----------|
///      | 128-255 | present   |
///      | 112-127 | history   |
///      | 104-111 | expected  |
///      | 96-103  | counter   |
///      | 56-95   | deadline  |
///      | 48-55   | phase     |
///      | 32-47   | iteration |
///      | 0-31    | round     |
type Standing is uint256;

using Standings for Standing global;

/// @title Packing and unpacking where a round stands
library Standings {
    function pack(IOutcomes.Progress memory progress) internal pure returns (Standing) {
        return Standing.wrap(
            uint256(progress.round) | uint256(progress.iteration) << 32 | uint256(progress.phase) << 48
                | uint256(progress.deadline) << 56 | uint256(progress.counter) << 96
                | uint256(progress.expected) << 104 | uint256(progress.history) << 112
                | uint256(progress.present) << 128
        );
    }

    function unpack(Standing self) internal pure returns (IOutcomes.Progress memory progress) {
        uint256 word = Standing.unwrap(self);
        progress.round = uint32(word);
        progress.iteration = uint16(word >> 32);
        progress.phase = IOutcomes.Phase(uint8(word >> 48));
        progress.deadline = uint40(word >> 56);
        progress.counter = uint8(word >> 96);
        progress.expected = uint8(word >> 104);
        progress.history = uint16(word >> 112);
        progress.present = uint128(word >> 128);
    }

    function round(Standing self) internal pure returns (uint32) {
        return uint32(Standing.unwrap(self));
    }
}
