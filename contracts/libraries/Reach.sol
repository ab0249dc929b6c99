// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title How far a copy or a bid may be from what was agreed in the iteration before
/// @notice The *age* of an iteration is the number of iterations since a node was missing or excluded last. A copy stays
///         within COPIES / age units of the average of its block's copies, rounded down; a bid d_ij within BIDS / age
///         units of what lies between zero and (d_ij - d_ji) / 2 of the iteration before, truncated towards zero; where the power resolution is
///         finer than 0.5 W, as many more units. From a quarter of mu on the reach is halved every few iterations, down
///         to zero: all copies of a block are equal then, and a bid is (d_ij - d_ji) / 2 and no less, so that all bids of
///         a pair cancel.
library Reach {
    uint256 internal constant COPIES = 1 << 18; // reach times age, resolution units
    uint256 internal constant BIDS = 1 << 14;

    uint256 private constant FIRST_AGE = 2; // before, anything that fits
    uint256 private constant USUAL = 500; // mW
    uint256 private constant PART = 4; // of mu
    uint256 private constant LEAST_FULL = 90; // age
    uint256 private constant HALVED_EVERY = 3;

    /// @param milliwatt the power resolution
    function farthest(uint256 timesAge, uint256 age, uint256 milliwatt, uint256 mu) internal pure returns (int256) {
        if (age < FIRST_AGE) return type(int256).max;
        uint256 full = Math.max(mu / PART, LEAST_FULL);
        uint256 late = Math.saturatingSub(age, full) / HALVED_EVERY;
        return int256((timesAge * Math.max(USUAL / milliwatt, 1) / age) >> late);
    }

    /// @notice How far a bid is from what lies between zero and what was agreed; where the reach is zero, from that.
    function beyond(int256 bid, int256 agreed, int256 reach) internal pure returns (int256) {
        (int256 low, int256 high) = agreed < 0 ? (agreed, int256(0)) : (int256(0), agreed);
        if (reach == 0) (low, high) = (agreed, agreed);
        return bid < low ? bid - low : bid > high ? bid - high : int256(0);
    }
}
