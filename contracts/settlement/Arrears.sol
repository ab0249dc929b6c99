// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {Deposits} from "./Deposits.sol";

/// @title What is owed to suppliers
/// @notice See ITradeSettlement.
///
/// @dev Arrears are a balance below zero: what an account has is taken when they arise, and what is credited pays them
///      first. They are owed to one supplier, whom the account owes until it has paid. Suppliers owe nothing.
abstract contract Arrears is Deposits, ITradeSettlement {
    /// @inheritdoc ITradeSettlement
    address public immutable supplier;
    /// @dev Whom an account owes, or owed last; zero: the community's supplier. Who supplies has itself here.
    mapping(address account => address) internal _creditors;

    constructor(address supplier_) {
        supplier = supplier_;
    }

    /// @inheritdoc ITradeSettlement
    function arrears(address account) public view returns (uint256) {
        return _accounts[account].arrears();
    }

    /// @inheritdoc ITradeSettlement
    function forgive(address account, uint256 amount) external {
        if (msg.sender != creditorOf(account)) revert NotSupplier(msg.sender);
        uint256 forgiven = Math.min(amount, arrears(account));
        _change(account, int256(forgiven));
        emit ArrearsForgiven(account, forgiven);
    }

    /// @inheritdoc ITradeSettlement
    function creditorOf(address account) public view returns (address creditor) {
        creditor = _creditors[account];
        if (creditor == address(0)) creditor = supplier;
    }

    function _requireSupplier() internal view {
        if (!_supplies(msg.sender)) revert NotSupplier(msg.sender);
    }

    function _supplies(address account) internal view returns (bool) {
        return creditorOf(account) == account;
    }

    /// @dev Adds to the free deposit, after arrears.
    function _credit(address account, uint256 amount) internal override {
        int256 before = _change(account, int256(amount));
        if (before >= 0 || amount == 0) return;
        uint256 paid = Math.min(amount, uint256(-before));
        _change(creditorOf(account), int256(paid));
        emit ArrearsPaid(account, paid);
    }

    /// @dev Pays a supplier from the free deposit, as far as it goes. The rest is in arrears, and returned.
    function _charge(address account, address to, uint256 amount) internal returns (uint256 owed) {
        if (account == to) return 0;
        int256 before = _change(account, -int256(amount));
        uint256 paid = before > 0 ? Math.min(amount, uint256(before)) : 0;
        _change(to, int256(paid));
        owed = amount - paid;
        if (owed != 0) _owe(account, to, before < 0);
    }

    /// @dev Keeps whom an account owes.
    /// @param owes whether it owed already
    function _owe(address account, address to, bool owes) private {
        address creditor = creditorOf(account);
        if (creditor == to) return;
        if (owes || creditor == account) revert OwesOnlyTo(account, creditor);
        _creditors[account] = to;
    }

    /// @dev Pays an account from a supplier's free deposit, after what it owes that supplier: that needs no money.
    function _refund(address account, address from, uint256 amount) internal {
        if (creditorOf(account) != from) {
            _take(from, amount);
            _credit(account, amount);
            return;
        }
        _take(from, amount - Math.min(amount, arrears(account)));
        _change(account, int256(amount));
    }
}
