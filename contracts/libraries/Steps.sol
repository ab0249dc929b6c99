// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {Apportion} from "./Apportion.sol";
import {Money} from "./Money.sol";

/// @title Pool, supply and imbalance of one step among the customers of one supplier: mathematics only
/// @notice See IDaySettlement for the rules.
///
/// @dev Nothing overflows: energies are below 2^64, prices below 2^31, a peak fee below 2^48 and what it is on below 2^31,
///      a unit of currency is at most 10^18 token units, so products are below 2^157 and sums of at most 127 of them below
///      2^164; balances are below 2^127.
library Steps {
    /// @notice A step; arrays by customer, ascending.
    struct Step {
        int256[] nets; //       g_i, Wh
        int256[] positions; //  sold, Wh
        int256[] deviations; // g_i - n_i, Wh
        uint256[] peaks; //     drawn beyond the most of the period until then, Wh
        uint256[] balances; //  with what covers their positions of the step, token units
        uint256[] shares; //    with the key Shares
        IDaySettlement.Key key;
        IDaySettlement.Pricing pricing;
        int256 importPrice;
        int256 feedInPrice;
        int256 tradeFee; //     on what comes from neighbours
        int256 peakFee; //      on peaks
        uint256 adder;
        uint256 mostAdder;
        uint256 supplierBalance;
        int256 currency; //     token units in a unit of currency
    }

    /// @notice What it comes to.
    struct Cleared {
        int256[] payments; //  received by each customer, and by the supplier, token units; they sum to zero
        int256[] uncovered; // what each could not pay, or (negative) was not paid, beyond balances
        uint256 poolEnergy; // Wh
        int256 poolPrice;
        int256 deviation; //   of all, Wh
    }

    /// @dev What is worked with while it is worked out.
    struct Work {
        int256[] rests; //    of g_i, after the pool
        uint256[] taken; //   from the pool
        int256[] balances; // of customers
    }

    int256 private constant UNIT = 1e9; // Wh and 1e-6 currency/kWh, in a unit of currency

    /// @notice Clears a step. All arrays have one length, but for shares, which may be none.
    function cleared(Step memory step) internal pure returns (Cleared memory result) {
        unchecked {
            uint256 count = step.nets.length;
            result.payments = new int256[](count + 1);
            result.uncovered = new int256[](count);
            Work memory work = Work(new int256[](count), new uint256[](count), new int256[](count));
            for (uint256 k = 0; k < count; ++k) {
                (work.rests[k], work.balances[k]) = (step.nets[k], int256(step.balances[k]));
            }
            _pool(step, work, result);
            _supply(step, work, result);
            for (uint256 k = 0; k < count; ++k) result.payments[k] = work.balances[k] - int256(step.balances[k]);
        }
    }

    // ------------------------------------------------------------------ pool

    /// @dev What customers have over goes to those who lack, who pay the fee on it besides.
    function _pool(Step memory step, Work memory work, Cleared memory result) private pure {
        if (step.feedInPrice >= step.importPrice - step.tradeFee) return;
        (uint256[] memory lacking, uint256[] memory over, uint256 lacks, uint256 has) = _sides(step);
        if (lacks == 0 || has == 0) return;
        uint256[] memory taken = Apportion.filled(lacks < has ? lacks : has, _weights(step, lacking), lacking);
        uint256 energy = 0;
        for (uint256 k = 0; k < taken.length; ++k) energy += taken[k];
        if (energy == 0) return;
        int256 price = _price(step, lacks, has);
        (result.poolEnergy, result.poolPrice) = (energy, price);
        work.taken = taken;
        _pass(work, Apportion.apportioned(energy, over), price * step.currency);
    }

    /// @dev What is lacking and over, of those who can pay for it at any price that the pool can have.
    function _sides(Step memory step)
        private
        pure
        returns (uint256[] memory lacking, uint256[] memory over, uint256 lacks, uint256 has)
    {
        unchecked {
            uint256 count = step.nets.length;
            (lacking, over) = (new uint256[](count), new uint256[](count));
            // Above zero, since the import price is above the feed-in price.
            int256 dearest = step.importPrice > -step.feedInPrice ? step.importPrice : -step.feedInPrice;
            for (uint256 k = 0; k < count; ++k) {
                int256 net = step.nets[k];
                uint256 energy = uint256(net < 0 ? -net : net);
                // One more for rounding.
                if (uint256(int256(energy) * dearest * step.currency / UNIT) + 1 > step.balances[k]) continue;
                if (net > 0) (lacking[k], lacks) = (energy, lacks + energy);
                else (over[k], has) = (energy, has + energy);
            }
        }
    }

    function _weights(Step memory step, uint256[] memory lacking) private pure returns (uint256[] memory weights) {
        if (step.key == IDaySettlement.Key.Proportional) return lacking;
        if (step.key == IDaySettlement.Key.Shares) return step.shares;
        weights = new uint256[](lacking.length);
        for (uint256 k = 0; k < weights.length; ++k) weights[k] = 1;
    }

    function _price(Step memory step, uint256 lacks, uint256 has) private pure returns (int256) {
        unchecked {
            int256 most = step.importPrice - step.tradeFee;
            int256 margin = most - step.feedInPrice;
            if (step.pricing == IDaySettlement.Pricing.MidMarket) return step.feedInPrice + margin / 2;
            return most - margin * int256(has < lacks ? has : lacks) / int256(lacks);
        }
    }

    /// @dev Passes energy from those who have it over, and what it costs the other way.
    function _pass(Work memory work, uint256[] memory given, int256 price) private pure {
        unchecked {
            uint256[] memory taken = work.taken;
            int256[] memory bills = Apportion.priced(taken, price, UNIT);
            int256[] memory incomes = Apportion.priced(given, price, UNIT);
            for (uint256 k = 0; k < taken.length; ++k) {
                work.rests[k] -= int256(taken[k]) - int256(given[k]);
                work.balances[k] += incomes[k] - bills[k];
            }
        }
    }

    // ------------------------------------------------------------------ supply and imbalance

    /// @dev The supplier buys and sells the rest, and gets the adders: first it receives, then it pays.
    function _supply(Step memory step, Work memory work, Cleared memory result) private pure {
        unchecked {
            uint256[] memory adders;
            (result.deviation, adders) = _adders(step);
            uint256[] memory claims = new uint256[](adders.length);
            (uint256 claimed, uint256 has) = (0, step.supplierBalance);
            for (uint256 k = 0; k < adders.length; ++k) {
                int256 due = _due(step, k, work) + int256(adders[k]);
                if (due <= 0) {
                    (claims[k], claimed) = (uint256(-due), claimed + uint256(-due));
                    continue;
                }
                int256 paid = due < work.balances[k] ? due : work.balances[k];
                result.uncovered[k] = due - paid;
                work.balances[k] -= paid;
                has += uint256(paid);
            }
            uint256[] memory kept = claimed > has ? Apportion.apportioned(has, claims) : claims;
            for (uint256 k = 0; k < kept.length; ++k) {
                if (kept[k] < claims[k]) result.uncovered[k] = -int256(claims[k] - kept[k]);
                work.balances[k] += int256(kept[k]);
                has -= kept[k];
            }
            result.payments[kept.length] = int256(has) - int256(step.supplierBalance);
        }
    }

    /// @dev What a customer owes the supplier, token units, fees among it. Where feeding in earns more than drawing costs,
    ///      what was sold counts at the dearer price and what was bought at the cheaper one, apart from what was read: else
    ///      two who sell each other what neither has would be paid the difference.
    function _due(Step memory step, uint256 k, Work memory work) private pure returns (int256) {
        (int256 import_, int256 feedIn, int256 rest, int256 sold) =
            (step.importPrice, step.feedInPrice, work.rests[k], step.positions[k]);
        int256 worth =
            feedIn > import_ ? _worth(rest - sold, import_, feedIn) + _worth(sold, feedIn, import_) : _worth(rest, import_, feedIn);
        int256 stays = int256(work.taken[k]) + (sold < 0 ? -sold : int256(0));
        return Money.dueOf(worth + step.tradeFee * stays + step.peakFee * int256(step.peaks[k]), step.currency);
    }

    /// @dev Energy at the price of what is lacking, or of what is over where it is below zero.
    function _worth(int256 energy, int256 lacking, int256 over) private pure returns (int256) {
        unchecked {
            return energy * (energy > 0 ? lacking : over);
        }
    }

    /// @return net    deviation of all together, Wh
    /// @return adders that each bears, token units
    function _adders(Step memory step) private pure returns (int256 net, uint256[] memory adders) {
        unchecked {
            uint256 count = step.deviations.length;
            for (uint256 k = 0; k < count; ++k) net += step.deviations[k];
            uint256[] memory caused = new uint256[](count);
            for (uint256 k = 0; k < count; ++k) {
                int256 own = net > 0 ? step.deviations[k] : -step.deviations[k];
                if (own > 0) caused[k] = uint256(own);
            }
            uint256 due = uint256(net < 0 ? -net : net) * step.adder * uint256(step.currency) / uint256(UNIT);
            adders = Apportion.apportioned(due, caused);
            for (uint256 k = 0; k < count; ++k) {
                if (adders[k] > step.mostAdder) adders[k] = step.mostAdder;
            }
        }
    }
}
