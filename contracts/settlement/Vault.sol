// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {IDeposits} from "../interfaces/IDeposits.sol";

/// @title Tokens that come in and go out
/// @notice See IDeposits. How deposits are kept is left to who inherits.
abstract contract Vault is IDeposits, ReentrancyGuard {
    using SafeERC20 for IERC20Metadata;

    uint8 private constant MAX_DECIMALS = 18;

    /// @inheritdoc IDeposits
    IERC20Metadata public immutable token;
    /// @dev Token units in a unit of currency, 10^decimals.
    int256 internal immutable _currency;

    /// @inheritdoc IDeposits
    uint256 public totalDeposits;

    constructor(IERC20Metadata token_) {
        uint8 decimals = token_.decimals();
        if (decimals > MAX_DECIMALS) revert TooManyDecimals(decimals);
        token = token_;
        _currency = int256(10 ** uint256(decimals));
    }

    /// @inheritdoc IDeposits
    function deposit(uint256 amount) external nonReentrant {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert ReceivedOtherAmount(amount, received);
        totalDeposits += amount;
        emit Deposited(msg.sender, amount);
        _credit(msg.sender, amount);
    }

    /// @inheritdoc IDeposits
    function withdraw(uint256 amount) external nonReentrant {
        _take(msg.sender, amount);
        totalDeposits -= amount;
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @dev Takes from the free deposit.
    function _take(address account, uint256 amount) internal virtual;

    /// @dev Adds to the free deposit.
    function _credit(address account, uint256 amount) internal virtual;
}
