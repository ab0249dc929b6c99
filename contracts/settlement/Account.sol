// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @notice What an account has in a settlement, token units.
///
///      | bits    | holds                                                                                    |
///      |---------|------------------------------------------------------------------------------------------|
///      | 0-127   | locked                                                                                   |
///      | 128-255 | balance, int128: what is free; below zero what it owes, where there is somebody to owe to |
type Account is uint256;

using Accounts for Account global;

/// @title Words of accounts
library Accounts {
    using SafeCast for int256;
    using SafeCast for uint256;

    uint256 private constant BALANCE_AT = 128;

    /// @notice The caller sees to it that both fit.
    function make(int256 balance_, uint256 locked_) internal pure returns (Account) {
        return Account.wrap(uint256(balance_) << BALANCE_AT | locked_);
    }

    /// @notice With another balance. Reverts where it does not fit.
    function withBalance(Account self, int256 balance_) internal pure returns (Account) {
        return make(balance_.toInt128(), self.locked());
    }

    /// @notice With something else locked. Reverts where it does not fit.
    function withLocked(Account self, uint256 locked_) internal pure returns (Account) {
        return make(self.balance(), locked_.toUint128());
    }

    function balance(Account self) internal pure returns (int256) {
        return int256(Account.unwrap(self)) >> BALANCE_AT;
    }

    function locked(Account self) internal pure returns (uint256) {
        return uint128(Account.unwrap(self));
    }

    function free(Account self) internal pure returns (uint256) {
        int256 balance_ = self.balance();
        return balance_ > 0 ? uint256(balance_) : 0;
    }

    function arrears(Account self) internal pure returns (uint256) {
        int256 balance_ = self.balance();
        return balance_ < 0 ? uint256(-balance_) : 0;
    }
}
