// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDayProducts} from "../interfaces/IDayProducts.sol";
import {IDaySettlement} from "../interfaces/IDaySettlement.sol";

/// @title What all products have in common
/// @notice See IDayProducts. The ledger is known: it made this contract, and calls nobody but its token.
abstract contract Product is IDayProducts {
    /// @inheritdoc IDayProducts
    IDaySettlement public immutable ledger;
    /// @inheritdoc IDayProducts
    uint256 public lastId;
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

    /// @dev Requires that something of a step can be offered until a time.
    function _requireOffer(uint32 day, uint8 step, uint32 energy, uint40 until) internal view {
        uint256 gate = _requireOpen(day, step);
        if (energy == 0) revert NoEnergy();
        if (until > gate) revert UntilAfterGate(gate, until);
    }

    /// @dev Requires that the caller is who may end something before a time, or that the time has come.
    function _requireEnd(uint256 id, address account, uint256 until) internal view {
        if (msg.sender != account && block.timestamp < until) revert NotYours(id, msg.sender);
    }

    /// @dev What energy costs, token units, truncated towards zero. Below 2^32 * 2^33 * 10^18.
    function _value(uint256 energy, int256 price) internal view returns (int256) {
        return int256(energy) * price * _currency / 1e9;
    }
}
