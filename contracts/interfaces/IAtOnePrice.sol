// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDeposits} from "./IDeposits.sol";
import {IMarket} from "./IMarket.sol";

/// @title Markets that clear all steps of a day at once, at one price a step
/// @notice Bids of a round are known by their hashes, and locked for; then anybody posts how they are cleared, which is
///         checked and not worked out: it passes only where it is the one clearing of the rule below. All is paid at once.
///
///         Energies are whole Wh, prices 1e-6 currency/kWh, payments token units.
///
/// @dev Bids are entries as in a statement (see ITradeSettlement), 9 bytes, steps ascending, one a step: energy above zero
///      offers it, below asks for it, and is never zero; price is the least that who offers takes, the most that who asks
///      pays. So what a node has traded, its fills at the clearing price, has the same form, and that is what it is in
///      `requireTraded`.
///
///      Fills are uint32, one an entry of the bids. With a_i, x_i offers and their fills, b_j, y_j the same of what is
///      asked for, at each step:
///        sum x = sum y                                               as much is sold as bought
///        a+ > b+                                                     no more could be
///        low = max(a, b+) <= high = min(b, a+), price = (low + high) / 2, rounded down
///      where a is the dearest offer with a fill, b the cheapest ask with one, a+ the cheapest offer that is not filled
///      whole, b+ the dearest ask that is not. So better ones are filled whole before worse. Those at a+ share what is left
///      for them in proportion to their energies: each gets that, rounded down, and what this leaves goes to the largest
///      remainders, 1 Wh each, the lowest nodes first among equals. The same at b+. There is one such clearing.
///
///      Payment of node i = floor(S_i * 10^decimals / 10^9) - the same of the node before, with S_i the running sum of
///      energy sold * price over all steps and the nodes up to i: nothing is lost by rounding, and nobody pays more than
///      its limits come to, rounded up.
interface IAtOnePrice is IDeposits, IMarket {
    /// @param nodes    bitmap of those that bid
    /// @param prices   int32 a step; 0 where nothing is traded
    /// @param fills    of each node, ascending
    /// @param payments received, token units, of each, without bonds
    event Cleared(uint32 indexed round, uint128 nodes, bytes prices, bytes[] fills, int256[] payments);

    error InvalidSetting();
    error TooLarge(uint256 nodes, uint256 steps);
    error InvalidBids(uint256 entry);
    error WrongBids(uint32 round, uint8 node);
    error FillTooLarge(uint8 node, uint256 step);
    error NotBalanced(uint256 step, int256 sold);
    error NotBest(uint256 step);
    error NotInProportion(uint8 node, uint256 step);

    /// @notice Clears a round. Anybody.
    /// @param bids  of all nodes that bid, ascending
    /// @param fills of the same
    function clear(uint32 round, bytes[] calldata bids, bytes[] calldata fills) external;
}
