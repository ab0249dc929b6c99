// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDeposits} from "contracts/interfaces/IDeposits.sol";
import {TestEuro} from "contracts/mocks/TestEuro.sol";
import {VM} from "./Cheats.sol";

/// @title Parties who keep deposits in a contract, and what they may do with them at any time
/// @notice A handler is one of these, and adds what its contract is for.
abstract contract Parties {
    uint8 public immutable PARTIES;
    TestEuro public immutable token = new TestEuro();
    uint256 public gifts; // tokens sent past `deposit`
    string public flaw; // the first thing that was not as it must be
    uint256 private immutable _usual; // deposit

    constructor(uint8 parties, uint256 usual) {
        (PARTIES, _usual) = (parties, usual);
    }

    /// @notice Who holds the deposits.
    function holder() public view virtual returns (IDeposits);

    /// @dev A party's deposit was changed by itself.
    function _moved(uint256 index, int256 change) internal virtual {}

    function party(uint256 seed) public view returns (address) {
        return address(uint160(0x1000 + seed % PARTIES));
    }

    /// @dev The first accounts, for who is enrolled under the first numbers.
    function _nodes(uint8 count) internal view returns (uint8[] memory nodes, address[] memory accounts) {
        (nodes, accounts) = (new uint8[](count), new address[](count));
        for (uint8 i = 0; i < count; ++i) (nodes[i], accounts[i]) = (i, party(i));
    }

    /// @dev All parties have tokens, and the usual deposit.
    function _endow(IDeposits where) internal {
        for (uint256 i = 0; i < PARTIES; ++i) {
            token.mint(party(i), 1e12);
            VM.prank(party(i));
            token.approve(address(where), type(uint256).max);
            VM.prank(party(i));
            where.deposit(_usual);
        }
    }

    function deposit(uint256 who, uint256 amount) public virtual {
        amount %= _usual;
        VM.prank(party(who));
        holder().deposit(amount);
        _moved(who % PARTIES, int256(amount));
    }

    /// @notice Some of what is free, or all.
    function withdraw(uint256 who, uint256 amount) public virtual {
        amount = amount % 4 == 0 ? holder().free(party(who)) : amount % _usual;
        VM.prank(party(who));
        holder().withdraw(amount);
        _moved(who % PARTIES, -int256(amount));
    }

    /// @notice To nobody's deposit.
    function gift(uint256 amount) external {
        amount %= 1e3;
        token.mint(address(holder()), amount);
        gifts += amount;
    }

    function _require(bool holds, string memory what) internal {
        if (!holds && bytes(flaw).length == 0) flaw = what;
    }
}

/// @title What must hold of parties whatever their contract is for
abstract contract PartiesTest {
    Parties private _parties;

    function _play(Parties parties) internal {
        _parties = parties;
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_parties);
    }

    function _nothingIsWrong() internal view {
        require(bytes(_parties.flaw()).length == 0, _parties.flaw());
    }

    function _depositsAreTheBalance() internal view {
        IDeposits holder = _parties.holder();
        uint256 held = 0;
        for (uint256 who = 0; who < _parties.PARTIES(); ++who) {
            held += holder.free(_parties.party(who)) + holder.locked(_parties.party(who));
        }
        require(held == holder.totalDeposits(), "total");
        require(held + _parties.gifts() == _parties.token().balanceOf(address(holder)), "balance");
    }
}
