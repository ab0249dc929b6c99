// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Money} from "contracts/libraries/Money.sol";

/// @title What energy costs, with tokens of any decimals
contract MoneyTest {
    int256 private constant UNIT = 1e9;

    /// @notice However energy is taken in parts, who takes pays what it is worth, and less than a unit a part beyond.
    function testFuzz_partsAreNotForLess(uint32[5] calldata parts, int32 price, uint8 decimals) public pure {
        // forge-lint: disable-next-line(unsafe-typecast)
        int256 currency = int256(10 ** (uint256(decimals) % 19));
        int256 paid = 0;
        int256 received = 0;
        int256 exact = 0;
        for (uint256 k = 0; k < parts.length; ++k) {
            int256 worth = int256(uint256(parts[k])) * price;
            paid += Money.paymentOf(worth, currency, true);
            received += Money.paymentOf(worth, currency, false);
            exact += worth * currency;
        }
        require(paid * UNIT >= exact && paid * UNIT < exact + 5 * UNIT, "who buys");
        require(received * UNIT <= exact && received * UNIT > exact - 5 * UNIT, "who sells");
    }
}
