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
///
///      What is owed to the community's supplier is what the others leave of the arrears. So an account that owes nobody
///      else, as most do that owe, has nothing written but its balance.
abstract contract Arrears is Deposits, ISupply {
    struct Debts {
        address[] creditors; // to whom something is owed; empty where it is nobody but the community's supplier
        mapping(address creditor => uint256 amount) to; // others than that
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
    function creditorsOf(address account) external view returns (address[] memory creditors) {
        creditors = _debts[account].creditors;
        if (creditors.length != 0 || arrears(account) == 0) return creditors;
        creditors = new address[](1);
        creditors[0] = supplier;
    }

    /// @inheritdoc ISupply
    function owed(address account, address creditor) external view returns (uint256) {
        return _due(_debts[account], creditor, arrears(account));
    }

    /// @dev Whether it may supply others, or once might: it cannot owe.
    function _isSupplier(address account) internal view virtual returns (bool);

    /// @dev Adds to the free deposit, after arrears.
    function _credit(address account, uint256 amount) internal override {
        int256 before = _change(account, int256(amount));
        if (before < 0 && amount != 0) _payDebts(account, uint256(-before), Math.min(amount, uint256(-before)));
    }

    /// @dev Pays those to whom an account owes, one after the other.
    /// @param all that it owes
    /// @param left of what pays that
    function _payDebts(address account, uint256 all, uint256 left) private {
        Debts storage debts = _debts[account];
        if (debts.creditors.length == 0) return _payDebt(account, supplier, left);
        uint256 ended = 0; // debts
        for (uint256 i = 0; left != 0; ++i) {
            address creditor = debts.creditors[i];
            uint256 due = _due(debts, creditor, all);
            uint256 paid = Math.min(left, due);
            if (paid == due) ++ended;
            _setDue(debts, creditor, due - paid);
            (all, left) = (all - paid, left - paid);
            _payDebt(account, creditor, paid);
        }
        _forget(debts, 0, ended);
    }

    function _payDebt(address account, address creditor, uint256 paid) private {
        _change(creditor, int256(paid));
        emit ArrearsPaid(account, creditor, paid);
    }

    /// @dev What is owed to somebody, of all that is owed.
    function _due(Debts storage debts, address creditor, uint256 all) private view returns (uint256) {
        if (creditor != supplier) return debts.to[creditor];
        for (uint256 i = 0; i < debts.creditors.length; ++i) all -= debts.to[debts.creditors[i]];
        return all;
    }

    function _setDue(Debts storage debts, address creditor, uint256 due) private {
        if (creditor != supplier) debts.to[creditor] = due;
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
        _owe(_debts[account], to, before < 0 ? uint256(-before) : 0, rest);
    }

    /// @dev Adds to what is owed to somebody.
    /// @param all that was owed before
    function _owe(Debts storage debts, address to, uint256 all, uint256 more) private {
        if (to == supplier && (all == 0 || debts.creditors.length == 0)) return; // it is the only one
        uint256 due = _due(debts, to, all);
        if (due == 0) {
            if (all != 0 && debts.creditors.length == 0) debts.creditors.push(supplier); // the only one until now
            debts.creditors.push(to);
        }
        _setDue(debts, to, due + more);
    }

    /// @dev Ends arrears of an account, as far as it owes that supplier any, without money.
    /// @return ended how much
    function _lessen(address account, address creditor, uint256 most) internal returns (uint256 ended) {
        Debts storage debts = _debts[account];
        uint256 due = _due(debts, creditor, arrears(account));
        ended = Math.min(most, due);
        if (ended == 0) return 0;
        _setDue(debts, creditor, due - ended);
        _change(account, int256(ended));
        if (ended < due || debts.creditors.length == 0) return ended;
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
