// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title What energy costs in whole units of a token
/// @notice Energy times price, Wh times 1e-6 currency/kWh, is a billionth of a currency's unit, and seldom a whole unit of
///         its token. The rule, everywhere: it is rounded against who takes. Who takes an offer, meets an order, exercises
///         an option or draws from its supplier pays a begun unit as a whole, and is paid whole units only. So whoever
///         takes in many small parts never takes for less than it is worth.
///
/// @dev Energies are below 2^64, prices below 2^33, a unit of currency is at most 10^18 token units: products are below
///      2^160.
library Money {
    int256 private constant UNIT = 1e9; // Wh and 1e-6 currency/kWh, in a unit of currency

    /// @notice What somebody who takes has to pay, rounded up; below zero, what it is paid.
    /// @param worth    Wh * 1e-6 currency/kWh
    /// @param currency token units in a unit of currency
    function dueOf(int256 worth, int256 currency) internal pure returns (int256 amount) {
        unchecked {
            int256 exact = worth * currency;
            amount = exact / UNIT;
            if (exact % UNIT > 0) ++amount;
        }
    }

    /// @notice What a buyer pays a seller, one of whom takes.
    function paymentOf(int256 worth, int256 currency, bool buyerTakes) internal pure returns (int256) {
        return buyerTakes ? dueOf(worth, currency) : -dueOf(-worth, currency);
    }
}
