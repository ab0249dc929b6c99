// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {IDeposits} from "../interfaces/IDeposits.sol";
import {Vault} from "./Vault.sol";

/// @title Deposits in a token
/// @notice The part of a settlement that holds money. See IDeposits.
abstract contract Deposits is Vault {
    /// @inheritdoc IDeposits
    mapping(address account => uint256) public free;
    /// @inheritdoc IDeposits
    mapping(address account => uint256) public locked;

    constructor(IERC20Metadata token_) Vault(token_) {}

    function _take(address account, uint256 amount) internal override {
        uint256 available = free[account];
        if (amount > available) revert InsufficientDeposit(account, available, amount);
        free[account] = available - amount;
    }

    function _credit(address account, uint256 amount) internal virtual override {
        free[account] += amount;
    }
}
