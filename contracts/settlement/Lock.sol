// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What one side of a pair has locked. Zero where nothing is.
///
///      | bits   | holds                                        |
///      |--------|----------------------------------------------|
///      | 0-39   | deadline, unix time                          |
///      | 40-255 | amount, token units. Payments are below 2^130 |
type Lock is uint256;

using Locks for Lock global;

/// @title Words of locks
library Locks {
    uint256 private constant AMOUNT_AT = 40;

    function make(uint256 amount_, uint40 deadline_) internal pure returns (Lock) {
        return Lock.wrap(amount_ << AMOUNT_AT | deadline_);
    }

    function amount(Lock self) internal pure returns (uint256) {
        return Lock.unwrap(self) >> AMOUNT_AT;
    }

    function deadline(Lock self) internal pure returns (uint40) {
        return uint40(Lock.unwrap(self));
    }
}
