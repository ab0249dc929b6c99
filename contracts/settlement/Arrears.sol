// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {Deposits} from "./Deposits.sol";

/// @title What is owed to the supplier
/// @notice See ITradeSettlement.
///
/// @dev Arrears are a balance below zero: what an account has is taken when they arise, and what is credited pays them
///      first. The supplier owes nothing, as it would owe to itself.
abstract contract Arrears is Deposits, ITradeSettlement {
    /// @inheritdoc ITradeSettlement
    address public immutable supplier;

    constructor(address supplier_) {
        supplier = supplier_;
    }

    /// @inheritdoc ITradeSettlement
    function arrears(address account) public view returns (uint256) {
        return _accounts[account].arrears();
    }

    /// @inheritdoc ITradeSettlement
    function forgive(address account, uint256 amount) external {
        _requireSupplier();
        uint256 forgiven = Math.min(amount, arrears(account));
        _change(account, int256(forgiven));
        emit ArrearsForgiven(account, forgiven);
    }

    function _requireSupplier() internal view {
        if (msg.sender != supplier) revert NotSupplier(msg.sender);
    }

    /// @dev Adds to the free deposit, after arrears.
    function _credit(address account, uint256 amount) internal override {
        int256 before = _change(account, int256(amount));
        if (before >= 0 || amount == 0) return;
        uint256 paid = Math.min(amount, uint256(-before));
        _change(supplier, int256(paid));
        emit ArrearsPaid(account, paid);
    }

    /// @dev Pays the supplier from the free deposit, as far as it goes. The rest is in arrears, and returned.
    function _charge(address account, uint256 amount) internal returns (uint256 owed) {
        if (account == supplier) return 0;
        int256 before = _change(account, -int256(amount));
        uint256 paid = before > 0 ? Math.min(amount, uint256(before)) : 0;
        _change(supplier, int256(paid));
        owed = amount - paid;
    }

    /// @dev Pays an account from the supplier's free deposit, after what it owes the supplier: that needs no money.
    function _refund(address account, uint256 amount) internal {
        _take(supplier, amount - Math.min(amount, arrears(account)));
        _change(account, int256(amount));
    }
}
