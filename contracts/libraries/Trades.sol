// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {Tariffs} from "./Tariffs.sol";

/// @title Statements about the trades of a pair
/// @notice Reads and checks the byte strings that ITradeSettlement describes: 9 bytes an entry.
library Trades {
    uint256 private constant ENTRY = 9; // bytes
    int256 private constant WATT_HOUR = 3_600_000; // mW s

    /// @notice Number of whole entries.
    function count(bytes calldata trades) internal pure returns (uint256) {
        return trades.length / ENTRY;
    }

    /// @notice One entry; the caller sees to it that there is one.
    /// @return step   time step
    /// @return energy Wh, positive where the lower node sells
    /// @return price  1e-6 currency/kWh
    function at(bytes calldata trades, uint256 index) internal pure returns (uint256 step, int256 energy, int256 price) {
        assembly ("memory-safe") {
            let entry := calldataload(add(trades.offset, mul(ENTRY, index)))
            step := byte(0, entry)
            energy := signextend(3, shr(216, entry)) // bytes 1-4
            price := signextend(3, shr(184, entry)) //  bytes 5-8
        }
    }

    /// @notice sum(energy * price), 1e-9 currency. Reverts where the bytes are no statement.
    /// @param horizon number of time steps
    /// @param partner for the error
    function total(bytes calldata trades, uint256 horizon, uint8 partner) internal pure returns (int256 sum) {
        uint256 entries = count(trades);
        if (trades.length != entries * ENTRY) revert ITradeSettlement.InvalidTrades(partner, entries);
        uint256 read; // bytes, up to the first entry that cannot stand there
        // As `at` reads, for all entries at once. No overflow: at most 192 products of two 32-bit numbers.
        assembly ("memory-safe") {
            let next := 0 // the lowest step that may follow
            for {} lt(read, trades.length) { read := add(read, ENTRY) } {
                let entry := calldataload(add(trades.offset, read))
                let step := byte(0, entry)
                if or(lt(step, next), iszero(lt(step, horizon))) { break }
                next := add(step, 1)
                sum := add(sum, mul(signextend(3, shr(216, entry)), signextend(3, shr(184, entry))))
            }
        }
        if (read != trades.length) revert ITradeSettlement.InvalidTrades(partner, read / ENTRY);
    }

    /// @notice Adds what a node sells by a statement to its energies by step. The statement was checked before.
    /// @param partner of the node in it; the two are not the same
    function addTo(int256[] memory energies, bytes calldata trades, uint8 node, uint8 partner) internal pure {
        uint256 entries = count(trades);
        int256 sign = node < partner ? int256(1) : -1;
        // No overflow: at most 127 statements of 32-bit numbers.
        unchecked {
            for (uint256 i = 0; i < entries; ++i) {
                (uint256 step, int256 energy,) = at(trades, i);
                energies[step] += sign * energy;
            }
        }
    }

    /// @notice Requires that every price of a statement, which was checked before, lies within both of two tariffs: neither
    ///         below the lower price of one in its step nor above the higher one; or where no price does, since one pays
    ///         more than the other asks, between these two.
    /// @param partner for the error
    function requireBetween(bytes calldata trades, bytes calldata tariff, bytes calldata other, uint8 partner)
        internal
        pure
    {
        uint256 entries = count(trades);
        for (uint256 i = 0; i < entries; ++i) {
            (uint256 step,, int256 price) = at(trades, i);
            if (_isWithin(price, tariff, step) && _isWithin(price, other, step)) continue;
            if (!_isBetween(price, tariff, other, step)) revert ITradeSettlement.OutsideTariff(partner, step, price);
        }
    }

    function _isWithin(int256 price, bytes calldata tariff, uint256 step) private pure returns (bool) {
        (int256 import_, int256 feedIn) = Tariffs.pricesAt(tariff, step);
        return price >= SignedMath.min(import_, feedIn) && price <= SignedMath.max(import_, feedIn);
    }

    /// @dev Whether a price lies between two tariffs that have none in common: all of one is above all of the other.
    function _isBetween(int256 price, bytes calldata tariff, bytes calldata other, uint256 step)
        private
        pure
        returns (bool)
    {
        (int256 one, int256 two) = Tariffs.pricesAt(tariff, step);
        (int256 three, int256 four) = Tariffs.pricesAt(other, step);
        int256 high = SignedMath.max(SignedMath.min(one, two), SignedMath.min(three, four));
        int256 low = SignedMath.min(SignedMath.max(one, two), SignedMath.max(three, four));
        return price >= low && price <= high;
    }

    /// @notice Requires that a statement has the agreed energies, rounded to the nearest Wh: an entry wherever they are
    ///         not zero, and no other.
    /// @param steps   the steps of the pair's bids, uint8 each
    /// @param twice   d_ij - d_ji at these steps, resolution units
    /// @param unit    energy of a resolution unit in one step, mW s
    /// @param partner for the error
    function requireFit(bytes calldata trades, bytes calldata steps, int256[] memory twice, int256 unit, uint8 partner)
        internal
        pure
    {
        uint256 entries = count(trades);
        uint256 next = 0; // the entry that must be about the next energy
        // No overflow: 17 bits times 64.
        unchecked {
            for (uint256 i = 0; i < twice.length; ++i) {
                int256 both = twice[i] * unit;
                int256 agreed = (both < 0 ? both - WATT_HOUR : both + WATT_HOUR) / (2 * WATT_HOUR);
                if (agreed == 0) continue;
                uint256 step = uint8(steps[i]);
                if (next == entries) revert ITradeSettlement.DoesNotFitBids(partner, step);
                (uint256 said, int256 energy,) = at(trades, next);
                if (said != step || energy != agreed) revert ITradeSettlement.DoesNotFitBids(partner, step);
                ++next;
            }
        }
        if (next < entries) {
            (uint256 step,,) = at(trades, next);
            revert ITradeSettlement.DoesNotFitBids(partner, step);
        }
    }

    /// @notice Whether the entries of trades are these energies, all that are not zero, at price 0.
    /// @param energies Wh by step, energy sold positive
    function are(bytes calldata trades, int256[] memory energies) internal pure returns (bool) {
        uint256 entries = count(trades);
        uint256 next = 0; // the entry that must be about the next energy
        for (uint256 step = 0; step < energies.length; ++step) {
            if (energies[step] == 0) continue;
            if (next == entries) return false;
            (uint256 said, int256 energy, int256 price) = at(trades, next);
            if (said != step || energy != energies[step] || price != 0) return false;
            ++next;
        }
        return trades.length == next * ENTRY;
    }
}
