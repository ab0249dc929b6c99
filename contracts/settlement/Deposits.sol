// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";

/// @title Deposits in a token, and what is owed to the supplier
/// @notice The part of the settlement that holds money. See ITradeSettlement.
///
/// @dev An account in arrears has no free deposit: what it has is taken when they arise, and what is credited pays them
///      first. (The supplier itself may owe to itself; then it is in arrears with free deposit, and nobody cares.)
abstract contract Deposits is ITradeSettlement, ReentrancyGuard {
    using SafeERC20 for IERC20Metadata;

    uint8 private constant MAX_DECIMALS = 18;

    /// @inheritdoc ITradeSettlement
    IERC20Metadata public immutable token;
    /// @inheritdoc ITradeSettlement
    address public immutable supplier;
    /// @dev Token units in a unit of currency, 10^decimals.
    int256 internal immutable _currency;

    /// @inheritdoc ITradeSettlement
    uint256 public totalDeposits;
    /// @inheritdoc ITradeSettlement
    mapping(address account => uint256) public free;
    /// @inheritdoc ITradeSettlement
    mapping(address account => uint256) public locked;
    /// @inheritdoc ITradeSettlement
    mapping(address account => uint256) public arrears;

    constructor(IERC20Metadata token_, address supplier_) {
        uint8 decimals = token_.decimals();
        if (decimals > MAX_DECIMALS) revert TooManyDecimals(decimals);
        token = token_;
        supplier = supplier_;
        _currency = int256(10 ** uint256(decimals));
    }

    /// @inheritdoc ITradeSettlement
    function deposit(uint256 amount) external nonReentrant {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert ReceivedOtherAmount(amount, received);
        totalDeposits += amount;
        emit Deposited(msg.sender, amount);
        _credit(msg.sender, amount);
    }

    /// @inheritdoc ITradeSettlement
    function withdraw(uint256 amount) external nonReentrant {
        _take(msg.sender, amount);
        totalDeposits -= amount;
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc ITradeSettlement
    function forgive(address account, uint256 amount) external {
        _requireSupplier();
        uint256 forgiven = Math.min(amount, arrears[account]);
        arrears[account] -= forgiven;
        emit ArrearsForgiven(account, forgiven);
    }

    function _requireSupplier() internal view {
        if (msg.sender != supplier) revert NotSupplier(msg.sender);
    }

    /// @dev Takes from the free deposit.
    function _take(address account, uint256 amount) internal {
        uint256 available = free[account];
        if (amount > available) revert InsufficientDeposit(account, available, amount);
        free[account] = available - amount;
    }

    /// @dev Adds to the free deposit, after arrears.
    function _credit(address account, uint256 amount) internal {
        uint256 paid = Math.min(amount, arrears[account]);
        if (paid != 0) {
            arrears[account] -= paid;
            free[supplier] += paid;
            emit ArrearsPaid(account, paid);
        }
        free[account] += amount - paid;
    }

    /// @dev Pays the supplier from the free deposit, as far as it goes. The rest is in arrears, and returned.
    function _charge(address account, uint256 amount) internal returns (uint256 owed) {
        uint256 paid = Math.min(amount, free[account]);
        owed = amount - paid;
        free[account] -= paid;
        free[supplier] += paid;
        arrears[account] += owed;
    }

    /// @dev Pays an account from the supplier's free deposit, after what it owes the supplier: that needs no money.
    function _refund(address account, uint256 amount) internal {
        uint256 cancelled = Math.min(amount, arrears[account]);
        arrears[account] -= cancelled;
        _take(supplier, amount - cancelled);
        free[account] += amount - cancelled;
    }
}
