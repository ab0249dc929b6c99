// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {IRounds} from "../interfaces/IRounds.sol";
import {Nodes} from "../libraries/Nodes.sol";

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
    uint256 private constant ITERATION_AT = 32;
    uint256 private constant PHASE_AT = 48;
    uint256 private constant DEADLINE_AT = 56;
    uint256 private constant COUNTER_AT = 96;
    uint256 private constant EXPECTED_AT = 104;
    uint256 private constant HISTORY_AT = 112;
    uint256 private constant PRESENT_AT = 128;

    function pack(IOutcomes.Progress memory progress) internal pure returns (Standing) {
        return Standing.wrap(
            uint256(progress.round) | uint256(progress.iteration) << ITERATION_AT
                | uint256(progress.phase) << PHASE_AT | uint256(progress.deadline) << DEADLINE_AT
                | uint256(progress.counter) << COUNTER_AT | uint256(progress.expected) << EXPECTED_AT
                | uint256(progress.history) << HISTORY_AT | uint256(progress.present) << PRESENT_AT
        );
    }

    function unpack(Standing self) internal pure returns (IOutcomes.Progress memory progress) {
        uint256 word = Standing.unwrap(self);
        progress.round = uint32(word);
        progress.iteration = uint16(word >> ITERATION_AT);
        progress.phase = self.phase();
        progress.deadline = uint40(word >> DEADLINE_AT);
        progress.counter = uint8(word >> COUNTER_AT);
        progress.expected = uint8(word >> EXPECTED_AT);
        progress.history = uint16(word >> HISTORY_AT);
        progress.present = uint128(word >> PRESENT_AT);
    }

    function round(Standing self) internal pure returns (uint32) {
        return uint32(Standing.unwrap(self));
    }

    function phase(Standing self) internal pure returns (IOutcomes.Phase) {
        return IOutcomes.Phase(uint8(Standing.unwrap(self) >> PHASE_AT));
    }

    /// @notice With a node more that was heard, once.
    function hear(Standing self, uint8 node) internal pure returns (Standing) {
        uint256 bit = uint256(Nodes.bit(node)) << PRESENT_AT;
        uint256 word = Standing.unwrap(self);
        if (word & bit != 0) revert IRounds.AlreadyDeclared(node);
        // There are at most 128.
        unchecked {
            return Standing.wrap((word | bit) + (1 << COUNTER_AT));
        }
    }

    /// @notice Whether all that are expected were counted.
    function isComplete(Standing self) internal pure returns (bool) {
        uint256 word = Standing.unwrap(self);
        return uint8(word >> COUNTER_AT) == uint8(word >> EXPECTED_AT);
    }
}
