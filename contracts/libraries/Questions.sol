// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";

/// @title Questions to nodes of a sealed round, and what they answered
/// @notice Where rounds are sealed, a node may be asked to say by partner what it said of all its partners together: see
///         the library Answers. A question is about one iteration, and asked once. Who goes on without an answer is out.
library Questions {
    /// @notice Questions that a node may ask in a round: each costs the other the gas of an answer.
    uint256 internal constant MOST = 3;
    /// @notice A node reads a question when the iteration is closed in which it was asked, and answers before it submits
    ///         again. So who submits this many iterations later has read it.
    uint256 internal constant PATIENCE = 2;

    /// @dev One storage slot.
    struct Question {
        uint16 askedIn; // iteration that was open then; 0: never asked
        uint240 answer; // the lower bits of its keccak256; 0: none yet
    }

    struct Store {
        mapping(uint256 place => Question) questions;
        mapping(uint256 node => uint256) asked; // how many by each
    }

    /// @param iteration the open one
    function ask(Store storage self, uint8 asker, uint8 node, uint16 about, uint16 iteration) internal {
        Question storage question = self.questions[_place(node, about)];
        uint256 before = self.asked[asker];
        if (question.askedIn != 0 || before == MOST) revert IVirtualAggregator.CannotAsk(node, about);
        self.asked[asker] = before + 1;
        question.askedIn = iteration;
    }

    function answer(Store storage self, uint8 node, uint16 about, bytes calldata told) internal {
        Question storage question = self.questions[_place(node, about)];
        if (question.askedIn == 0 || question.answer != 0) revert IVirtualAggregator.NotAsked(node, about);
        question.answer = hashOf(told);
    }

    /// @param last the last iteration that the node has submitted in
    function isOverdue(Store storage self, uint8 node, uint16 about, uint16 last) internal view returns (bool) {
        Question storage question = self.questions[_place(node, about)];
        return question.askedIn != 0 && question.answer == 0 && last >= uint256(question.askedIn) + PATIENCE;
    }

    function read(Store storage self, uint8 node, uint16 about) internal view returns (Question memory) {
        return self.questions[_place(node, about)];
    }

    function hashOf(bytes calldata told) internal pure returns (uint240) {
        return uint240(uint256(keccak256(told)));
    }

    function _place(uint8 node, uint16 about) private pure returns (uint256) {
        return uint256(node) << 16 | about;
    }
}
