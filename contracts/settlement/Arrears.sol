// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ISupply} from "../interfaces/ISupply.sol";
import {Deposits} from "./Deposits.sol";

/// @title What is owed to suppliers
/// @notice See ISupply.
///
/// @dev Arrears are a balance below zero: what an account has is taken when they arise, and what is credited pays them
///      first, to those to whom they are owed in the order in which that began. Suppliers owe nothing. An account owes as
///      many as were ever admitted at the most, so lists are short.
abstract contract Arrears is Deposits, ISupply {
    /// @dev Together they are what the balance of the account is below zero.
    struct Debts {
        address[] creditors; // to whom something is owed
        mapping(address creditor => uint256 amount) to;
    }

    /// @inheritdoc ISupply
    address public immutable supplier;
    // Written through storage pointers.
    // slither-disable-next-line uninitialized-state
    mapping(address account => Debts) private _debts;

    constructor(address supplier_) {
        supplier = supplier_;
    }

    /// @inheritdoc ISupply
    function arrears(address account) public view returns (uint256) {
        return _accounts[account].arrears();
    }

    /// @inheritdoc ISupply
    function creditorsOf(address account) external view returns (address[] memory) {
        return _debts[account].creditors;
    }

    /// @inheritdoc ISupply
    function owed(address account, address creditor) public view returns (uint256) {
        return _debts[account].to[creditor];
    }

    /// @dev Whether it may supply others, or once might: it cannot owe.
    function _isSupplier(address account) internal view virtual returns (bool);

    /// @dev Adds to the free deposit, after arrears.
    function _credit(address account, uint256 amount) internal override {
        int256 before = _change(account, int256(amount));
        if (before < 0 && amount != 0) _payDebts(account, Math.min(amount, uint256(-before)));
    }

    /// @dev Pays those to whom an account owes, one after the other.
    function _payDebts(address account, uint256 left) private {
        Debts storage debts = _debts[account];
        uint256 ended = 0; // debts
        for (uint256 i = 0; left != 0; ++i) {
            address creditor = debts.creditors[i];
            uint256 due = debts.to[creditor];
            uint256 paid = Math.min(left, due);
            if (paid == due) ++ended;
            debts.to[creditor] = due - paid;
            left -= paid;
            _change(creditor, int256(paid));
            emit ArrearsPaid(account, creditor, paid);
        }
        _forget(debts, 0, ended);
    }

    /// @dev Takes creditors off the list, whose order stays.
    function _forget(Debts storage debts, uint256 first, uint256 count) private {
        address[] storage creditors = debts.creditors;
        uint256 length = creditors.length;
        if (count == 0) return;
        for (uint256 i = first + count; i < length; ++i) creditors[i - count] = creditors[i];
        for (uint256 i = 0; i < count; ++i) creditors.pop();
    }

    /// @dev Pays a supplier from the free deposit, as far as it goes. The rest is in arrears, and returned.
    function _charge(address account, address to, uint256 amount) internal returns (uint256 rest) {
        if (account == to) return 0;
        int256 before = _change(account, -int256(amount));
        uint256 paid = before > 0 ? Math.min(amount, uint256(before)) : 0;
        _change(to, int256(paid));
        rest = amount - paid;
        if (rest == 0) return 0;
        if (_isSupplier(account)) revert SupplierOwesNothing(account, rest);
        Debts storage debts = _debts[account];
        uint256 due = debts.to[to];
        if (due == 0) debts.creditors.push(to);
        debts.to[to] = due + rest;
    }

    /// @dev Ends arrears of an account, as far as it owes that supplier any, without money.
    /// @return ended how much
    function _lessen(address account, address creditor, uint256 most) internal returns (uint256 ended) {
        Debts storage debts = _debts[account];
        uint256 due = debts.to[creditor];
        ended = Math.min(most, due);
        if (ended == 0) return 0;
        debts.to[creditor] = due - ended;
        _change(account, int256(ended));
        if (ended < due) return ended;
        uint256 at = 0;
        while (debts.creditors[at] != creditor) ++at;
        _forget(debts, at, 1);
    }

    /// @dev Pays an account from a supplier's free deposit, after what it owes that supplier: that needs no money.
    function _refund(address account, address from, uint256 amount) internal {
        uint256 rest = amount - _lessen(account, from, amount);
        _take(from, rest);
        _credit(account, rest);
    }
}
