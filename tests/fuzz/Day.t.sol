// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {Clerk} from "contracts/agreements/Clerk.sol";
import {VirtualAggregator} from "contracts/agreements/VirtualAggregator.sol";
import {Clearing} from "contracts/day/Clearing.sol";
import {DaySettlement} from "contracts/day/DaySettlement.sol";
import {IDayProducts} from "contracts/interfaces/IDayProducts.sol";
import {IDeposits} from "contracts/interfaces/IDeposits.sol";
import {IDaySettlement} from "contracts/interfaces/IDaySettlement.sol";
import {ITradeSettlement} from "contracts/interfaces/ITradeSettlement.sol";
import {IVirtualAggregator} from "contracts/interfaces/IVirtualAggregator.sol";
import {Referee} from "contracts/referee/Referee.sol";
import {TradeSettlement} from "contracts/settlement/TradeSettlement.sol";
import {VM} from "./Cheats.sol";
import {Parties, PartiesTest} from "./Parties.sol";

/// @title What anybody may do in days of three households and two suppliers with two steps
/// @notice Amounts, prices, readings, conditions and the order of things are the fuzzer's; so is who is silent.
contract DayHandler is Parties {
    uint8 public constant NODES = 3; // parties are these, the supplier, an outsider, and the supplier of node 2
    uint8 private constant SUPPLIER = 255;
    uint8 private constant OTHER = 5;
    uint16 private constant STEPS = 2;
    uint32 private constant STEP = 1000;
    uint256 private constant METER = 0xA11CE;
    uint256 private constant ORACLE = 0xB0B;

    DaySettlement public immutable ledger;
    IDayProducts public immutable products;
    uint32 public last; // day
    bool public broken; // something that must not happen

    bytes private _tariff;

    constructor() Parties(6, 1e8) {
        VirtualAggregator aggregator = new VirtualAggregator(new Clerk(
            IVirtualAggregator.Theta(NODES, 1, 1, 1000, 1000, 1000, 1000, 2),
            IVirtualAggregator.Setting(STEPS, 3600, 1000, 100, 600, 1),
            new Referee()
        ));
        IERC20Metadata money = IERC20Metadata(address(token));
        TradeSettlement trades = new TradeSettlement(aggregator, money, party(3), VM.addr(METER));
        Clearing clearing = new Clearing(trades, money, party(3));
        ledger = new DaySettlement(trades, money, party(3), VM.addr(METER), clearing);
        products = ledger.products();
        (uint8[] memory nodes, address[] memory accounts) = _nodes(NODES);
        aggregator.enrol(nodes, accounts);
        VM.prank(VM.addr(METER));
        trades.admitSupplier(party(OTHER));
        VM.prank(party(2));
        trades.wishSupplier(party(OTHER));
        VM.prank(party(OTHER));
        trades.supply(party(2));
        _endow(ledger);
    }

    // ------------------------------------------------------------------ the day

    /// @notice A day that some join.
    function openDay(uint256 seed, int32 one, int32 other, uint32 adder, uint64 lock) external {
        if (last != 0 && !ledger.standing(last).closed) return;
        uint32 day = last + 1;
        _tariff = abi.encodePacked(one % 500_000, other % 500_000, other % 300_000, one % 300_000);
        uint256 key = seed % 3;
        bytes memory shares = key == 2 ? abi.encodePacked(uint32(seed % 1e9), uint32(1e9 - seed % 1e9)) : bytes("");
        IDaySettlement.Terms memory terms = IDaySettlement.Terms(
            uint40(block.timestamp + 5 * STEP), STEP, 300, 300, IDaySettlement.Key(key),
            IDaySettlement.Pricing(seed / 3 % 2), adder % 500_000, 100, 0, seed % 5 == 0 ? 1000 : 1e12
        );
        VM.prank(party(3));
        ledger.openDay(day, terms, _tariff, shares, lock % 1e7);
        last = day;
        if (seed % 7 != 0) try this.supplyDay(one, other, adder, lock, seed % 3) {} catch {}
        for (uint8 node = 0; node < NODES; ++node) {
            if (seed >> node & 8 != 0) try this.join(node, lock >> node) {} catch {}
        }
    }

    /// @notice Another supplier, without fees, with fees on trades and the day's peak, or on that of a period.
    function supplyDay(int32 one, int32 other, uint32 fee, uint64 lock, uint256 kind) external {
        bytes memory tariff = abi.encodePacked(other % 400_000, one % 400_000, one % 300_000, other % 200_000);
        if (kind % 3 != 0) tariff = abi.encodePacked(tariff, int32(fee % 100_000), int32(fee % 3000), uint48(fee));
        if (kind % 3 == 2) tariff = abi.encodePacked(tariff, uint32(202_606));
        bytes32 terms = ledger.standing(last).terms;
        VM.prank(party(OTHER));
        ledger.supplyDay(last, terms, tariff, lock % 1e7);
    }

    function join(uint256 who, uint64 lock) external {
        // Before the prank, which is for the next call only.
        bytes32 terms = ledger.termsFor(last, party(who));
        VM.prank(party(who));
        ledger.join(last, terms, lock % 1e6);
    }

    function nominate(uint256 who, int32 energy, uint8 first) external {
        first %= uint8(STEPS);
        bytes memory energies =
            first == 0 ? abi.encodePacked(energy % 10_000, energy % 5000) : abi.encodePacked(energy % 10_000);
        VM.prank(party(who));
        ledger.nominate(last, first, energies);
    }

    function wait(uint256 seconds_) external {
        VM.warp(block.timestamp + seconds_ % 700);
    }

    function holder() public view override returns (IDeposits) {
        return ledger;
    }

    /// @notice DS5: whatever happened, anybody ends a day once its time is over.
    function endDay(uint256 seed) external {
        if (seed % 4 != 0) return;
        IDaySettlement.Standing memory now_ = ledger.standing(last);
        if (now_.index == 0 || now_.closed) return;
        VM.warp(ledger.startOf(last, STEPS) + 301);
        for (uint256 step = now_.next; step < STEPS; ++step) {
            try ledger.settleStep(last) {} catch { broken = true; }
        }
        try ledger.closeDay(last) {} catch { broken = true; }
        if (!ledger.standing(last).closed) broken = true;
        for (uint256 id = products.lastId(); id > 0 && id + 20 > products.lastId(); --id) {
            try products.endSpot(id) {} catch {}
            try products.endOption(id) {} catch {}
            try products.endForward(id) {} catch {}
            try products.settleForward(id) {} catch {}
        }
        // Nothing is open any longer, so nothing is locked.
        for (uint8 i = 0; i < PARTIES; ++i) {
            if (products.lastId() <= 20 && ledger.locked(party(i)) != 0) broken = true;
        }
    }

    // ------------------------------------------------------------------ products

    function spot(uint256 poster, uint256 taker, uint8 step, bool sells, uint32 energy, int32 price) external {
        VM.prank(party(poster % 4));
        uint256 id = products.postSpot(last, step % 2, sells, energy % 10_000, price % 500_000);
        VM.prank(party(taker % 4));
        products.takeSpot(id, energy % 10_000 - energy % 3);
    }

    function option(uint256 writer, uint256 buyer, uint8 step, uint32 energy, uint32 strike, uint64 money) external {
        uint40 until = uint40(ledger.gateOf(last, step % 2));
        VM.prank(party(writer % 4));
        uint256 id = products.writeOption(
            last, step % 2, energy % 10_000, strike % 500_000, money % 100_000, 1e7 + money % 1e6, until
        );
        VM.prank(party(buyer % 4));
        products.takeOption(id);
        if (money % 2 == 0) this.exercise(id, buyer % 4, energy % 10_000);
    }

    function exercise(uint256 id, uint256 who, uint32 energy) external {
        uint256 lastId = products.lastId();
        id = id > lastId && lastId != 0 ? id % lastId + 1 : id;
        VM.prank(party(who));
        products.exercise(id, energy);
    }

    function forward(uint256 proposer, uint256 taker, uint8 step, bool sells, uint32 energy, int32 base, int32 slope)
        external
    {
        uint40 until = uint40(ledger.gateOf(last, step % 2));
        int32 middle = base % 500_000;
        IDayProducts.Formula memory formula =
            IDayProducts.Formula(middle, slope, middle - 400_000, middle + 300_000, 20_000, VM.addr(ORACLE));
        VM.prank(party(proposer % 4));
        uint256 id = products.offerForward(last, step % 2, sells, energy % 10_000, formula, until);
        VM.prank(party(taker % 4));
        products.takeForward(id);
    }

    function report(uint8 step, int64 condition) external {
        uint256 start = ledger.startOf(last, step % 2);
        if (condition % 3 == 0 && block.timestamp < start) VM.warp(start);
        VM.prank(VM.addr(ORACLE));
        products.report(VM.addr(ORACLE), last, step % 2, condition, 0, 0);
    }

    function settleForward(uint256 id) external {
        uint256 lastId = products.lastId();
        products.settleForward(lastId == 0 ? 0 : id % lastId + 1);
    }

    function end(uint256 id, uint256 who, uint8 kind) external {
        uint256 lastId = products.lastId();
        id = lastId == 0 ? 0 : id % lastId + 1;
        VM.prank(party(who));
        if (kind % 3 == 0) products.endSpot(id);
        else if (kind % 3 == 1) products.endOption(id);
        else products.endForward(id);
    }

    // ------------------------------------------------------------------ delivery

    function read(uint128 nodes, uint256 energies, uint8 ahead) external {
        uint8 step = uint8(ledger.standing(last).next) + ahead % 2;
        nodes &= ledger.standing(last).members;
        uint256 end = ledger.startOf(last, uint256(step) + 1);
        if (energies % 2 == 0 && block.timestamp < end) VM.warp(end);
        bytes memory data;
        for (uint8 node = 0; node < NODES; ++node) {
            // forge-lint: disable-next-line(unsafe-typecast)
            int32 energy = int32(uint32(energies >> 32 * node)) % 10_000;
            if (nodes >> node & 1 != 0) data = abi.encodePacked(data, energy);
        }
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(METER, ledger.readingDigest(last, step, nodes, data));
        ledger.read(last, step, nodes, data, r, bytes32(uint256(s) | uint256(v - 27) << 255));
    }

    function settleStep(bool late) external {
        uint256 end = ledger.startOf(last, uint256(ledger.standing(last).next) + 1);
        if (late && block.timestamp < end + 301) VM.warp(end + 301);
        ledger.settleStep(last);
    }

    function closeDay() external {
        ledger.closeDay(last);
    }

    /// @notice What only the products may do.
    function meddle(uint256 who, uint256 amount, uint8 what) external {
        VM.prank(party(who));
        if (what % 3 == 0) ledger.unlockFor(party(who), amount);
        else if (what % 3 == 1) ledger.pay(party(who + 1), party(who), amount);
        else ledger.move(last, 0, 1, 0, amount);
        broken = true;
    }
}

