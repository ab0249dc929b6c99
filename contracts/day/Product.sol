// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDayProducts} from "../interfaces/IDayProducts.sol";
import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {Money} from "../libraries/Money.sol";

/// @title What all products have in common
/// @notice See IDayProducts. The ledger is known: it made this contract, and calls nobody but its token.
abstract contract Product is IDayProducts {
    /// @inheritdoc IDayProducts
    IDaySettlement public immutable ledger;
    /// @inheritdoc IDayProducts
    uint256 public lastId;
    uint8 internal constant SUPPLIER = 255;
    int256 private immutable _currency; // token units in a unit of currency

    constructor(IDaySettlement ledger_, int256 currency) {
        ledger = ledger_;
        _currency = currency;
    }

    /// @dev Requires that a step's gate is open. Returns when it closes.
    function _requireOpen(uint32 day, uint8 step) internal view returns (uint256 gate) {
        gate = ledger.gateOf(day, step);
        if (block.timestamp >= gate) revert IDaySettlement.GateClosed(day, step, gate);
    }

    /// @dev Requires that something of a step can be offered. Returns when its gate closes.
    function _requireOffer(uint32 day, uint8 step, uint32 energy) internal view returns (uint256 gate) {
        gate = _requireOpen(day, step);
        if (energy == 0) revert NoEnergy();
    }

    /// @dev Requires the same until a time, which is to come.
    function _requireOfferUntil(uint32 day, uint8 step, uint32 energy, uint40 until) internal view {
        uint256 gate = _requireOffer(day, step, energy);
        if (until > gate) revert UntilAfterGate(gate, until);
        if (block.timestamp >= until) revert UntilOver(until);
    }

    /// @dev Requires that the caller is who may end something before a time, or that the time has come.
    function _requireEnd(uint256 id, address account, uint256 until) internal view {
        if (msg.sender != account && block.timestamp < until) revert NotYours(id, msg.sender);
    }

    /// @dev What a buyer pays a seller for energy, token units, rounded against who takes.
    function _payment(uint256 energy, int256 price, bool buyerTakes) internal view returns (int256) {
        return Money.paymentOf(int256(energy) * price, _currency, buyerTakes);
    }

    /// @dev What a party has to have locked for energy that it offers to sell or to buy. The supplier covers nothing: it
    ///      would owe it to itself.
    function _coverOf(uint32 day, uint8 step, uint8 party, bool sells, uint256 energy) internal view returns (uint256) {
        return party == SUPPLIER ? 0 : ledger.coverOf(day, party, step, sells ? int256(energy) : -int256(energy));
    }

    /// @dev Pays from a buyer's free deposit to a seller's, or the other way where a payment is below zero.
    function _pay(address seller, address buyer, int256 payment) internal {
        if (payment < 0) ledger.pay(seller, buyer, uint256(-payment));
        else ledger.pay(buyer, seller, uint256(payment));
    }
}
