// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {ICommunityPrice} from "contracts/interfaces/ICommunityPrice.sol";
import {IDeposits} from "contracts/interfaces/IDeposits.sol";
import {IOutcomes} from "contracts/interfaces/IOutcomes.sol";
import {CommunityPrice} from "contracts/market/CommunityPrice.sol";
import {VM} from "./Cheats.sol";
import {Parties, PartiesTest} from "./Parties.sol";

/// @title What anybody may do with the price of a community
/// @notice Two steps, four parties. Prices are worked out here of numbers that are kept one by one; what a clearing fills is
///         compared with exact parts.
contract PriceHandler is Parties {
    uint16 public constant STEPS = 2;
    uint16 private constant UNIT = 500; // mWh
    uint32 private constant PHASE = 300;
    int256 private constant TOP = 2 ** 24;

    CommunityPrice public immutable market;
    uint256 public cleared;
    uint256 public told;
    uint32 private _day;
    uint64 private _rho;
    int256[2] private _low;
    int256[2] private _high;
    int256[2] private _price;
    int256[2][4] private _units; // of the open iteration
    bool[4] private _hasTold;
    int256[4] private _before; // what each had when the round was opened, token units

    constructor() Parties(4, 1e8) {
        market = new CommunityPrice(
            ICommunityPrice.Setting(STEPS, PARTIES, PHASE, 11, 2, UNIT, 1000), IERC20Metadata(address(token))
        );
        (uint8[] memory nodes, address[] memory accounts) = _nodes(PARTIES);
        _endow(market);
        market.enrol(nodes, accounts);
        open(7);
    }

    function holder() public view override returns (IDeposits) {
        return market;
    }

    function _moved(uint256 index, int256 change) internal override {
        _before[index] += change;
    }

    // ------------------------------------------------------------------ calls

    function open(uint256 seed) public {
        uint256[] memory feedIn = new uint256[](1);
        uint256[] memory imports = new uint256[](1);
        int256[2] memory low;
        int256[2] memory high;
        for (uint256 s = 0; s < STEPS; ++s) {
            uint256 part = uint256(keccak256(abi.encode(seed, s)));
            low[s] = int256(part % 300_000) - 50_000;
            high[s] = low[s] + int256(part >> 32) % 3 * 60_001;
            feedIn[0] |= uint256(uint32(int32(low[s]))) << 32 * s;
            imports[0] |= uint256(uint32(int32(high[s]))) << 32 * s;
        }
        // Generous at times, so that rounds are settled.
        market.openOn(_day + 1, uint64(seed % 2 ** 34), seed % 3 == 0 ? 1e6 : uint64(1e15), feedIn, imports);
        (_day, _rho, _low, _high) = (_day + 1, uint64(seed % 2 ** 34), low, high);
        for (uint256 s = 0; s < STEPS; ++s) _price[s] = (low[s] + high[s]) >> 1;
        for (uint256 i = 0; i < PARTIES; ++i) {
            market.release(party(i));
            _before[i] = int256(market.free(party(i)));
            _require(market.locked(party(i)) == 0, "CP6: something stays locked");
        }
        _forget();
    }

    function join(uint256 who) external {
        uint32 round = market.progress().round;
        VM.prank(party(who));
        market.join(round);
    }

    function allJoin() external {
        uint32 round = market.progress().round;
        for (uint256 i = 0; i < PARTIES; ++i) {
            VM.prank(party(i));
            try market.join(round) {} catch {}
        }
    }

    function abstain(uint256 who) external {
        uint32 round = market.progress().round;
        VM.prank(party(who));
        market.abstain(round);
    }

    function tell(uint256 who, uint256 seed) public {
        who %= PARTIES;
        uint32 round = market.progress().round;
        uint16 iteration = market.progress().iteration;
        uint16 history = market.progress().history;
        int256[2] memory units;
        uint256[] memory words = new uint256[](1);
        for (uint256 s = 0; s < STEPS; ++s) {
            uint256 part = uint256(keccak256(abi.encode(seed, s)));
            int256 scale = seed % 5 == 0 ? TOP : int256(2000);
            units[s] = int256(part % uint256(2 * scale)) - scale;
            words[0] |= uint256(units[s] + TOP) << 32 * s;
        }
        uint64 gain = seed % 7 == 0 ? uint64(seed) : 0;
        VM.prank(party(who));
        market.tell(round, iteration, history, words, gain);
        _require(!_hasTold[who], "CP2: counted twice");
        (_units[who], _hasTold[who]) = (units, true);
        ++told;
        _follow(iteration);
    }

    function allTell(uint256 seed) external {
        for (uint256 i = 0; i < PARTIES; ++i) try this.tell(i, uint256(keccak256(abi.encode(seed, i)))) {} catch {}
    }

    /// @notice With numbers that fit no lane.
    function tellTooMuch(uint256 who, uint256 word) external {
        uint256[] memory words = new uint256[](1);
        words[0] = word | 1 << 25 + 32 * (word % STEPS);
        IOutcomes.Progress memory now_ = market.progress();
        VM.prank(party(who));
        market.tell(now_.round, now_.iteration, now_.history, words, 0);
        _require(false, "CP9: too large a number is taken");
    }

    function wait_(uint256 time) external {
        VM.warp(block.timestamp + time % PHASE + 1);
    }

    function closeOverdue() external {
        uint16 iteration = market.progress().iteration;
        market.closeOverdue();
        if (iteration != 0) _follow(iteration);
    }

    function clear(uint256 seed) external {
        uint32 round = market.progress().round;
        (bytes[] memory bids, bytes[] memory fills, bool spoilt) = _posted(seed);
        try market.clear(round, bids, fills) {
            _require(!spoilt, "CP7: another clearing passes");
        } catch {
            IOutcomes.Progress memory now_ = market.progress();
            bool waits = now_.phase == IOutcomes.Phase.Iterating && now_.counter == now_.expected;
            _require(spoilt || !waits, "CP7: the clearing of the rule does not pass");
            return;
        }
        ++cleared;
        int256 sum = 0;
        for (uint256 i = 0; i < PARTIES; ++i) {
            _require(market.locked(party(i)) == 0, "CP6: a clearing leaves something locked");
            int256 change = int256(market.free(party(i))) - _before[i];
            sum += change;
            if (!_hasTold[i]) _require(change == 0, "CP5: who has no bids pays or is paid");
            else _require(change >= -_most(i), "CP5: pays more than its bids come to");
        }
        _require(sum == 0, "CP4: money is made or lost");
    }

    // ------------------------------------------------------------------ the rule

    /// @dev Works out the price where an iteration was closed.
    function _follow(uint16 iteration) private {
        IOutcomes.Progress memory now_ = market.progress();
        bool over = now_.phase != IOutcomes.Phase.Iterating;
        if (!over && now_.iteration == iteration) return;
        bool waits = !over && now_.counter == now_.expected;
        _require(!waits || iteration % 5 == 0, "CP3: settled where nothing was weighed");
        if (waits) {
            for (uint256 i = 0; i < PARTIES; ++i) {
                bool there = now_.present >> i & 1 != 0;
                _require(there == _hasTold[i], "CP3: settled without all");
            }
            return;
        }
        int256 count = 0;
        for (uint256 i = 0; i < PARTIES; ++i) if (_hasTold[i]) ++count;
        for (uint256 s = 0; s < STEPS && count != 0; ++s) {
            int256 sum = 0;
            for (uint256 i = 0; i < PARTIES; ++i) if (_hasTold[i]) sum += _units[i][s];
            int256 next = _price[s] - sum * int256(uint256(_rho)) / (count * 2 ** 32);
            if (next < _low[s]) next = _low[s];
            if (next > _high[s]) next = _high[s];
            _price[s] = next;
        }
        _forget();
    }

    function _forget() private {
        for (uint256 i = 0; i < PARTIES; ++i) _hasTold[i] = false;
    }

    function _wattHours(uint256 i, uint256 s) private view returns (int256) {
        int256 units = _units[i][s];
        return (units < 0 ? units - 1 : units + 1) / 2; // halves away from zero, of units of half a Wh
    }

    function _abs(int256 value) private pure returns (uint256) {
        return uint256(value < 0 ? -value : value);
    }

    /// @dev Bids, and fills by the rule; or with a Wh moved, where that can be.
    function _posted(uint256 seed) private view returns (bytes[] memory bids, bytes[] memory fills, bool spoilt) {
        uint256 count = 0;
        for (uint256 i = 0; i < PARTIES; ++i) if (_hasTold[i]) ++count;
        (bids, fills) = (new bytes[](count), new bytes[](count));
        uint256[2][4] memory filled = _filled();
        if (seed % 3 == 0) spoilt = _spoil(filled, seed / 3);
        uint256 at = 0;
        for (uint256 i = 0; i < PARTIES; ++i) {
            if (!_hasTold[i]) continue;
            for (uint8 s = 0; s < STEPS; ++s) {
                int256 energy = _wattHours(i, s);
                if (energy == 0) continue;
                bids[at] = abi.encodePacked(bids[at], s, int32(energy), int32(_price[s]));
                fills[at] = abi.encodePacked(fills[at], uint32(filled[i][s]));
            }
            ++at;
        }
    }

    function _filled() private view returns (uint256[2][4] memory filled) {
        for (uint256 s = 0; s < STEPS; ++s) {
            uint256[2] memory sides;
            for (uint256 i = 0; i < PARTIES; ++i) {
                if (_hasTold[i]) sides[_wattHours(i, s) > 0 ? 0 : 1] += _abs(_wattHours(i, s));
            }
            uint256 total = sides[0] < sides[1] ? sides[0] : sides[1];
            for (uint256 side = 0; side < 2 && total != 0; ++side) _fill(filled, s, side == 0, total, sides[side]);
        }
    }

    /// @dev In proportion, Wh by Wh: what rounding down leaves goes to the largest remainders, the lowest first.
    function _fill(uint256[2][4] memory filled, uint256 s, bool sells, uint256 total, uint256 all) private view {
        uint256 given = 0;
        for (uint256 i = 0; i < PARTIES; ++i) {
            if (_is(i, s, sells)) given += filled[i][s] = total * _abs(_wattHours(i, s)) / all;
        }
        for (; given < total; ++given) {
            (uint256 best, uint256 largest) = (0, 0);
            for (uint256 i = 0; i < PARTIES; ++i) {
                if (!_is(i, s, sells)) continue;
                uint256 product = total * _abs(_wattHours(i, s));
                if (filled[i][s] == product / all && product % all > largest) (best, largest) = (i, product % all);
            }
            ++filled[best][s];
        }
    }

    function _is(uint256 i, uint256 s, bool sells) private view returns (bool) {
        int256 energy = _wattHours(i, s);
        return _hasTold[i] && energy != 0 && (energy > 0) == sells;
    }

    function _spoil(uint256[2][4] memory filled, uint256 seed) private view returns (bool) {
        (uint256 i, uint256 j, uint256 s) = (seed % PARTIES, seed / PARTIES % PARTIES, seed / 16 % STEPS);
        if (i == j || filled[i][s] == 0 || !_hasTold[j] || _wattHours(j, s) == 0) return false;
        bool same = (_wattHours(i, s) > 0) == (_wattHours(j, s) > 0);
        if (!same && filled[j][s] == 0) return false;
        --filled[i][s];
        if (same) ++filled[j][s];
        else --filled[j][s];
        return true;
    }

    /// @dev What a party's bids come to, token units, rounded up.
    function _most(uint256 i) private view returns (int256 most) {
        for (uint256 s = 0; s < STEPS; ++s) {
            int256 value = _wattHours(i, s) * _price[s];
            if (value < 0) most -= value;
        }
        return (most + 999) / 1000;
    }
}

/// @notice The numbers are those of ICommunityPrice.
contract PriceTest is PartiesTest {
    PriceHandler private _handler;
    CommunityPrice private _market;

    function setUp() public {
        _play(_handler = new PriceHandler());
        _market = _handler.market();
    }

    function invariant_CP1_CP2_CP3_CP5_CP6_CP7_CP9_whatTheHandlerSees() public view {
        _nothingIsWrong();
    }

    function invariant_CP4_moneyIsConserved() public view {
        _depositsAreTheBalance();
    }
}
