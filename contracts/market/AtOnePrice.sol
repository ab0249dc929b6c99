// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAgreement} from "../interfaces/IAgreement.sol";
import {IAtOnePrice} from "../interfaces/IAtOnePrice.sol";
import {Crossing} from "../libraries/Crossing.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Round} from "../rounds/Round.sol";
import {Deposits} from "../settlement/Deposits.sol";
import {MarketRounds} from "./MarketRounds.sol";

/// @title How a market clears all steps at once
/// @notice See IAtOnePrice. What its bids are, and what is locked for them, is of the markets that are built on this: they
///         keep the hash of a node's bids in `_said`, where a clearing puts that of what it has traded.
abstract contract AtOnePrice is Deposits, MarketRounds, IAtOnePrice {
    using Round for Round.State;

    uint256 private constant MOST_ENTRIES = 4800; // of all nodes: a clearing of them fits a transaction (2^24 gas)
    int256 internal constant UNIT = 1e9; // Wh and 1e-6 currency/kWh, in a unit of currency

    constructor(uint16 nodes) {
        if (uint256(nodes) * steps > MOST_ENTRIES) revert TooLarge(nodes, steps);
    }

    function _endCleared(
        Round.State storage state,
        Progress memory progress_,
        bytes memory prices,
        bytes[] calldata fills,
        int256[] memory payments
    ) internal {
        // What it returns is stored.
        // slither-disable-next-line unused-return
        state.close(progress_, keccak256(prices));
        _goOn(progress_, true);
        state.save(progress_);
        emit Cleared(progress_.round, progress_.present, prices, fills, payments);
    }

    /// @dev Checks a clearing, and keeps what each has traded.
    /// @return prices of all steps
    /// @return values what the trades are worth to each, 1e-9 currency
    function _cross(uint32 round, uint8[] memory nodes, bytes[] calldata bids, bytes[] calldata fills)
        internal
        returns (bytes memory prices, int256[] memory values)
    {
        Crossing.Step[] memory crossed = Crossing.checked(nodes, bids, fills, steps);
        return (Crossing.prices(crossed), _keepAll(round, nodes, crossed, bids, fills));
    }

    /// @dev Requires that these are the bids of all who are there.
    /// @return nodes ascending
    function _requireBids(uint32 round, uint128 present, bytes[] calldata bids)
        internal
        view
        returns (uint8[] memory nodes)
    {
        nodes = new uint8[](Nodes.count(present));
        if (bids.length != nodes.length) revert LengthMismatch(nodes.length, bids.length);
        uint128 rest = present;
        for (uint256 i = 0; i < nodes.length; ++i) {
            uint8 node = Nodes.lowest(rest);
            rest = Nodes.withoutLowest(rest);
            if (keccak256(bids[i]) != _said[round][node]) revert WrongBids(round, node);
            nodes[i] = node;
        }
    }

    /// @dev Keeps what each has traded.
    /// @return values what that is worth to each, 1e-9 currency
    function _keepAll(
        uint32 round,
        uint8[] memory nodes,
        Crossing.Step[] memory crossed,
        bytes[] calldata bids,
        bytes[] calldata fills
    ) private returns (int256[] memory values) {
        bytes32[MAX_NODES] storage said = _said[round];
        values = new int256[](nodes.length);
        bytes memory trades;
        for (uint256 i = 0; i < nodes.length; ++i) {
            (trades, values[i]) = Crossing.traded(crossed, bids[i], fills[i]);
            said[nodes[i]] = keccak256(trades);
        }
    }

    /// @dev Differences of the running sum, rounded down: they add up to zero.
    function _paymentsOf(int256[] memory values) internal view returns (int256[] memory payments) {
        payments = new int256[](values.length);
        (int256 running, int256 before) = (0, 0);
        for (uint256 i = 0; i < values.length; ++i) {
            running += values[i];
            int256 end = _floor(running);
            (payments[i], before) = (end - before, end);
        }
    }

    /// @dev Token units, rounded down.
    function _floor(int256 value) private view returns (int256) {
        value *= _currency;
        return value < 0 ? -((-value + UNIT - 1) / UNIT) : value / UNIT;
    }

    // ------------------------------------------------------------------ what a settlement asks

    /// @inheritdoc IAgreement
    function requireTraded(uint32 round, uint8 node, bytes calldata trades) external view {
        Outcome memory ended = outcome(round);
        if (ended.phase == Phase.None) revert TradingGoesOn(round, progressOf(0).deadline);
        bool cleared = ended.phase == Phase.Converged && ended.present & Nodes.bit(node) != 0;
        if (cleared ? keccak256(trades) != _said[round][node] : trades.length != 0) revert WrongTrades(round, node);
    }
}
