// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IAtOnePrice} from "../interfaces/IAtOnePrice.sol";
import {ICommunityPrice} from "../interfaces/ICommunityPrice.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {Nodes} from "../libraries/Nodes.sol";
import {Series} from "../libraries/Series.sol";
import {Members} from "../rounds/Member.sol";
import {Round} from "../rounds/Round.sol";
import {Rounds} from "../rounds/Rounds.sol";
import {Seats} from "../rounds/Seats.sol";
import {Standing} from "../rounds/Standing.sol";
import {Deposits} from "../settlement/Deposits.sol";
import {AtOnePrice} from "./AtOnePrice.sol";
import {MarketRounds} from "./MarketRounds.sol";

/// @title The manager's step of a community that plans by one price a step
/// @notice See ICommunityPrice for what it does, its units and its invariants.
///
/// @dev Storage.
///
/// | variable         | slots      | written                                                                     |
/// |------------------|------------|-----------------------------------------------------------------------------|
/// | (Deposits)       | 1, mapping | totalDeposits; 1 an account: free and locked                                |
/// | (Rounds)         |            | see MarketRounds. `_said` of a node is its account, then the hash of its     |
/// |                  |            | bids in each weighing iteration, then of what it has traded                 |
/// | _rho, _base      | 1          | when a round is opened                                                      |
/// | _feedIn, _import | 24 each    | the same: one of 8 steps                                                    |
/// | _price           | 24         | the same, and when an iteration is closed                                   |
/// | _sums            | 24         | by who tells, but by the last of an iteration; the first overwrites         |
/// | _gains           | 1          | the same, in weighing iterations                                            |
///
/// Nothing overflows: sums of 128 lanes of 25 bits, times prices of 32 bits, 192 steps, rho and base of 64 bits; so what is
/// worked out of them goes unchecked.
///
/// An iteration in which nobody is waited for is closed at once, so a round that waits with all counted waits to be cleared.
contract CommunityPrice is AtOnePrice, ICommunityPrice {
    using Round for Round.State;
    using Seats for Seats.Store;

    /// @dev What the sums of an iteration come to.
    struct Reckoned {
        int256 bill; //   units * 1e-6 currency/kWh
        int256 beyond; // the price
        uint256[] next; // prices, words
    }

    uint16 private constant WEIGH_EVERY = 5; // iterations
    uint256 private constant MOST_WORDS = 24;
    uint256 private constant UNITS = 2 ** 24; // what is added to a lane: a member's energies are smaller
    uint256 private constant LANE = 32; // bits
    uint256 private constant LANES = 8; // of a word
    // Bits above the payload of each lane. An exact division: one bit every 32.
    // slither-disable-next-line divide-before-multiply
    uint256 private constant ABOVE = type(uint256).max / type(uint32).max * (0x7F << 25);
    uint256 private constant RHO_BITS = 32;
    int256 private constant WHOLE = 1000; // mWh in a Wh
    int256 private constant MILLION = 1e6; // parts of the gap
    uint256 private constant ENTRY = 9; // bytes of a bid

    /// @inheritdoc ICommunityPrice
    uint16 public immutable unit;
    /// @inheritdoc ICommunityPrice
    uint32 public immutable gap;
    uint256 private immutable _words; // of a number a step

    uint64 private _rho;
    uint64 private _base;
    uint256[MOST_WORDS] private _feedIn;
    uint256[MOST_WORDS] private _import;
    uint256[MOST_WORDS] private _price;
    uint256[MOST_WORDS] private _sums;
    uint256 private _gains;

    constructor(Setting memory setting_, IERC20Metadata token_)
        Deposits(token_)
        Rounds(setting_.nodes, setting_.mu, setting_.phaseSeconds, setting_.maxMisses)
        MarketRounds(setting_.steps)
        AtOnePrice(setting_.nodes)
    {
        if (setting_.unit == 0) revert InvalidSetting();
        (unit, gap, _words) = (setting_.unit, setting_.gap, (setting_.steps + LANES - 1) / LANES);
    }

    // ------------------------------------------------------------------ opening and joining

    /// @inheritdoc ICommunityPrice
    function openOn(uint32 day, uint64 rho, uint64 base, uint256[] calldata feedIn, uint256[] calldata imports)
        external
        onlyOwner
        returns (uint32 round)
    {
        round = _open(0, day, 0, 0);
        _requireWords(feedIn);
        _requireWords(imports);
        (_rho, _base) = (rho, base);
        for (uint256 k = 0; k < feedIn.length; ++k) {
            (uint256 low, uint256 high) = (feedIn[k], imports[k]);
            (_feedIn[k], _import[k], _price[k]) = (low, high, _middles(k, low, high));
        }
        emit TermsSet(round, rho, base, feedIn, imports);
    }

    function _openDay(uint32) internal pure override returns (uint32) {
        revert TermsNeeded();
    }

    /// @dev The first prices of a word.
    function _middles(uint256 word, uint256 feedIn, uint256 imports) private view returns (uint256 middles) {
        for (uint256 lane = 0; lane < LANES && LANES * word + lane < steps; ++lane) {
            (int256 low, int256 high) = (Series.lane32(feedIn, lane), Series.lane32(imports, lane));
            if (low > high) revert InvalidPrices(LANES * word + lane);
            middles |= _lane((low + high) >> 1, lane);
        }
    }

    /// @inheritdoc ICommunityPrice
    function join(uint32 round) external {
        (Round.State storage state, Standing heard, uint8 node) = _heard(round);
        state.members[node] = Members.make(msg.sender, round, 0);
        _said[round][node] = bytes32(uint256(uint160(msg.sender)));
        emit Joined(round, node);
        _startIfComplete(state, heard);
    }

    function _begin(uint32 round) internal override {
        _start(round);
    }

    // ------------------------------------------------------------------ iterating

    /// @inheritdoc ICommunityPrice
    function tell(uint32 round, uint16 iteration, uint16 history, uint256[] calldata units, uint64 gain) external {
        Round.State storage state = _state(0);
        Progress memory progress_ = state.load(round, Phase.Iterating);
        if (iteration != progress_.iteration) revert WrongIteration(progress_.iteration, iteration);
        if (history != progress_.history) revert WrongHistory(progress_.history, history);
        uint8 node = _seats.numberOf(msg.sender);
        if (state.active & Nodes.bit(node) == 0) revert NotInRound(node, round);
        if (progress_.present & Nodes.bit(node) != 0) revert AlreadyTold(round, node);
        _requireUnits(units);
        bool first = progress_.present == 0;
        progress_.present |= Nodes.bit(node);
        ++progress_.counter;
        uint256 gains = 0;
        if (iteration % WEIGH_EVERY == 0) {
            _bid(round, iteration, node, units, gain);
            gains = first ? gain : _gains + gain;
        }
        uint256[] memory sums = units;
        if (!first) _addTo(sums);
        if (progress_.counter == progress_.expected) {
            _closeIteration(state, progress_, sums, gains);
        } else {
            for (uint256 k = 0; k < sums.length; ++k) _sums[k] = sums[k];
            if (iteration % WEIGH_EVERY == 0) _gains = gains;
        }
        state.save(progress_);
    }

    /// @dev Adds what others have told.
    function _addTo(uint256[] memory sums) private view {
        unchecked {
            for (uint256 k = 0; k < sums.length; ++k) sums[k] += _sums[k];
        }
    }

    function _requireWords(uint256[] calldata words) private view {
        if (words.length != _words) revert LengthMismatch(_words, words.length);
    }

    function _requireUnits(uint256[] calldata units) private view {
        _requireWords(units);
        uint256 last = steps % LANES; // lanes of the last word; 0: all
        for (uint256 k = 0; k < units.length; ++k) {
            uint256 beyond = last != 0 && k + 1 == units.length ? units[k] >> LANE * last : 0;
            if (units[k] & ABOVE | beyond != 0) revert UnitsTooLarge(k);
        }
    }

    /// @dev Keeps what a node trades if the round is settled by this iteration, and locks what that could come to.
    function _bid(uint32 round, uint16 iteration, uint8 node, uint256[] calldata units, uint64 gain) private {
        bytes memory bids = new bytes(ENTRY * steps + 32); // what is written last may go beyond its entry
        (uint256 length, int256 due) = (0, 0);
        unchecked {
            for (uint256 step = 0; step < steps; ++step) {
                int256 energy = _energy(int256(_laneOf(units[step / LANES], step)) - int256(UNITS));
                if (energy == 0) continue;
                int256 price_ = Series.lane32(_price[step / LANES], step);
                if (energy * price_ < 0) due -= energy * price_;
                uint256 word =
                    step << 248 | uint256(uint32(uint256(energy))) << 216 | uint256(uint32(uint256(price_))) << 184;
                assembly ("memory-safe") {
                    mstore(add(add(bids, 32), length), word)
                }
                length += ENTRY;
            }
        }
        assembly ("memory-safe") {
            mstore(bids, length)
        }
        _said[round][node] = keccak256(bids);
        uint256 most = uint256((due * _currency + UNIT - 1) / UNIT);
        uint256 held = _accounts[msg.sender].locked();
        if (most > held) _lock(msg.sender, most - held);
        emit Weighed(round, iteration, node, gain, bids);
    }

    /// @dev Wh of units.
    function _energy(int256 units) private view returns (int256) {
        unchecked {
            int256 exact = units * int256(uint256(unit));
            return (exact < 0 ? exact - WHOLE / 2 : exact + WHOLE / 2) / WHOLE;
        }
    }

    /// @dev With those who are there. Changes the progress, which the caller stores.
    /// @param sums  of what they told
    /// @param gains the same
    function _closeIteration(Round.State storage state, Progress memory progress_, uint256[] memory sums, uint256 gains)
        private
    {
        uint128 absent = state.active & ~progress_.present;
        uint256[] memory price_ = _read(_price);
        bool settled = false;
        if (progress_.present != 0) settled = _step(progress_, sums, price_, gains, absent == 0);
        _keep(state, progress_, settled, sums, price_);
        if (settled) return _wait(progress_);
        for (uint256 k = 0; k < price_.length; ++k) _price[k] = price_[k];
        for (; absent != 0; absent = Nodes.withoutLowest(absent)) _miss(state, progress_, Nodes.lowest(absent));
        if (progress_.expected == 0) _end(progress_, Phase.Abandoned);
        else _goOn(progress_, false);
    }

    function _keep(
        Round.State storage state,
        Progress memory progress_,
        bool settled,
        uint256[] memory sums,
        uint256[] memory price_
    ) private {
        (uint32 round, uint16 iteration, uint128 present) =
            (progress_.round, progress_.iteration, progress_.present);
        bytes32 hash = iteration == 1 ? bytes32(0) : state.head;
        hash = keccak256(abi.encode(hash, round, iteration, present, settled, Lanes.hash(sums)));
        // What it returns is stored.
        // slither-disable-next-line unused-return
        state.close(progress_, hash);
        emit Priced(round, iteration, present, settled, hash, sums, price_);
    }

    /// @dev Has a settled round wait for a clearing, with all counted.
    function _wait(Progress memory progress_) private {
        (uint128 present, uint8 count) = (progress_.present, progress_.counter);
        _openIteration(progress_);
        (progress_.present, progress_.counter) = (present, count);
    }

    function _miss(Round.State storage state, Progress memory progress_, uint8 node) private {
        if (!_missedTooMany(state, node)) return;
        state.exclude(progress_, node);
        emit Excluded(progress_.round, progress_.iteration, node, false);
    }

    /// @dev The manager's step, and the test before it. See ICommunityPrice.
    /// @param price_ becomes the next, unless the round is settled
    /// @param all    whether everybody has told
    function _step(
        Progress memory progress_,
        uint256[] memory sums,
        uint256[] memory price_,
        uint256 gains,
        bool all
    ) private view returns (bool settled) {
        Reckoned memory reckoned = Reckoned(0, 0, new uint256[](price_.length));
        uint256 count = progress_.counter;
        unchecked {
            for (uint256 step = 0; step < steps; ++step) {
                uint256 k = step / LANES;
                int256 total = int256(_laneOf(sums[k], step)) - int256(count * UNITS);
                _reckon(reckoned, step, total, Series.lane32(price_[k], step), count);
            }
        }
        if (all && progress_.iteration % WEIGH_EVERY == 0 && _isWithin(reckoned, gains)) return true;
        for (uint256 k = 0; k < price_.length; ++k) price_[k] = reckoned.next[k];
    }

    function _reckon(Reckoned memory reckoned, uint256 step, int256 total, int256 now_, uint256 count) private view {
        unchecked {
            uint256 k = step / LANES;
            (int256 low, int256 high) = (Series.lane32(_feedIn[k], step), Series.lane32(_import[k], step));
            int256 at = total > 0 ? low : high;
            reckoned.bill -= at * total;
            reckoned.beyond += (now_ - at) * total;
            int256 next = now_ - total * int256(uint256(_rho)) / int256(count << RHO_BITS);
            reckoned.next[k] |= _lane(SignedMath.min(SignedMath.max(next, low), high), step);
        }
    }

    function _isWithin(Reckoned memory reckoned, uint256 gains) private view returns (bool) {
        unchecked {
            int256 each = int256(uint256(unit));
            int256 limit = SignedMath.max(int256(SignedMath.abs(reckoned.bill)) * each, int256(uint256(_base)) * WHOLE);
            return (reckoned.beyond * each + int256(gains) * WHOLE) * MILLION <= limit * int256(uint256(gap));
        }
    }

    function _goOnFrom(Progress memory progress_) internal override {
        if (progress_.phase == Phase.Declaring) return super._goOnFrom(progress_);
        Round.State storage state = _state(0);
        if (_isSettled(progress_)) {
            _end(progress_, Phase.Exhausted);
        } else {
            // Of an iteration in which nobody has told anything they are those of the last one, and do not count.
            _closeIteration(state, progress_, _read(_sums), 0);
        }
        state.save(progress_);
    }

    // ------------------------------------------------------------------ clearing

    /// @inheritdoc IAtOnePrice
    function clear(uint32 round, bytes[] calldata bids, bytes[] calldata fills) external {
        Round.State storage state = _state(0);
        Progress memory progress_ = state.load(round, Phase.Iterating);
        if (!_isSettled(progress_)) revert NotSettled(round);
        uint8[] memory nodes = _requireBids(round, progress_.present, bids);
        (bytes memory prices, int256[] memory values) = _cross(round, nodes, bids, fills);
        int256[] memory payments = _paymentsOf(values);
        for (uint256 i = 0; i < nodes.length; ++i) {
            address account = _seats.accounts[nodes[i]];
            uint256 held = _accounts[account].locked();
            _unlock(account, held, uint256(int256(held) + payments[i]));
        }
        _endCleared(state, progress_, prices, fills, payments);
    }

    /// @inheritdoc ICommunityPrice
    function release(address account) external {
        Progress memory progress_ = progressOf(0);
        if (progress_.phase == Phase.Iterating) revert WrongPhase(progress_.phase);
        uint256 held = _accounts[account].locked();
        _unlock(account, held, held);
        emit Released(account, held);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc ICommunityPrice
    function terms()
        external
        view
        returns (uint64 rho, uint64 base, uint256[] memory feedIn, uint256[] memory imports)
    {
        return (_rho, _base, _read(_feedIn), _read(_import));
    }

    function _read(uint256[MOST_WORDS] storage from) private view returns (uint256[] memory words) {
        words = new uint256[](_words);
        for (uint256 k = 0; k < words.length; ++k) words[k] = from[k];
    }

    /// @dev Of a round that iterates: whether all have told what they trade.
    function _isSettled(Progress memory progress_) private pure returns (bool) {
        return progress_.counter == progress_.expected;
    }

    // ------------------------------------------------------------------ lanes

    function _laneOf(uint256 word, uint256 step) private pure returns (uint256) {
        return uint32(word >> LANE * (step % LANES));
    }

    /// @dev A number in the lane of its step.
    function _lane(int256 value, uint256 step) private pure returns (uint256) {
        return uint256(uint32(uint256(value))) << LANE * (step % LANES);
    }
}
