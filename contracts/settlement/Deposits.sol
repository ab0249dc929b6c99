// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {IDeposits} from "../interfaces/IDeposits.sol";
import {Account, Accounts} from "./Account.sol";

/// @title Deposits in a token
/// @notice The part of a settlement, or of a market, that holds money. See IDeposits.
///
/// @dev What an account has is one slot. All deposits together are below 2^127, so what is free and locked of one, and
///      what moves between the two, always fits; what is owed need not.
abstract contract Deposits is IDeposits, ReentrancyGuard {
    using SafeERC20 for IERC20Metadata;

    uint8 private constant MAX_DECIMALS = 18;
    uint256 private constant MOST = uint128(type(int128).max);

    /// @inheritdoc IDeposits
    IERC20Metadata public immutable token;
    /// @dev Token units in a unit of currency, 10^decimals.
    int256 internal immutable _currency;

    /// @inheritdoc IDeposits
    uint256 public totalDeposits;
    mapping(address account => Account) internal _accounts;

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
        if (amount > MOST - totalDeposits) revert DepositsTooLarge(MOST);
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

    /// @inheritdoc IDeposits
    function free(address account) external view returns (uint256) {
        return _accounts[account].free();
    }

    /// @inheritdoc IDeposits
    function locked(address account) external view returns (uint256) {
        return _accounts[account].locked();
    }

    /// @dev Takes from the free deposit.
    function _take(address account, uint256 amount) internal {
        Account held = _accounts[account];
        _accounts[account] = Accounts.make(_less(account, held, amount), held.locked());
    }

    /// @dev Adds to the free deposit what was taken elsewhere, or came in.
    function _credit(address account, uint256 amount) internal virtual {
        _change(account, int256(amount));
    }

    /// @dev Adds to the balance.
    /// @return before as it was
    function _change(address account, int256 amount) internal returns (int256 before) {
        Account held = _accounts[account];
        before = held.balance();
        _accounts[account] = held.withBalance(before + amount);
    }

    /// @dev Locks some of the free deposit.
    function _lock(address account, uint256 amount) internal {
        Account held = _accounts[account];
        _accounts[account] = Accounts.make(_less(account, held, amount), held.locked() + amount);
    }

    /// @dev Takes from what is locked, and adds to the balance what comes back of it.
    function _unlock(address account, uint256 amount, uint256 back) internal {
        Account held = _accounts[account];
        _accounts[account] = Accounts.make(held.balance() + int256(back), held.locked() - amount);
    }

    /// @dev Adds to what is locked, or takes from it.
    function _changeLocked(address account, int256 amount) internal {
        Account held = _accounts[account];
        _accounts[account] = held.withLocked(uint256(int256(held.locked()) + amount));
    }

    /// @dev The balance without an amount, which has to be free.
    function _less(address account, Account held, uint256 amount) private pure returns (int256) {
        if (amount > held.free()) revert InsufficientDeposit(account, held.free(), amount);
        return held.balance() - int256(amount);
    }
}
