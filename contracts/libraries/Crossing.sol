// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IAtOnePrice} from "../interfaces/IAtOnePrice.sol";
import {IRounds} from "../interfaces/IRounds.sol";
import {Trades} from "./Trades.sol";

/// @title Whether a clearing is where the curves cross
/// @notice Mathematics only; the rule is in IAtOnePrice.
///
/// @dev Nothing overflows: at most 4800 energies of 32 bits, times prices of 32 bits.
library Crossing {
    /// @dev Those of one side at a step that are next to be filled, at one price.
    struct Margin {
        int256 price; //    a+ or b+
        uint256 energy; //  of them all, Wh
        uint256 filled;
        uint256 kept; //    the largest remainder that was rounded down, and one
        uint256 raised; //  the least that was rounded up
    }

    /// @notice What a step comes to.
    struct Step {
        int256 sold; //     less what is bought, Wh
        int256 dearest; //  a
        int256 cheapest; // b
        int256 price;
        Margin offers;
        Margin asks;
    }

    /// @dev One entry of bids with its fill.
    struct Entry {
        uint256 step;
        int256 energy;
        int256 price;
        uint256 fill;
    }

    uint256 private constant ENTRY = 9; // bytes of an entry
    uint256 private constant FILL = 4;
    int256 private constant NONE = type(int256).max; // of prices; its negative where the highest is sought

    /// @notice What bids come to where all are filled at their limits and nobody pays for them, 1e-9 currency.
    ///         Reverts where they are no bids.
    function cost(bytes calldata bids, uint256 steps, int256 lowest, int256 highest)
        internal
        pure
        returns (uint256 sum)
    {
        uint256 entries = Trades.count(bids);
        if (bids.length != ENTRY * entries) revert IAtOnePrice.InvalidBids(entries);
        uint256 next = 0; // the lowest step that may follow
        unchecked {
            for (uint256 k = 0; k < entries; ++k) {
                (uint256 step, int256 energy, int256 price) = Trades.at(bids, k);
                if (step < next || step >= steps || energy == 0 || price < lowest || price > highest) {
                    revert IAtOnePrice.InvalidBids(k);
                }
                next = step + 1;
                int256 value = energy * price;
                if (value < 0) sum += uint256(-value);
            }
        }
    }

    /// @notice Requires that a clearing is the one of the rule.
    /// @param nodes that bid, ascending
    function checked(uint8[] memory nodes, bytes[] calldata bids, bytes[] calldata fills, uint256 count)
        internal
        pure
        returns (Step[] memory steps)
    {
        if (fills.length != bids.length) revert IRounds.LengthMismatch(bids.length, fills.length);
        steps = new Step[](count);
        for (uint256 s = 0; s < count; ++s) {
            (steps[s].dearest, steps[s].cheapest) = (-NONE, NONE);
            (steps[s].offers.price, steps[s].asks.price) = (NONE, -NONE);
            (steps[s].offers.raised, steps[s].asks.raised) = (type(uint256).max, type(uint256).max);
        }
        for (uint256 i = 0; i < bids.length; ++i) _take(steps, nodes[i], bids[i], fills[i]);
        for (uint256 s = 0; s < count; ++s) _price(steps[s], s);
        for (uint256 i = 0; i < bids.length; ++i) _addMargins(steps, bids[i], fills[i]);
        for (uint256 i = 0; i < bids.length; ++i) _requireShares(steps, nodes[i], bids[i], fills[i]);
    }

    /// @dev Takes in who is filled and who is not.
    function _take(Step[] memory steps, uint8 node, bytes calldata bids, bytes calldata fills) private pure {
        uint256 entries = Trades.count(bids);
        if (fills.length != FILL * entries) revert IRounds.LengthMismatch(FILL * entries, fills.length);
        Entry memory entry;
        unchecked {
            for (uint256 k = 0; k < entries; ++k) {
                _read(entry, bids, fills, k);
                Step memory step = steps[entry.step];
                (int256 price, uint256 fill) = (entry.price, entry.fill);
                uint256 energy = SignedMath.abs(entry.energy);
                if (fill > energy) revert IAtOnePrice.FillTooLarge(node, entry.step);
                if (entry.energy > 0) {
                    step.sold += int256(fill);
                    if (fill != 0 && price > step.dearest) step.dearest = price;
                    if (fill != energy && price < step.offers.price) step.offers.price = price;
                } else {
                    step.sold -= int256(fill);
                    if (fill != 0 && price < step.cheapest) step.cheapest = price;
                    if (fill != energy && price > step.asks.price) step.asks.price = price;
                }
            }
        }
    }

    /// @dev Requires that as much is sold as bought, that no more could be, and that better ones come before worse.
    function _price(Step memory step, uint256 number) private pure {
        if (step.sold != 0) revert IAtOnePrice.NotBalanced(number, step.sold);
        if (step.offers.price <= step.asks.price) revert IAtOnePrice.NotBest(number);
        if (step.dearest == -NONE) return; // nothing is traded
        int256 low = SignedMath.max(step.dearest, step.asks.price);
        int256 high = SignedMath.min(step.cheapest, step.offers.price);
        if (low > high) revert IAtOnePrice.NotBest(number);
        step.price = (low + high) >> 1;
    }

    /// @dev Adds up those at the margins.
    function _addMargins(Step[] memory steps, bytes calldata bids, bytes calldata fills) private pure {
        uint256 entries = Trades.count(bids);
        Entry memory entry;
        unchecked {
            for (uint256 k = 0; k < entries; ++k) {
                _read(entry, bids, fills, k);
                Margin memory margin = entry.energy > 0 ? steps[entry.step].offers : steps[entry.step].asks;
                if (entry.price != margin.price) continue;
                margin.energy += SignedMath.abs(entry.energy);
                margin.filled += entry.fill;
            }
        }
    }

    /// @dev Requires that those at the margins share what is left for them in proportion.
    function _requireShares(Step[] memory steps, uint8 node, bytes calldata bids, bytes calldata fills) private pure {
        uint256 entries = Trades.count(bids);
        Entry memory entry;
        unchecked {
            for (uint256 k = 0; k < entries; ++k) {
                _read(entry, bids, fills, k);
                Margin memory margin = entry.energy > 0 ? steps[entry.step].offers : steps[entry.step].asks;
                if (entry.price != margin.price) continue;
                if (!_isShare(margin, SignedMath.abs(entry.energy), entry.fill)) {
                    revert IAtOnePrice.NotInProportion(node, entry.step);
                }
            }
        }
    }

    /// @dev Whether a fill is in proportion, rounded down, or up where no remainder before is larger or after it; nodes
    ///      come ascending, so an equal one before goes first. As many are rounded up as the fills add up to.
    function _isShare(Margin memory margin, uint256 energy, uint256 fill) private pure returns (bool) {
        unchecked {
            uint256 product = margin.filled * energy;
            uint256 least = product / margin.energy;
            uint256 remainder = product % margin.energy;
            if (fill == least) {
                if (remainder > margin.raised) return false;
                if (remainder >= margin.kept) margin.kept = remainder + 1;
                return true;
            }
            if (fill != least + 1 || remainder < margin.kept) return false;
            if (remainder < margin.raised) margin.raised = remainder;
            return true;
        }
    }

    function _read(Entry memory entry, bytes calldata bids, bytes calldata fills, uint256 k) private pure {
        (entry.step, entry.energy, entry.price) = Trades.at(bids, k);
        uint256 fill;
        assembly ("memory-safe") {
            fill := shr(224, calldataload(add(fills.offset, mul(FILL, k))))
        }
        entry.fill = fill;
    }

    // ------------------------------------------------------------------ what it comes to

    /// @notice What a node has traded, as entries of a statement, and what that is worth to it, 1e-9 currency.
    function traded(Step[] memory steps, bytes calldata bids, bytes calldata fills)
        internal
        pure
        returns (bytes memory trades, int256 value)
    {
        uint256 entries = Trades.count(bids);
        trades = new bytes(ENTRY * entries + 32); // what is written last may go beyond its entry
        Entry memory entry;
        uint256 length = 0;
        unchecked {
            for (uint256 k = 0; k < entries; ++k) {
                _read(entry, bids, fills, k);
                if (entry.fill == 0) continue;
                int256 price = steps[entry.step].price;
                int256 energy = entry.energy > 0 ? int256(entry.fill) : -int256(entry.fill);
                value += energy * price;
                uint256 word = entry.step << 248 | uint256(uint32(uint256(energy))) << 216
                    | uint256(uint32(uint256(price))) << 184;
                assembly ("memory-safe") {
                    mstore(add(add(trades, 32), length), word)
                }
                length += ENTRY;
            }
        }
        assembly ("memory-safe") {
            mstore(trades, length)
        }
    }

    /// @notice Prices of all steps, int32 each.
    function prices(Step[] memory steps) internal pure returns (bytes memory all) {
        all = new bytes(FILL * steps.length + 32);
        unchecked {
            for (uint256 s = 0; s < steps.length; ++s) {
                uint256 word = uint256(uint32(uint256(steps[s].price))) << 224;
                assembly ("memory-safe") {
                    mstore(add(add(all, 32), mul(FILL, s)), word)
                }
            }
        }
        uint256 length = FILL * steps.length;
        assembly ("memory-safe") {
            mstore(all, length)
        }
    }
}