/// @notice The numbers are those of IDaySettlement and IDayProducts.
contract DayTest is PartiesTest {
    DayHandler private _handler;
    DaySettlement private _ledger;

    function setUp() public {
        _play(_handler = new DayHandler());
        _ledger = _handler.ledger();
    }

    function invariant_DS1_depositsAreTheBalance() public view {
        _depositsAreTheBalance();
    }

    function invariant_DS5_everyDayEnds() public view {
        require(!_handler.broken());
    }

    /// @dev Balances of the day, and what covers positions of its steps to come.
    function _held() private view returns (uint256 held) {
        uint32 day = _handler.last();
        held = _ledger.balance(day, 255) + _ledger.balance(day, 254);
        for (uint8 node = 0; node < _handler.NODES(); ++node) {
            held += _ledger.balance(day, node);
            for (uint16 step = _ledger.standing(day).next; step < 2; ++step) {
                held += _ledger.coverOf(day, node, uint8(step), _ledger.position(day, node, uint8(step)));
            }
        }
    }

    function invariant_DS2_DP1_lockedIsWhatIsOpen() public view {
        uint256 locked = 0;
        for (uint256 who = 0; who < _handler.PARTIES(); ++who) locked += _ledger.locked(_handler.party(who));
        uint256 open = 0;
        IDayProducts products = _handler.products();
        for (uint256 id = 1; id <= products.lastId(); ++id) {
            open += products.spot(id).lock + products.option(id).collateral;
            open += products.forward(id).sellerLock + products.forward(id).buyerLock;
        }
        require(locked == open + _held());
    }
}
