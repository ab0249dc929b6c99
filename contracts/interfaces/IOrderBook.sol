// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDeposits} from "./IDeposits.sol";
import {IMarket} from "./IMarket.sol";

/// @title The order book of a continuous double auction, one for each time step, open until its gate closes
/// @notice Who comes meets the best price of the other side, of equal prices the order that has been there longest, at
///         the price of the order that rests. Trades are paid at once from deposits here, and make positions, which
///         anybody can read, and which a settlement reads when the day's last gate has closed (IMarket).
///
///         Energies are whole Wh, prices 1e-6 currency/kWh, payments token units, rounded against who comes
///         (Money): who takes in small parts never takes for less than it is worth. Steps are
///         counted from the first whose gate the book knows, days in one row. A step has up to 256 prices, `tick` apart,
///         from `lowest` on (the feed-in price) to the import price. Prices may be below zero: then who sells pays.
///
///         A round is about the steps of one day: the first after those of all rounds before it whose first gate is
///         open. Nodes join it; who has joined orders in its steps at once. It has converged when all who are enrolled
///         were heard, or the time for joining is over; orders come until each step's gate all the same.
///
///         An order's id says all that never changes of it: step << 41 | sells << 40 | level << 32 | number, with
///         numbers from 1 on in the order of their coming, for each step, side and price. No id is used twice.
///
///         Who would have to pay locks what the order costs at its own price. Energy is locked by nobody: who sells what
///         it does not have owes it where deliveries are settled.
///
/// @dev Invariants. Tests bear these numbers.
///   OB1  No trade is outside the limit of either order, nor of the book; it is at the price of the order that rests.
///   OB2  Nothing is filled twice: what an order's trades, what is left of it and what was taken back of it add up to what
///        was placed.
///   OB3  Price-time order is kept: a trade is with the oldest of the orders at the best price of its side.
///   OB4  The best bid is below the best ask: orders that meet do not rest.
///   OB5  Energy is conserved: the positions of all accounts in a step add up to zero, and change before its gate only.
///   OB6  Money is conserved: free and locked deposits of all accounts add up to totalDeposits; what an account has locked
///        is what its orders that rest cost at their prices.
///   OB7  What a call costs does not grow with what is in the book: it touches at most MOST_FILLS orders and their
///        neighbours.
///   OB8  Every lock ends: of an order by its owner at any time, by anybody after the gate.
///   OB9  Nobody trades with itself.
///   OB10 No order is smaller than `least` but the first of a price, which was filled in part.
///   OB11 Nobody orders in a day that it has not joined (MK1).
interface IOrderBook is IDeposits, IMarket {
    struct Setting {
        uint40 firstGate; //   unix time at which the gate of step 0 closes
        uint32 stepSeconds; // later it is that of the next step
        int32 lowest; //       price, 1e-6 currency/kWh
        uint32 tick; //        between prices, the same unit
        uint8 top; //          prices above the lowest
        uint32 least; //       Wh of an order, so that dust costs who places it
        uint16 steps; //       of a day
        uint16 nodes; //       that can be enrolled
        uint32 joinSeconds; // time for joining a round
    }

    struct Order {
        address owner; //   zero where there is no such order, or no longer
        uint32 step;
        bool sells;
        int32 price;
        uint32 energy; //   Wh that are left of it
        uint256 previous; // id of the order before it at this price; zero where it is the first
        uint256 next; //     and after it
    }

    /// @notice A round is about the steps from one on.
    event DayInBook(uint32 indexed round, uint256 firstStep);
    event Joined(uint32 indexed round, uint8 indexed node);
    /// @notice An order rests.
    event Placed(uint256 indexed id, address indexed owner, uint32 energy);
    /// @param id      of the order that rested; it has the price, and the other side than the taker
    /// @param payment token units, from who buys to who sells
    event Traded(uint256 indexed id, address indexed maker, address indexed taker, uint32 energy, int256 payment);
    /// @notice What neither was filled nor rests of an order.
    event Returned(uint32 indexed step, address indexed account, uint32 energy);
    event Cancelled(uint256 indexed id);

    error InvalidSetting();
    error NotJoined(uint256 step, address account);
    error GateClosed(uint256 step, uint256 gate);
    error EnergyTooSmall(uint256 least, uint256 given);
    error InvalidPrice(int256 lowest, uint256 tick, int256 highest, int256 given);
    error OwnOrder(uint256 id);
    error NotOpen(uint256 id);
    error NotYours(uint256 id, address account);

    /// @notice Takes part in a round: from now on the caller can order in its steps. Not after the time for joining.
    function join(uint32 round) external;

    /// @notice Fills an order as far as it can be, and lets the rest of it rest.
    /// @dev    An order that would meet one of the caller is refused as a whole: cancel that one first.
    /// @param price the caller's limit
    /// @param fills orders that it may meet, of which MOST_FILLS count; 0: it only rests
    /// @param rests whether what is left rests. It is returned all the same where it is smaller than `least`, or still
    ///              meets an order after `fills` of them
    /// @return id   of the order that rests; zero where none does
    /// @return left Wh that were not filled
    function place(uint32 step, bool sells, int32 price, uint32 energy, uint8 fills, bool rests)
        external
        returns (uint256 id, uint32 left);

    /// @notice Takes an order out: its owner at any time, anybody after the gate.
    function cancel(uint256 id) external;

    // ------------------------------------------------------------------ views

    /// @notice Orders that a call can meet.
    function MOST_FILLS() external view returns (uint256);
    function setting() external view returns (Setting memory);
    /// @notice The first step of a round's day.
    function firstStepOf(uint32 round) external view returns (uint256);
    function gateOf(uint256 step) external view returns (uint256);
    /// @notice Wh that an account has bought for a step, less what it has sold.
    function position(uint256 step, address account) external view returns (int256);
    function order(uint256 id) external view returns (Order memory);
    /// @notice The order of a side that is met first; zero where there is none.
    function best(uint32 step, bool sells) external view returns (uint256 id);
    /// @notice The oldest order of a price; zero where there is none. The others follow by `order(id).next`.
    function first(uint32 step, bool sells, int32 price) external view returns (uint256 id);
}
