// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {Clerk} from "contracts/agreements/Clerk.sol";
import {VirtualAggregator} from "contracts/agreements/VirtualAggregator.sol";
import {Clearing} from "contracts/day/Clearing.sol";
import {DaySettlement} from "contracts/day/DaySettlement.sol";
import {Flexibility} from "contracts/flexibility/Flexibility.sol";
import {IDaySettlement} from "contracts/interfaces/IDaySettlement.sol";
import {IDeposits} from "contracts/interfaces/IDeposits.sol";
import {IFlexibility} from "contracts/interfaces/IFlexibility.sol";
import {IVirtualAggregator} from "contracts/interfaces/IVirtualAggregator.sol";
import {Referee} from "contracts/referee/Referee.sol";
import {TradeSettlement} from "contracts/settlement/TradeSettlement.sol";
import {VM} from "./Cheats.sol";
import {Parties, PartiesTest} from "./Parties.sol";

/// @title What members, aggregators and others may do about flexibility in days of two households with two steps
contract FlexibilityHandler is Parties {
    uint8 public constant NODES = 2; // parties are these, the supplier, and two that aggregate
    uint8 private constant SUPPLIES = 2;
    uint16 private constant STEPS = 2;
    uint32 private constant STEP = 1000;
    uint256 private constant METER = 0xA11CE;

    DaySettlement public immutable ledger;
    Flexibility public immutable flexibility;
    uint32 public last; // day
    bool public broken; // something that must not happen

    constructor() Parties(5, 1e8) {
        VirtualAggregator aggregator = new VirtualAggregator(new Clerk(
            IVirtualAggregator.Theta(NODES, 1, 1, 1000, 1000, 1000, 1000, 2),
            IVirtualAggregator.Setting(STEPS, 3600, 1000, 100, 600, 1),
            new Referee()
        ));
        IERC20Metadata money = IERC20Metadata(address(token));
        TradeSettlement trades = new TradeSettlement(aggregator, money, party(SUPPLIES), VM.addr(METER));
        Clearing clearing = new Clearing(trades, money, party(SUPPLIES));
        ledger = new DaySettlement(trades, money, party(SUPPLIES), VM.addr(METER), clearing);
        flexibility = new Flexibility(ledger);
        (uint8[] memory nodes, address[] memory accounts) = _nodes(NODES);
        aggregator.enrol(nodes, accounts);
        _endow(ledger);
        _endow(flexibility);
    }

    // ------------------------------------------------------------------ the day

    function openDay(int32 one, int32 other) external {
        // One at a time, as long as there is a step for which nobody has been called.
        uint256 called = flexibility.called(last, 0) | flexibility.called(last, 1);
        if (last != 0 && called != 3 && block.timestamp + 500 < ledger.gateOf(last, 1)) return;
        ++last;
        IDaySettlement.Terms memory terms = IDaySettlement.Terms(
            uint40(block.timestamp + 3 * STEP), STEP, 300, 300, IDaySettlement.Key.Equal,
            IDaySettlement.Pricing.Ratio, 50_000, 100, 0, 1e12
        );
        VM.prank(party(SUPPLIES));
        ledger.openDay(last, terms, abi.encodePacked(int32(300_000), int32(80_000), int32(200_000), int32(0)), "", 1e4);
        bytes32 hash = ledger.standing(last).terms;
        for (uint8 node = 0; node < NODES; ++node) {
            VM.prank(party(node));
            ledger.join(last, hash, 1e3);
            this.nominate(node, node == 0 ? one : other, 0);
        }
    }

    function nominate(uint256 who, int32 energy, uint8 first) external {
        first %= uint8(STEPS);
        bytes memory energies =
            first == 0 ? abi.encodePacked(energy % 10_000, energy % 5000) : abi.encodePacked(energy % 10_000);
        VM.prank(party(who % NODES));
        ledger.nominate(last, first, energies);
    }

    function read(uint8 node, int32 energy) external {
        uint8 step = uint8(ledger.standing(last).next);
        uint256 end = ledger.startOf(last, uint256(step) + 1);
        if (block.timestamp < end) VM.warp(end);
        node %= NODES;
        bytes memory data = abi.encodePacked(energy % 10_000);
        uint128 nodes = uint128(1) << node;
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(METER, ledger.readingDigest(last, step, nodes, data));
        ledger.read(last, step, nodes, data, r, bytes32(uint256(s) | uint256(v - 27) << 255));
    }

    function settleStep() external {
        uint256 end = ledger.startOf(last, uint256(ledger.standing(last).next) + 1);
        if (block.timestamp < end + 301) VM.warp(end + 301);
        ledger.settleStep(last);
    }

    function wait(uint256 seconds_) external {
        VM.warp(block.timestamp + seconds_ % 700);
    }

    // ------------------------------------------------------------------ offers and calls

    function optIn(uint256 who, uint256 seed, uint32 power, uint32 price, uint32 fine, uint96 fee, uint128 bond) external {
        IFlexibility.Terms memory terms;
        terms.aggregator = party(seed % 4 == 0 ? who : 3 + seed % 2);
        (terms.fee, terms.device, terms.bond) = (fee % 1000, _device(seed), bond % 1e7);
        terms.from = uint40(block.timestamp);
        terms.until = uint40(block.timestamp + (seed >> 8) % 40_000);
        (terms.up, terms.down) = (power % 20_000, (power >> 8) % 20_000);
        (terms.energy, terms.price, terms.fine) = (uint32(20_000), price % 1e6, fine % 1e6);
        (terms.tolerance, terms.notice) = (uint32((seed >> 16) % 100), uint32((seed >> 24) % 500));
        uint256 before = flexibility.offered(party(who % NODES), terms.device);
        if (before != 0 && seed % 3 != 0) {
            VM.prank(party(who % NODES));
            flexibility.endOffer(before);
        }
        // Not one prank for both: it would go on where the second is refused, and keep all that follow from having theirs.
        VM.prank(party(who % NODES));
        flexibility.optIn(terms);
    }

    function endOffer(uint256 id, uint256 who) external {
        id = _some(id, flexibility.lastOffer());
        IFlexibility.Offer memory before = flexibility.offer(id);
        who = who % 3 == 0 ? uint160(before.member) - 0x1000 : who;
        VM.prank(party(who));
        flexibility.endOffer(id);
        if (party(who) != before.member && block.timestamp < before.terms.until) broken = true;
    }

    /// @notice FX5: a call that is taken is within its offer, and its step was not called.
    function call(uint256 id, uint8 first, int32 energy, bool both, uint256 flaw) external {
        this.openDay(energy, -energy);
        if (flaw % 3 == 0) this.optIn(id, flaw >> 8 << 8 | 0xA00001, 0xFFFFFF, 300_000, 200_000, 9, 1e5);
        bool wrong = flaw % 8 == 0;
        // Mostly one that stands.
        uint256 standing = flexibility.offered(party(id % NODES), _device(flaw));
        id = flaw % 4 == 0 || standing == 0 ? _some(id, flexibility.lastOffer()) : standing;
        IFlexibility.Offer memory before = flexibility.offer(id);
        first %= uint8(STEPS);
        if (first == 1) both = false;
        uint8 node = uint8(uint160(before.member) - 0x1000);
        energy %= 2500;
        bytes memory baselines = _baselines(node, first, both, wrong);
        uint256 called = flexibility.called(last, node);
        bytes memory energies = both ? abi.encodePacked(energy, int32(0)) : abi.encodePacked(energy);
        VM.prank(before.terms.aggregator);
        flexibility.call(id, last, first, energies, baselines);
        uint256 power = energy < 0 ? before.terms.down : before.terms.up;
        uint256 size = energy < 0 ? uint256(-int256(energy)) : uint256(int256(energy));
        if (wrong || before.ended || called >> first & 1 != 0 || size * 3600 > power * STEP) broken = true;
        if (block.timestamp + before.terms.notice >= ledger.gateOf(last, first)) broken = true;
    }

    function _baselines(uint8 node, uint8 first, bool both, bool wrong) private view returns (bytes memory) {
        int256 one = flexibility.baselineOf(last, node, first) + (wrong ? int256(1) : int256(0));
        // forge-lint: disable-next-line(unsafe-typecast)
        if (!both) return abi.encodePacked(int32(one));
        // forge-lint: disable-next-line(unsafe-typecast)
        return abi.encodePacked(int32(one), int32(flexibility.baselineOf(last, node, 1)));
    }

    /// @notice FX3: what one gets the other gives, within reserve and bond.
    function settle(uint256 id, bool late) external {
        id = late ? flexibility.lastCall() : _some(id, flexibility.lastCall());
        IFlexibility.Call memory made = flexibility.callOf(id);
        if (late) {
            VM.warp(block.timestamp + 10_000);
            for (uint256 step = ledger.standing(made.day).next; step < STEPS; ++step) ledger.settleStep(made.day);
        }
        IFlexibility.Offer memory of_ = flexibility.offer(made.offer);
        (uint256 before, uint256 theirs) = (_held(of_.member), _held(of_.terms.aggregator));
        flexibility.settle(id);
        (uint256 afterwards, uint256 left) = (_held(of_.member), _held(of_.terms.aggregator));
        if (of_.member == of_.terms.aggregator) {
            if (before != afterwards) broken = true;
            return;
        }
        if (before + theirs != afterwards + left) broken = true;
        if (afterwards > before + made.reserve || before > afterwards + of_.terms.bond) broken = true;
    }

    function _held(address account) private view returns (uint256) {
        return flexibility.free(account) + flexibility.locked(account);
    }

    function holder() public view override returns (IDeposits) {
        return flexibility;
    }

    /// @notice FX4: once the day is settled anybody settles every call, and ends every lock.
    function endAll(uint256 seed) external {
        if (seed % 8 != 0 || last == 0) return;
        VM.warp(block.timestamp + 100_000);
        for (uint32 day = 1; day <= last; ++day) {
            for (uint256 step = ledger.standing(day).next; step < STEPS; ++step) ledger.settleStep(day);
        }
        for (uint256 id = 1; id <= flexibility.lastCall(); ++id) {
            if (flexibility.callOf(id).settled) continue;
            try flexibility.settle(id) {} catch { broken = true; }
        }
        for (uint256 id = 1; id <= flexibility.lastOffer(); ++id) {
            if (flexibility.offer(id).ended) continue;
            try flexibility.endOffer(id) {} catch { broken = true; }
        }
        for (uint8 i = 0; i < PARTIES; ++i) {
            if (flexibility.locked(party(i)) != 0) broken = true;
        }
    }

    function _device(uint256 seed) private pure returns (bytes16) {
        return bytes16(uint128(1 + seed % 2) << 120);
    }

    function _some(uint256 id, uint256 count) private pure returns (uint256) {
        return count == 0 ? 0 : id % count + 1;
    }
}

/// @notice The numbers are those of IFlexibility.
contract FlexibilityTest is PartiesTest {
    FlexibilityHandler private _handler;
    Flexibility private _flexibility;

    function setUp() public {
        _play(_handler = new FlexibilityHandler());
        _flexibility = _handler.flexibility();
    }

    function invariant_FX1_depositsAreTheBalance() public view {
        _depositsAreTheBalance();
    }

    function invariant_FX2_lockedIsReservesAndBonds() public view {
        uint256 locked = 0;
        for (uint256 who = 0; who < _handler.PARTIES(); ++who) locked += _flexibility.locked(_handler.party(who));
        uint256 held = 0;
        for (uint256 id = 1; id <= _flexibility.lastCall(); ++id) {
            IFlexibility.Call memory made = _flexibility.callOf(id);
            if (!made.settled) held += made.reserve;
        }
        for (uint256 id = 1; id <= _flexibility.lastOffer(); ++id) held += _flexibility.offer(id).terms.bond;
        require(locked == held);
    }

    function invariant_FX3_FX4_FX5_nothingBroken() public view {
        require(!_handler.broken());
    }
}
