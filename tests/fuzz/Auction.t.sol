// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {ICallAuction} from "contracts/interfaces/ICallAuction.sol";
import {IDeposits} from "contracts/interfaces/IDeposits.sol";
import {IOutcomes} from "contracts/interfaces/IOutcomes.sol";
import {CallAuction} from "contracts/market/CallAuction.sol";
import {VM} from "./Cheats.sol";
import {Parties, PartiesTest} from "./Parties.sol";

/// @title What anybody may do with a call auction
/// @notice Two steps, seven prices, two of them below zero. A clearing is worked out here watt-hour by watt-hour, which
///         has nothing in common with how the contract checks it.
contract AuctionHandler is Parties {
    struct Bid {
        bool committed;
        bool revealed;
        bytes32 salt;
        int256[2] energies;
        int256[2] prices;
    }

    uint16 public constant STEPS = 2;
    uint120 public constant BOND = 1000;
    int32 private constant LOWEST = -2_000_000;
    uint32 private constant PHASE = 300;

    CallAuction public immutable auction;
    uint256 public cleared;
    uint256 public lostBonds;
    uint32 private _day;
    Bid[4] private _bids;
    int256[4] private _before; // what each had when the round was opened, token units

    constructor() Parties(4, 1e8) {
        auction = new CallAuction(
            ICallAuction.Setting(STEPS, PARTIES, PHASE, LOWEST, 4_000_000, BOND), IERC20Metadata(address(token))
        );
        (uint8[] memory nodes, address[] memory accounts) = _nodes(PARTIES);
        _endow(auction);
        auction.enrol(nodes, accounts);
        open();
    }

    function holder() public view override returns (IDeposits) {
        return auction;
    }

    function _moved(uint256 index, int256 change) internal override {
        _before[index] += change;
    }

    // ------------------------------------------------------------------ calls

    function open() public {
        uint32 round = auction.progress().round;
        IOutcomes.Outcome memory last = auction.outcome(round);
        if (round != 0 && last.phase > IOutcomes.Phase.Converged) _releaseAll(round);
        auction.openRound(++_day);
        for (uint256 i = 0; i < PARTIES; ++i) {
            delete _bids[i];
            _before[i] = int256(auction.free(party(i)));
            _require(auction.locked(party(i)) == 0, "CA10: something stays locked");
        }
    }

    function commit(uint256 who, bytes32 salt, uint256 seed) external {
        who %= PARTIES;
        Bid memory bid = Bid(true, false, salt, [int256(0), 0], [int256(0), 0]);
        for (uint256 s = 0; s < STEPS; ++s) {
            uint256 part = uint256(keccak256(abi.encode(seed, s)));
            bid.energies[s] = int256(part % 9) - 4;
            bid.prices[s] = LOWEST + int256(part >> 32) % 7 * 1_000_000;
            if (bid.prices[s] < LOWEST) bid.prices[s] = LOWEST;
        }
        uint32 round = auction.progress().round;
        bytes32 commitment = auction.commitmentOf(round, party(who), salt, _encoded(bid));
        VM.prank(party(who));
        auction.commit(round, commitment);
        _bids[who] = bid;
    }

    function abstain(uint256 who) external {
        uint32 round = auction.progress().round;
        VM.prank(party(who));
        auction.abstain(round);
    }

    /// @notice At times by somebody else, who knows everything.
    function reveal(uint256 who, uint256 by) external {
        who %= PARTIES;
        if (by % 3 != 0) by = who;
        uint32 round = auction.progress().round;
        Bid memory bid = _bids[who];
        VM.prank(party(by));
        auction.reveal(round, bid.salt, _encoded(bid));
        _require(by % PARTIES == who, "CA7: revealed by another");
        _require(!bid.revealed, "CA2: revealed twice");
        _bids[who].revealed = true;
    }

    function wait_(uint256 time) external {
        VM.warp(block.timestamp + time % PHASE + 1);
    }

    function closeOverdue() external {
        auction.closeOverdue();
    }

    /// @notice As it should be, or with a watt-hour moved: from one to another, or from nobody to both sides.
    function clear(uint256 seed) external {
        uint32 round = auction.progress().round;
        (bytes[] memory bids, uint256[2][] memory filled) = _best();
        bool isBest = seed % 4 == 0 || !_spoil(filled, seed / 4);
        try auction.clear(round, bids, _packed(filled)) {
            _require(isBest, "CA5: another clearing passes");
        } catch {
            IOutcomes.Progress memory now_ = auction.progress();
            _require(
                !isBest || now_.phase != IOutcomes.Phase.Iterating || now_.iteration != 2,
                "CA5: the clearing of the rule does not pass"
            );
            return;
        }
        ++cleared;
        _look();
    }

    // ------------------------------------------------------------------ the rule, watt-hour by watt-hour

    function _encoded(Bid memory bid) private pure returns (bytes memory all) {
        for (uint8 s = 0; s < STEPS; ++s) {
            if (bid.energies[s] != 0) {
                all = abi.encodePacked(all, s, int32(bid.energies[s]), int32(bid.prices[s]));
            }
        }
    }

    /// @dev Bids of all that revealed, and what the rule fills of them, by node and step.
    function _best() private view returns (bytes[] memory bids, uint256[2][] memory filled) {
        uint256 count = 0;
        for (uint256 i = 0; i < PARTIES; ++i) if (_bids[i].revealed) ++count;
        bids = new bytes[](count);
        filled = new uint256[2][](PARTIES);
        uint256 at = 0;
        for (uint256 i = 0; i < PARTIES; ++i) if (_bids[i].revealed) bids[at++] = _encoded(_bids[i]);
        for (uint256 s = 0; s < STEPS; ++s) {
            uint256 total = _crossed(s);
            _fill(filled, s, total, true);
            _fill(filled, s, total, false);
        }
    }

    /// @dev The most that can be traded at a step: the most, over all prices, of what is offered and asked for there.
    function _crossed(uint256 s) private view returns (uint256 most) {
        for (int256 price = LOWEST; price <= 4_000_000; price += 1_000_000) {
            (uint256 offered, uint256 asked) = (0, 0);
            for (uint256 i = 0; i < PARTIES; ++i) {
                (int256 energy, int256 limit) = (_bids[i].energies[s], _bids[i].prices[s]);
                if (!_bids[i].revealed) continue;
                if (energy > 0 && limit <= price) offered += uint256(energy);
                if (energy < 0 && limit >= price) asked += uint256(-energy);
            }
            uint256 least = offered < asked ? offered : asked;
            if (least > most) most = least;
        }
    }

    /// @dev Fills one side, price by price from the best on: each price in proportion, the largest remainders first.
    function _fill(uint256[2][] memory filled, uint256 s, uint256 left, bool sells) private view {
        for (uint256 level = 0; level < 7 && left != 0; ++level) {
            int256 price = LOWEST + int256(sells ? level : 6 - level) * 1_000_000;
            uint256 all = 0;
            for (uint256 i = 0; i < PARTIES; ++i) if (_at(i, s, price, sells)) all += _energy(i, s);
            if (all == 0) continue;
            uint256 part = left < all ? left : all;
            uint256 given = 0;
            for (uint256 i = 0; i < PARTIES; ++i) {
                if (_at(i, s, price, sells)) given += filled[i][s] = part * _energy(i, s) / all;
            }
            for (; given < part; ++given) ++filled[_next(filled, s, price, sells, part, all)][s];
            left -= part;
        }
    }

    /// @dev Who gets the next watt-hour: of those rounded down, the largest remainder, the lowest among equals.
    function _next(uint256[2][] memory filled, uint256 s, int256 price, bool sells, uint256 part, uint256 all)
        private
        view
        returns (uint256 best)
    {
        uint256 largest = 0;
        for (uint256 i = 0; i < PARTIES; ++i) {
            if (!_at(i, s, price, sells)) continue;
            uint256 product = part * _energy(i, s);
            if (filled[i][s] == product / all && product % all > largest) (best, largest) = (i, product % all);
        }
    }

    function _at(uint256 i, uint256 s, int256 price, bool sells) private view returns (bool) {
        return _bids[i].revealed && _bids[i].prices[s] == price && _bids[i].energies[s] != 0
            && (_bids[i].energies[s] > 0) == sells;
    }

    function _energy(uint256 i, uint256 s) private view returns (uint256) {
        int256 energy = _bids[i].energies[s];
        return uint256(energy < 0 ? -energy : energy);
    }

    /// @dev Moves a watt-hour. Returns whether it could.
    function _spoil(uint256[2][] memory filled, uint256 seed) private view returns (bool) {
        (uint256 i, uint256 j, uint256 s) = (seed % PARTIES, seed / PARTIES % PARTIES, seed / 16 % STEPS);
        if (i == j || !_bids[i].revealed || !_bids[j].revealed || filled[i][s] == 0) return false;
        if (_bids[j].energies[s] == 0) return false;
        bool same = (_bids[i].energies[s] > 0) == (_bids[j].energies[s] > 0);
        if (!same && filled[j][s] == 0) return false;
        --filled[i][s];
        if (same) ++filled[j][s];
        else --filled[j][s];
        return true;
    }

    function _packed(uint256[2][] memory filled) private view returns (bytes[] memory fills) {
        uint256 count = 0;
        for (uint256 i = 0; i < PARTIES; ++i) if (_bids[i].revealed) ++count;
        fills = new bytes[](count);
        uint256 at = 0;
        for (uint256 i = 0; i < PARTIES; ++i) {
            if (!_bids[i].revealed) continue;
            for (uint256 s = 0; s < STEPS; ++s) {
                if (_bids[i].energies[s] != 0) fills[at] = abi.encodePacked(fills[at], uint32(filled[i][s]));
            }
            ++at;
        }
    }

    // ------------------------------------------------------------------ after a clearing

    /// @dev What each has more or less than when the round was opened.
    function _look() private {
        int256 sum = 0;
        for (uint256 i = 0; i < PARTIES; ++i) {
            _require(auction.locked(party(i)) == 0, "CA10: a clearing leaves something locked");
            int256 change = int256(auction.free(party(i))) - _before[i];
            sum += change;
            if (!_bids[i].committed) _require(change == 0, "CA6: who has no bids pays or is paid");
            if (_bids[i].committed && !_bids[i].revealed) {
                ++lostBonds;
                _require(change == -int256(uint256(BOND)), "CA6: silence costs something else than the bond");
            }
            if (_bids[i].revealed) _require(change >= -_most(i), "CA9: pays more than its limits come to");
        }
        _require(sum == 0, "CA4: money is made or lost");
    }

    /// @dev What a party's limits come to, token units, rounded up.
    function _most(uint256 i) private view returns (int256 most) {
        for (uint256 s = 0; s < STEPS; ++s) {
            int256 value = _bids[i].energies[s] * _bids[i].prices[s];
            if (value < 0) most -= value;
        }
        return (most + 999) / 1000;
    }

    function _releaseAll(uint32 round) private {
        for (uint8 i = 0; i < PARTIES; ++i) {
            try auction.release(round, i, _bids[i].revealed ? _encoded(_bids[i]) : bytes("")) {} catch {}
            _require(int256(auction.free(party(i))) == _before[i], "CA10: release does not give all back");
        }
    }
}

/// @notice The numbers are those of ICallAuction.
contract AuctionTest is PartiesTest {
    AuctionHandler private _handler;
    CallAuction private _auction;

    function setUp() public {
        _play(_handler = new AuctionHandler());
        _auction = _handler.auction();
    }

    function invariant_CA1_CA2_CA5_CA6_CA7_CA9_CA10_whatTheHandlerSees() public view {
        _nothingIsWrong();
    }

    function invariant_CA4_moneyIsConserved() public view {
        _depositsAreTheBalance();
    }
}
