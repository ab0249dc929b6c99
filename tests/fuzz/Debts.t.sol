// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {ISupply} from "contracts/interfaces/ISupply.sol";
import {IOutcomes} from "contracts/interfaces/IOutcomes.sol";
import {TestEuro} from "contracts/mocks/TestEuro.sol";
import {Arrears} from "contracts/settlement/Arrears.sol";
import {Deposits} from "contracts/settlement/Deposits.sol";

/// @title Arrears alone, with what is elsewhere the settlement's own
contract Owing is Arrears {
    uint8 public constant PARTIES = 6;
    uint8 public constant SUPPLIERS = 3; // the first is the community's

    constructor(IERC20Metadata token_) Deposits(token_) Arrears(party(0)) {}

    function party(uint256 seed) public pure returns (address) {
        return address(uint160(0x1000 + seed % PARTIES));
    }

    function _isSupplier(address account) internal pure override returns (bool) {
        return uint160(account) < 0x1000 + SUPPLIERS;
    }

    function credit(address account, uint256 amount) external {
        _credit(account, amount);
    }

    function charge(address account, address to, uint256 amount) external returns (uint256 rest) {
        return _charge(account, to, amount);
    }

    function lessen(address account, address creditor, uint256 most) external returns (uint256 ended) {
        return _lessen(account, creditor, most);
    }

    function refund(address account, address from, uint256 amount) external {
        _refund(account, from, amount);
    }

    // Who supplies whom is nothing here.
    function admitSupplier(address) external {}
    function dismissSupplier(address) external {}
    function wishSupplier(address) external {}
    function supply(address) external {}
    function dismissCustomer(address) external {}
    function forgive(address, uint256) external {}
    function aggregator() external view returns (IOutcomes) {}
    function metering() external view returns (address) {}
    function supplierIn(uint32, address) external view returns (address) {}
    function supplies(uint32, address) external view returns (bool) {}
}

/// @title What is owed, kept plainly beside it: every debt in a list of its own, with its amount
contract DebtsHandler {
    struct Debt {
        address creditor;
        uint256 amount;
    }

    Owing public immutable owing;
    mapping(address account => Debt[]) private _debts; // in the order in which they began
    mapping(address account => uint256) private _free;
    string public flaw; // what was not as it must be

    constructor() {
        owing = new Owing(IERC20Metadata(address(new TestEuro())));
    }

    function credit(uint8 who, uint32 amount) external {
        address account = owing.party(who);
        owing.credit(account, amount);
        _pay(account, amount);
        _compare(account);
    }

    function charge(uint8 who, uint8 to, uint32 amount) external {
        (address account, address creditor) = (owing.party(who), owing.party(to % owing.SUPPLIERS()));
        uint256 paid = amount < _free[account] ? amount : _free[account];
        uint256 expected = account == creditor ? 0 : amount - paid;
        bool isSupplier = who % owing.PARTIES() < owing.SUPPLIERS();
        try owing.charge(account, creditor, amount) returns (uint256 rest) {
            if (isSupplier && expected != 0) flaw = "a supplier owes";
            if (rest != expected) flaw = "what is left open";
        } catch {
            if (!isSupplier || expected == 0) flaw = "refused";
            return;
        }
        if (account == creditor) return;
        _free[account] -= paid;
        _free[creditor] += paid;
        if (expected != 0) _find(account, creditor).amount += expected;
        _compare(account);
    }

    function lessen(uint8 who, uint8 to, uint32 most) external {
        (address account, address creditor) = (owing.party(who), owing.party(to % owing.SUPPLIERS()));
        if (owing.lessen(account, creditor, most) != _end(account, creditor, most)) flaw = "ended";
        _compare(account);
    }

    function refund(uint8 who, uint8 from, uint32 amount) external {
        (address account, address creditor) = (owing.party(who), owing.party(from % owing.SUPPLIERS()));
        uint256 ended = _owed(account, creditor) < amount ? _owed(account, creditor) : amount;
        try owing.refund(account, creditor, amount) {
            if (_free[creditor] < amount - ended) flaw = "refunded without money";
        } catch {
            if (_free[creditor] >= amount - ended) flaw = "not refunded";
            return;
        }
        uint256 rest = amount - _end(account, creditor, amount);
        _free[creditor] -= rest;
        _pay(account, rest);
        _compare(account);
    }

    // ------------------------------------------------------------------ the plain way

    function _pay(address account, uint256 amount) private {
        while (amount != 0 && _debts[account].length != 0) {
            Debt memory first = _debts[account][0];
            uint256 paid = amount < first.amount ? amount : first.amount;
            _end(account, first.creditor, paid);
            _free[first.creditor] += paid;
            amount -= paid;
        }
        _free[account] += amount;
    }

    function _end(address account, address creditor, uint256 most) private returns (uint256 ended) {
        Debt[] storage debts = _debts[account];
        uint256 at = 0;
        while (at < debts.length && debts[at].creditor != creditor) ++at;
        if (at == debts.length) return 0;
        ended = most < debts[at].amount ? most : debts[at].amount;
        debts[at].amount -= ended;
        if (debts[at].amount != 0) return ended;
        for (; at + 1 < debts.length; ++at) debts[at] = debts[at + 1];
        debts.pop();
    }

    function _owed(address account, address creditor) private view returns (uint256) {
        for (uint256 i = 0; i < _debts[account].length; ++i) {
            if (_debts[account][i].creditor == creditor) return _debts[account][i].amount;
        }
        return 0;
    }

    function _find(address account, address creditor) private returns (Debt storage) {
        Debt[] storage debts = _debts[account];
        for (uint256 i = 0; i < debts.length; ++i) if (debts[i].creditor == creditor) return debts[i];
        debts.push(Debt(creditor, 0));
        return debts[debts.length - 1];
    }

    /// @dev What an account owes, and what all have.
    function _compare(address account) private {
        Debt[] storage debts = _debts[account];
        address[] memory creditors = owing.creditorsOf(account);
        if (creditors.length != debts.length) flaw = "creditors";
        uint256 all = 0;
        for (uint256 i = 0; i < debts.length && i < creditors.length; ++i) {
            if (creditors[i] != debts[i].creditor) flaw = "order";
            all += debts[i].amount;
        }
        if (owing.arrears(account) != all) flaw = "arrears";
        for (uint256 who = 0; who < owing.PARTIES(); ++who) {
            if (owing.owed(account, owing.party(who)) != _owed(account, owing.party(who))) flaw = "owed";
            if (owing.free(owing.party(who)) != _free[owing.party(who)]) flaw = "free";
        }
    }
}

/// @notice TS15, and that debts are paid in the order in which they began.
contract DebtsTest {
    DebtsHandler private _handler;

    function setUp() public {
        _handler = new DebtsHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_TS15_whatIsOwedIsAsKeptPlainly() public view {
        require(bytes(_handler.flaw()).length == 0, _handler.flaw());
    }
}
