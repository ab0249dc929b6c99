// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IAgreement} from "../interfaces/IAgreement.sol";
import {IOrderBook} from "../interfaces/IOrderBook.sol";
import {Money} from "../libraries/Money.sol";
import {Trades} from "../libraries/Trades.sol";
import {Round} from "../rounds/Round.sol";
import {Rounds} from "../rounds/Rounds.sol";
import {Standing} from "../rounds/Standing.sol";
import {Deposits} from "../settlement/Deposits.sol";
import {MarketRounds} from "./MarketRounds.sol";

/// @title The order book of a continuous double auction
/// @notice See IOrderBook for what it does, its units and its invariants. Its owner is the community manager, who enrols
///         nodes and opens rounds, and has no say in orders, positions and money.
///
/// @dev Storage.
///
/// | variable   | slots      | written                                                                          |
/// |------------|------------|----------------------------------------------------------------------------------|
/// | (Deposits) | 1, mapping | totalDeposits; 1 an account: free and locked                                     |
/// | (Rounds)   |            | see MarketRounds: when accounts are enrolled, rounds opened and joined           |
/// | _next, _firstSteps | 1, mapping | 1 a round, when it is opened                                             |
/// | _joined    | mapping    | 1 a day and account that joins                                                   |
/// | _entries   | mapping    | 1 an order that rests, by its id; zero again when it is out                      |
/// | _queues    | mapping    | 1 a price of a side of a step (the id without the number), which stays           |
/// | _levels    | mapping    | 1 a side of a step (the id without level and number): bit i: level i has orders  |
/// | position   | mapping    | 1 a step and account that has traded in it                                       |
///
/// Orders of a price are a list that is linked both ways, so any of them comes out in a few writes; the best price is the
/// lowest bit of one word, or the highest. So no call walks through the book.
contract OrderBook is Deposits, MarketRounds, IOrderBook {
    using Round for Round.State;

    /// @dev An order that rests, between its neighbours' numbers.
    struct Entry {
        address owner;
        uint32 energy;
        uint32 previous;
        uint32 next;
    }

    /// @dev Orders of a price, by their numbers.
    struct Queue {
        uint32 first;
        uint32 last;
        uint32 count; // numbers that were given
    }

    uint256 private constant NUMBER_BITS = 32;
    uint256 private constant LEVEL_BITS = 8;
    uint256 private constant SELLS = 1; // the lowest bit of a side
    /// @inheritdoc IOrderBook
    uint256 public constant MOST_FILLS = 64;

    uint40 private immutable _firstGate;
    uint32 private immutable _stepSeconds;
    int32 private immutable _lowest;
    uint32 private immutable _tick;
    uint8 private immutable _top;
    uint32 private immutable _least;

    uint256 private _next; // the first step of no round yet
    mapping(uint32 round => uint256) private _firstSteps;
    mapping(uint256 day => mapping(address account => bool)) private _joined;
    mapping(uint256 id => Entry) private _entries;
    // Written through storage pointers.
    // slither-disable-next-line uninitialized-state
    mapping(uint256 sideAndLevel => Queue) private _queues;
    mapping(uint256 side => uint256 bitmap) private _levels;
    /// @inheritdoc IOrderBook
    mapping(uint256 step => mapping(address account => int256)) public position;

    constructor(Setting memory setting_, IERC20Metadata token_)
        Deposits(token_)
        Rounds(setting_.nodes, 1, setting_.joinSeconds, 1)
        MarketRounds(setting_.steps)
    {
        int256 highest = _price(setting_.lowest, setting_.tick, setting_.top);
        if (setting_.stepSeconds == 0 || setting_.tick == 0 || setting_.least == 0 || highest > type(int32).max) {
            revert InvalidSetting();
        }
        _firstGate = setting_.firstGate;
        _stepSeconds = setting_.stepSeconds;
        _lowest = setting_.lowest;
        _tick = setting_.tick;
        _top = setting_.top;
        _least = setting_.least;
    }

    // ------------------------------------------------------------------ days

    /// @inheritdoc IOrderBook
    function join(uint32 round) external {
        (Round.State storage state, Standing heard, uint8 node) = _heard(round);
        _said[round][node] = bytes32(uint256(uint160(msg.sender)));
        _joined[_firstSteps[round] / steps][msg.sender] = true;
        emit Joined(round, node);
        _startIfComplete(state, heard);
    }

    /// @dev The next day whose first gate is open.
    function _openDay(uint32 day) internal override returns (uint32 round) {
        round = super._openDay(day);
        uint256 begin = _next;
        if (block.timestamp >= gateOf(begin)) {
            uint256 over = (block.timestamp - _firstGate) / _stepSeconds; // the last step whose gate has closed
            begin = (over / steps + 1) * steps;
        }
        (_firstSteps[round], _next) = (begin, begin + steps);
        emit DayInBook(round, begin);
    }

    /// @dev Joining is over: nothing else is agreed on together.
    function _begin(uint32 round) internal override {
        Round.State storage state = _state(0);
        Progress memory progress_ = state.progress();
        // There is no tally.
        // slither-disable-next-line unused-return
        (state.closed.present,) = _settle(round, progress_.present);
        _end(progress_, state.closed.present == 0 ? Phase.Abandoned : Phase.Converged);
        state.save(progress_);
    }

    /// @inheritdoc IAgreement
    function requireTraded(uint32 round, uint8 node, bytes calldata trades) external view {
        address account = accountIn(round, node);
        uint256 begin = _firstSteps[round];
        uint256 last = gateOf(begin + steps - 1);
        if (block.timestamp < last) revert TradingGoesOn(round, last);
        int256[] memory energies = new int256[](steps);
        for (uint256 k = 0; k < energies.length; ++k) energies[k] = -position[begin + k][account];
        if (!Trades.are(trades, energies)) revert WrongTrades(round, node);
    }

    // ------------------------------------------------------------------ orders

    /// @inheritdoc IOrderBook
    function place(uint32 step, bool sells, int32 price, uint32 energy, uint8 fills, bool rests)
        external
        returns (uint256 id, uint32 left)
    {
        uint256 gate = gateOf(step);
        if (block.timestamp >= gate) revert GateClosed(step, gate);
        if (!_joined[step / steps][msg.sender]) revert NotJoined(step, msg.sender);
        if (energy < _least) revert EnergyTooSmall(_least, energy);
        uint256 queue = _queueOf(step, sells, price);
        bool meets;
        (left, meets) = _meet(queue, energy, Math.min(fills, MOST_FILLS));
        if (rests && !meets && left >= _least) id = _rest(queue, left);
        else if (left != 0) emit Returned(step, msg.sender, left);
    }

    /// @inheritdoc IOrderBook
    function cancel(uint256 id) external {
        Entry storage stored = _entries[id];
        Entry memory entry = stored;
        if (entry.owner == address(0)) revert NotOpen(id);
        if (msg.sender != entry.owner && block.timestamp < gateOf(_stepOf(id))) revert NotYours(id, msg.sender);
        _remove(id, stored, entry);
        uint256 lock = _lockOf(id, entry.energy);
        if (lock != 0) _unlock(entry.owner, lock, lock);
        emit Cancelled(id);
    }

    /// @dev Fills an order from the other side, and pays or is paid for it.
    /// @param queue where it would rest
    /// @return left  Wh that were not filled
    /// @return meets whether that still meets an order
    function _meet(uint256 queue, uint32 energy, uint256 fills) private returns (uint32 left, bool meets) {
        uint256 others = (queue >> LEVEL_BITS) ^ SELLS;
        int256 received = 0; // token units
        left = energy;
        while (left != 0) {
            uint256 best_;
            (best_, meets) = _bestFor(queue, others);
            if (!meets || fills == 0) break;
            --fills;
            (uint32 filled, int256 payment) = _fill(best_, left);
            left -= filled;
            received += others & SELLS == 0 ? payment : -payment;
        }
        if (left == 0) meets = false;
        if (left == energy) return (left, meets);
        _move(others >> 1, msg.sender, energy - left, others & SELLS != 0);
        if (received < 0) _take(msg.sender, SignedMath.abs(received));
        else if (received != 0) _credit(msg.sender, SignedMath.abs(received));
    }

    /// @dev The best queue of the other side, and whether an order at its limit meets it.
    function _bestFor(uint256 queue, uint256 others) private view returns (uint256 best_, bool meets) {
        bool exists;
        (best_, exists) = _best(others);
        (uint256 bid, uint256 ask) = others & SELLS == 0 ? (best_, queue) : (queue, best_);
        meets = exists && ask & type(uint8).max <= bid & type(uint8).max;
    }

    /// @dev Fills some of the first order of a queue, at its price, and pays its owner or from its lock.
    /// @return filled  Wh
    /// @return payment token units, from who buys to who sells
    function _fill(uint256 queue, uint32 most) private returns (uint32 filled, int256 payment) {
        uint256 id = _id(queue, _queues[queue].first);
        Entry storage stored = _entries[id];
        Entry memory entry = stored;
        if (entry.owner == msg.sender) revert OwnOrder(id);
        filled = entry.energy < most ? entry.energy : most;
        if (filled == entry.energy) _remove(id, stored, entry);
        else stored.energy = entry.energy - filled;

        // Its owner is paid a begun unit as a whole, and pays whole units only.
        payment = Money.paymentOf(int256(uint256(filled)) * _priceOf(id), _currency, _sells(id));
        uint256 amount = SignedMath.abs(payment);
        uint256 lock = _lockOf(id, entry.energy);
        if (lock != 0) {
            // What is left of it stays locked. Here parts are rounded down, so the lock is enough for all of them.
            uint256 unlocked = lock - _lockOf(id, entry.energy - filled);
            _unlock(entry.owner, unlocked, unlocked - amount);
        } else if (amount != 0) {
            _credit(entry.owner, amount);
        }
        _move(_stepOf(id), entry.owner, filled, !_sells(id));
        emit Traded(id, entry.owner, msg.sender, filled, payment);
    }

    /// @dev Lets an order rest, behind the others of its price.
    function _rest(uint256 key, uint32 energy) private returns (uint256 id) {
        Queue storage queue = _queues[key];
        (uint32 last, uint32 number) = (queue.last, queue.count + 1);
        id = _id(key, number);
        if (last == 0) {
            queue.first = number;
            _levels[key >> LEVEL_BITS] |= 1 << (key & type(uint8).max);
        } else {
            _entries[_id(key, last)].next = number;
        }
        (queue.last, queue.count) = (number, number);
        _entries[id] = Entry(msg.sender, energy, last, 0);
        emit Placed(id, msg.sender, energy);
        uint256 lock = _lockOf(id, energy);
        if (lock != 0) _lock(msg.sender, lock);
    }

    /// @dev Takes an order out of its queue.
    function _remove(uint256 id, Entry storage stored, Entry memory entry) private {
        uint256 key = id >> NUMBER_BITS;
        // Its one slot at once.
        assembly ("memory-safe") {
            sstore(stored.slot, 0)
        }
        if (entry.previous != 0) _entries[_id(key, entry.previous)].next = entry.next;
        else _queues[key].first = entry.next;
        if (entry.next != 0) _entries[_id(key, entry.next)].previous = entry.previous;
        else _queues[key].last = entry.previous;
        if (entry.previous == 0 && entry.next == 0) _levels[key >> LEVEL_BITS] ^= 1 << (key & type(uint8).max);
    }

    function _move(uint256 step, address account, uint32 energy, bool bought) private {
        position[step][account] += bought ? int256(uint256(energy)) : -int256(uint256(energy));
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IOrderBook
    function setting() external view returns (Setting memory) {
        return Setting(_firstGate, _stepSeconds, _lowest, _tick, _top, _least, steps, _n, phaseSeconds);
    }

    /// @inheritdoc IOrderBook
    function firstStepOf(uint32 round) external view returns (uint256) {
        return _firstSteps[round];
    }

    /// @inheritdoc IOrderBook
    function gateOf(uint256 step) public view returns (uint256) {
        return _firstGate + step * _stepSeconds;
    }

    /// @inheritdoc IOrderBook
    function order(uint256 id) external view returns (Order memory found) {
        Entry memory entry = _entries[id];
        if (entry.owner == address(0)) return found;
        uint256 key = id >> NUMBER_BITS;
        found.owner = entry.owner;
        found.step = uint32(_stepOf(id));
        found.sells = _sells(id);
        found.price = int32(_priceOf(id));
        found.energy = entry.energy;
        if (entry.previous != 0) found.previous = _id(key, entry.previous);
        if (entry.next != 0) found.next = _id(key, entry.next);
    }

    /// @inheritdoc IOrderBook
    function best(uint32 step, bool sells) external view returns (uint256 id) {
        (uint256 queue, bool exists) = _best(_side(step, sells));
        if (exists) id = _id(queue, _queues[queue].first);
    }

    /// @inheritdoc IOrderBook
    function first(uint32 step, bool sells, int32 price) external view returns (uint256 id) {
        uint256 queue = _queueOf(step, sells, price);
        uint256 number = _queues[queue].first;
        if (number != 0) id = _id(queue, number);
    }

    /// @dev The best queue of a side: the lowest price of asks, the highest of bids.
    function _best(uint256 side) private view returns (uint256 queue, bool exists) {
        uint256 levels = _levels[side];
        exists = levels != 0;
        if (exists && side & SELLS != 0) levels &= ~levels + 1; // the lowest bit alone
        queue = (side << LEVEL_BITS) | Math.log2(levels);
    }

    // ------------------------------------------------------------------ ids

    function _side(uint256 step, bool sells) private pure returns (uint256) {
        return (step << 1) | (sells ? SELLS : 0);
    }

    /// @dev The queue of a price, which has to be one of the book's.
    function _queueOf(uint256 step, bool sells, int32 price) private view returns (uint256) {
        int256 above = int256(price) - _lowest;
        int256 tick = int256(uint256(_tick));
        if (above < 0 || above % tick != 0 || above / tick > int256(uint256(_top))) {
            revert InvalidPrice(_lowest, _tick, _price(_lowest, _tick, _top), price);
        }
        return (_side(step, sells) << LEVEL_BITS) | uint256(above / tick);
    }

    function _id(uint256 queue, uint256 number) private pure returns (uint256) {
        return (queue << NUMBER_BITS) | number;
    }

    function _stepOf(uint256 id) private pure returns (uint256) {
        return id >> (NUMBER_BITS + LEVEL_BITS + 1);
    }

    function _sells(uint256 id) private pure returns (bool) {
        return (id >> (NUMBER_BITS + LEVEL_BITS)) & SELLS != 0;
    }

    function _priceOf(uint256 id) private view returns (int256) {
        return _price(_lowest, _tick, uint8(id >> NUMBER_BITS));
    }

    /// @dev Its parts are far too small to overflow.
    function _price(int32 lowest, uint32 tick, uint8 level) private pure returns (int256) {
        unchecked {
            return lowest + int256(uint256(tick) * level);
        }
    }

    /// @dev What energy costs the order's owner at its price, token units, truncated towards zero. Below 2^32 * 2^31 * 10^9.
    function _value(uint256 id, uint256 energy) private view returns (int256 value) {
        int256 price = _priceOf(id);
        unchecked {
            value = int256(energy) * price * _currency / 1e9; // the product is below 2^32 * 2^31 * 10^18
        }
    }

    /// @dev What an order's owner pays for energy, token units; zero where the others pay it.
    function _lockOf(uint256 id, uint256 energy) private view returns (uint256) {
        int256 value = _value(id, energy);
        return (value < 0) == _sells(id) ? SignedMath.abs(value) : 0;
    }
}
