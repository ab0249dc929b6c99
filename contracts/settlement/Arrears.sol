// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {Deposits} from "./Deposits.sol";

/// @title What is owed to the supplier
/// @notice See ITradeSettlement.
///
/// @dev An account in arrears has no free deposit: what it has is taken when they arise, and what is credited pays them
///      first. (The supplier itself may owe to itself; then it is in arrears with free deposit, and nobody cares.)
abstract contract Arrears is Deposits, ITradeSettlement {
    /// @inheritdoc ITradeSettlement
    address public immutable supplier;
    /// @inheritdoc ITradeSettlement
    mapping(address account => uint256) public arrears;

    constructor(address supplier_) {
        supplier = supplier_;
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

    /// @dev Adds to the free deposit, after arrears.
    function _credit(address account, uint256 amount) internal override {
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
