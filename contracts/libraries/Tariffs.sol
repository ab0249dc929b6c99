// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";

/// @title Suppliers' tariffs, and what meter readings are worth by them
/// @notice Reads the byte strings that ITradeSettlement describes: 8 bytes a step, and fees behind them. Readings and
///         trades are in Wh, energy fed in and sold positive; prices in 1e-6 currency/kWh, sums in 1e-9 currency.
///
/// @dev The caller sees to it that a tariff is one that was published, and that readings have 4 bytes a step. A deviation
///      is below 2^39, a sum with a price or fee below 2^81: nothing overflows.
library Tariffs {
    uint256 private constant PRICES = 8; // bytes a step
    uint256 private constant TRADED_FEE = 4; // bytes a step
    uint256 private constant PEAK_FEE = 6; // bytes

    /// @notice Requires a tariff of so many steps, without fees or with; of fees that none pays for trades that go to and
    ///         fro.
    function requireValid(bytes calldata tariff, uint256 steps) internal pure {
        uint256 prices = PRICES * steps;
        if (tariff.length == prices) return;
        if (tariff.length != prices + TRADED_FEE * steps + PEAK_FEE) {
            revert ITradeSettlement.LengthMismatch(prices, tariff.length);
        }
        for (uint256 step = 0; step < steps; ++step) {
            int256 fee = _fourBytes(tariff, prices + TRADED_FEE * step);
            if (fee < 0) revert ITradeSettlement.FeeBelowZero(step, fee);
        }
    }

    /// @notice What the supplier pays for a reading beyond the trades, less fees. Where feeding in earns more than drawing
    ///         costs, readings and trades are apart: else two who sell each other what neither has would be paid the
    ///         difference.
    /// @param traded one a step
    function worthBeyond(bytes calldata tariff, bytes calldata energies, int256[] memory traded)
        internal
        pure
        returns (int256 sum)
    {
        uint256 steps = traded.length;
        unchecked {
            for (uint256 step = 0; step < steps; ++step) {
                (int256 import_, int256 feedIn) = pricesAt(tariff, step);
                (int256 read, int256 sold) = (_fourBytes(energies, 4 * step), traded[step]);
                sum += feedIn > import_
                    ? _worth(read, import_, feedIn) - _worth(sold, import_, feedIn)
                    : _worth(read - sold, import_, feedIn);
            }
        }
        if (tariff.length > PRICES * steps) sum -= _fees(tariff, energies, traded);
    }

    /// @notice What trades come to that a meter does not bear out: energy that was sold and not fed in, at the dearer price
    ///         of its step; and energy that was bought and not drawn, where the cheaper one is below zero, at that. The
    ///         others of those trades are paid no more for them by their supplier, and save no more.
    function worthOfMissing(bytes calldata tariff, bytes calldata energies, int256[] memory traded)
        internal
        pure
        returns (int256 sum)
    {
        unchecked {
            for (uint256 step = 0; step < traded.length; ++step) {
                (int256 import_, int256 feedIn) = pricesAt(tariff, step);
                (int256 read, int256 sold) = (_fourBytes(energies, 4 * step), traded[step]);
                bool sells = sold > 0;
                int256 price = sells ? SignedMath.max(import_, feedIn) : -SignedMath.min(import_, feedIn);
                int256 missing = sells ? sold - SignedMath.max(read, 0) : SignedMath.min(read, 0) - sold;
                if (missing > 0 && price > 0) sum += missing * price;
            }
        }
    }

    /// @notice Import and feed-in price of a step.
    function pricesAt(bytes calldata tariff, uint256 step) internal pure returns (int256 import_, int256 feedIn) {
        assembly ("memory-safe") {
            let both := shr(192, calldataload(add(tariff.offset, mul(PRICES, step))))
            import_ := signextend(3, shr(32, both))
            feedIn := signextend(3, both)
        }
    }

    /// @dev Fees on what was bought from neighbours in each step, and on the most that was drawn in one.
    function _fees(bytes calldata tariff, bytes calldata energies, int256[] memory traded)
        private
        pure
        returns (int256 sum)
    {
        uint256 steps = traded.length;
        uint256 first = PRICES * steps;
        int256 most = 0;
        unchecked {
            for (uint256 step = 0; step < steps; ++step) {
                if (traded[step] < 0) sum -= traded[step] * _fourBytes(tariff, first + TRADED_FEE * step);
                most = SignedMath.max(most, -_fourBytes(energies, 4 * step));
            }
            sum += most * int256(uint256(uint48(bytes6(tariff[first + TRADED_FEE * steps:]))));
        }
    }

    /// @dev Energy that is fed in, at its price; or below zero that is drawn, at the price of that.
    function _worth(int256 energy, int256 import_, int256 feedIn) private pure returns (int256) {
        unchecked {
            return energy * (energy > 0 ? feedIn : import_);
        }
    }

    /// @dev Big-endian, with their sign.
    function _fourBytes(bytes calldata data, uint256 at) private pure returns (int256 value) {
        assembly ("memory-safe") {
            value := signextend(3, shr(224, calldataload(add(data.offset, at))))
        }
    }
}
