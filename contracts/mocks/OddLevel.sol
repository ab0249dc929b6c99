// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title A level that answers in odd ways
/// @notice For tests: what a manager may have tied by mistake, or out of malice.
contract OddLevel {
    enum Answer {
        Yes,
        No,
        Reverts,
        Nothing,
        Short,
        Two,
        Much,
        Burns
    }

    Answer public answer;

    function be(Answer answer_) external {
        answer = answer_;
    }

    fallback() external {
        Answer now_ = answer;
        if (now_ == Answer.Reverts) revert();
        if (now_ == Answer.Nothing) return;
        while (now_ == Answer.Burns) {}
        uint256 value = now_ == Answer.Two ? 2 : now_ == Answer.No ? 0 : 1;
        uint256 length = now_ == Answer.Short ? 31 : now_ == Answer.Much ? 300_000 : 32;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, value)
            return(free, length)
        }
    }
}
