// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {TradeSettlement} from "contracts/settlement/TradeSettlement.sol";
import {Clerk} from "contracts/agreements/Clerk.sol";
import {VirtualAggregator} from "contracts/agreements/VirtualAggregator.sol";
import {ITradeSettlement} from "contracts/interfaces/ITradeSettlement.sol";
import {IAgreement} from "contracts/interfaces/IAgreement.sol";
import {IDeposits} from "contracts/interfaces/IDeposits.sol";
import {IRounds} from "contracts/interfaces/IRounds.sol";
import {IVirtualAggregator} from "contracts/interfaces/IVirtualAggregator.sol";
import {Referee} from "contracts/referee/Referee.sol";
import {VM} from "./Cheats.sol";
import {Parties, PartiesTest} from "./Parties.sol";

/// @title What anybody may do with money, over rounds of three households that all trade with each other
/// @notice One time step, one Wh a unit of a bid: node 0 offers to sell 2 kWh to each of the others, node 1 sells 1 kWh to
///         node 2. Prices, readings, whose customer who is, and the order of things are the fuzzer's.
contract SettlementHandler is Parties {
    uint8 public constant NODES = 3; // parties are these, the suppliers, and an outsider
    uint8 public constant SUPPLIER = 3;
    uint8 public constant SUPPLIERS = 3; // the community's, another one, and one whose prices are beyond all sense
    uint256 private constant METER = 0xA11CE;
    uint32 private constant DAYS = 3;

    VirtualAggregator public immutable aggregator;
    TradeSettlement public immutable settlement;
    uint32 public last; // round
    mapping(uint32 round => mapping(uint8 node => IAgreement.Opening)) private _openings;
    mapping(uint32 round => mapping(uint8 lower => mapping(uint8 higher => bytes))) private _trades;
    mapping(uint32 round => mapping(address supplier => bytes)) private _tariffs;
    mapping(address account => uint256) public owes; // what deliveries and corrections left open, less what ended it
    uint256 public beyond; // what deliveries took above a household's limit
    mapping(uint32 day => uint32) private _paidIn;
    bool public paidTwice;
    uint256 public vouched; // pairs
    mapping(uint32 round => mapping(uint8 node => int256)) private _read; // Wh, settled
    mapping(uint32 round => bool) private _changed; // a reading was corrected
    bool public broken; // arrears have grown where they must not, or a stranger did what only parties may
    bool public dear; // somebody paid more, or got less, than its own supplier asks or pays, by a word of metering

    constructor() Parties(7, 1e7) {
        aggregator = new VirtualAggregator(new Clerk(
            IVirtualAggregator.Theta(NODES, 1, 1, 1000, 1000, 1000, 1000, 2),
            IVirtualAggregator.Setting(1, 3600, 1000, 100, 600, 1),
            new Referee()
        ));
        settlement = new TradeSettlement(
            IVirtualAggregator(aggregator), IERC20Metadata(address(token)), party(3), VM.addr(METER)
        );
        (uint8[] memory nodes, address[] memory accounts) = _nodes(NODES);
        aggregator.enrol(nodes, accounts);
        _endow(settlement);
        for (uint8 i = 1; i < SUPPLIERS; ++i) {
            VM.prank(VM.addr(METER));
            settlement.admitSupplier(party(SUPPLIER + i));
        }
    }

    function _pick(uint32 seed) private view returns (uint32) {
        return last == 0 ? 0 : last - seed % (last < 3 ? last : 3);
    }

    // ------------------------------------------------------------------ rounds

    /// @notice A whole round, of a day that may have been agreed; with a tariff, and an end, as it comes.
    function playRound(uint32 day, int32 import_, int32 feedIn, bool priced, bool agree) external {
        day = 1 + day % DAYS + (day % 2 == 0 ? 100 * (last + 1) : 0);
        uint32 agreed = aggregator.agreedIn(day);
        last = agreed == 0 ? aggregator.openRound(day) : aggregator.replaceRound(day, agreed);
        if (priced) {
            bytes memory prices = abi.encodePacked(import_ % 5_000_000, feedIn % 1_000_000);
            _publish(SUPPLIER, prices);
            uint48 peak = uint48(uint32(feedIn)) % 300_000;
            _publish(SUPPLIER + 1, abi.encodePacked(prices, import_ < 0 ? int32(0) : import_ % 100_000, peak));
            _publish(SUPPLIER + 2, abi.encodePacked(import_, feedIn));
        }
        for (uint8 node = 0; node < NODES; ++node) {
            VM.prank(party(node));
            aggregator.declare(last, node, 0, 0, 2, _book(node));
        }
        for (uint16 iteration = 1; iteration <= 2; ++iteration) {
            for (uint8 node = 0; node < NODES; ++node) _submit(node, iteration, agree ? 0 : 1 << 54);
        }
    }

    /// @dev One that was dismissed publishes nothing.
    function _publish(uint8 who, bytes memory tariff) private {
        if (!settlement.supplies(last, party(who))) return;
        _tariffs[last][party(who)] = tariff;
        VM.prank(party(who));
        settlement.publishTariff(last, tariff);
    }

    /// @notice A household asks for one of the suppliers, or for somebody else, and is accepted by one.
    function change(uint8 who, uint8 wished, uint8 accepts) external {
        address account = party(who % (SUPPLIER + SUPPLIERS));
        uint32 next = aggregator.progress().round + 1;
        address before = settlement.supplierIn(next - 1, account);
        VM.prank(account);
        settlement.wishSupplier(party(SUPPLIER + wished % 4));
        VM.prank(party(SUPPLIER + accepts % 4));
        settlement.supply(account);
        bool wrong = wished % 4 != accepts % 4 || wished % 4 == 3 || settlement.supplierIn(next - 1, account) != before;
        if (wrong || settlement.supplierIn(next, account) != party(SUPPLIER + wished % 4)) broken = true;
    }

    /// @notice Somebody says that a household is its customer no longer.
    function dismissCustomer(uint8 who, uint8 by) external {
        (address account, address caller) = (party(who % NODES), party(by));
        uint32 next = aggregator.progress().round + 1;
        (address now_, address then_) = (settlement.supplierIn(next - 1, account), settlement.supplierIn(next, account));
        VM.prank(caller);
        settlement.dismissCustomer(account);
        if (caller != then_ || settlement.supplierIn(next - 1, account) != now_) broken = true;
        if (settlement.supplierIn(next, account) != party(SUPPLIER)) broken = true;
    }

    /// @notice The manager, which is this contract, or somebody else dismisses a supplier: seldom, as it stays so.
    function dismissSupplier(uint8 who, uint8 by, uint16 seldom) external {
        address account = party(SUPPLIER + who % SUPPLIERS);
        if (by % 4 == 0 && seldom % 16 != 0) return;
        address caller = by % 4 == 0 ? address(this) : party(by);
        VM.prank(caller);
        settlement.dismissSupplier(account);
        if (caller != address(this) || account == party(SUPPLIER)) broken = true;
    }

    function _book(uint8 node) private pure returns (bytes memory) {
        (uint8 one, uint8 other) = node == 0 ? (1, 2) : node == 1 ? (0, 2) : (0, 1);
        return abi.encodePacked(one, uint8(1), uint8(0), other, uint8(1), uint8(0));
    }

    function _bids(uint8 node) private pure returns (bytes memory) {
        if (node == 0) return abi.encodePacked(int16(2000), int16(2000));
        return node == 1 ? abi.encodePacked(int16(-2000), int16(1000)) : abi.encodePacked(int16(-2000), int16(-1000));
    }

    function _submit(uint8 node, uint16 iteration, uint256 residuals) private {
        (bytes32 before,) = aggregator.commitment(last, node);
        _openings[last][node] =
            IAgreement.Opening(_book(node), _bids(node), before, keccak256(""), residuals);
        uint16 history = aggregator.progress().history;
        VM.prank(party(node));
        aggregator.submit(last, iteration, history, new uint256[](0), _bids(node), residuals);
    }

    function _statement(uint8 one, uint8 other, int32 price) private pure returns (bytes memory) {
        int32 energy = one == 1 || other == 1 ? (one == 0 || other == 0 ? int32(2000) : int32(1000)) : int32(2000);
        return abi.encodePacked(uint8(0), energy, price % 2_000_000);
    }

    // ------------------------------------------------------------------ money

    function holder() public view override returns (IDeposits) {
        return settlement;
    }

    function deposit(uint256 who, uint256 amount) public override {
        _watch(who);
        super.deposit(who, amount);
        _seen(who);
    }

    function state(uint32 round, uint8 node, uint8 partner, int32 price, bool empty) public {
        round = _pick(round);
        (node, partner) = (node % NODES, partner % NODES);
        bytes memory trades = empty ? bytes("") : _statement(node, partner, price);
        IAgreement.Statement[] memory said = new IAgreement.Statement[](1);
        said[0] = IAgreement.Statement(partner, trades, _openings[round][partner]);
        bool recordedBefore = settlement.recorded(round, node, partner) != 0;
        VM.prank(party(node));
        settlement.state(round, said, _openings[round][node]);
        if (recordedBefore || settlement.recorded(round, node, partner) == 0) return;
        (uint8 lower, uint8 higher) = node < partner ? (node, partner) : (partner, node);
        _trades[round][lower][higher] = trades;
        _paid(round);
    }

    /// @notice Both sides of a pair.
    function agree(uint32 round, uint8 node, uint8 partner, int32 price) external {
        this.state(round, node, partner, price, false);
        this.state(round, partner, node, price, false);
    }

    /// @notice One side states at a price of its own, and metering says another; at times somebody else does.
    function vouch(uint32 round, uint8 node, uint8 partner, int32 stated, int32 price, uint8 who) external {
        round = _pick(round);
        (node, partner) = (node % NODES, partner % NODES);
        if (who % 4 != 0) try this.state(round, node, partner, stated, false) {} catch {}
        (uint8 lower, uint8 higher) = node < partner ? (node, partner) : (partner, node);
        if (settlement.recorded(round, lower, higher) != 0) return;
        bytes memory tariff = _tariffOf(round, who % 3 == 0 ? lower : higher);
        if (who % 2 != 0 && tariff.length != 0) price = int32(uint32(bytes4(tariff)));
        _vouch(round, lower, higher, _statement(lower, higher, price), who % 8 == 0 ? party(who) : VM.addr(METER));
        if (who % 8 == 0) broken = true;
        if (settlement.recorded(round, lower, higher) == 0) return;
        ++vouched;
        if (!_isFair(round, lower, price) || !_isFair(round, higher, price)) dear = true;
        _paid(round);
        _seenGrown(lower);
        _seenGrown(higher);
    }

    /// @dev Whether a price is one that a household knows from its own supplier: between what it asks and pays.
    function _isFair(uint32 round, uint8 node, int32 price) private view returns (bool) {
        (int256 import_, int256 feedIn) = _pricesOf(round, node);
        price %= 2_000_000;
        return (price >= import_ || price >= feedIn) && (price <= import_ || price <= feedIn);
    }

    function _pricesOf(uint32 round, uint8 node) private view returns (int256 import_, int256 feedIn) {
        uint64 prices = uint64(bytes8(_tariffOf(round, node)));
        return (int32(uint32(prices >> 32)), int32(uint32(prices)));
    }

    function _vouch(uint32 round, uint8 lower, uint8 higher, bytes memory trades, address by) private {
        IAgreement.Statement[] memory said = new IAgreement.Statement[](1);
        said[0] = IAgreement.Statement(higher, trades, _openings[round][higher]);
        _trades[round][lower][higher] = trades;
        ITradeSettlement.Quote[] memory quotes = new ITradeSettlement.Quote[](2);
        for (uint8 i = 0; i < 2; ++i) {
            address supplier = settlement.supplierOf(round, i == 0 ? lower : higher);
            quotes[i] = ITradeSettlement.Quote(supplier, _tariffs[round][supplier]);
        }
        VM.prank(by);
        settlement.vouch(round, lower, said, _openings[round][lower], quotes);
    }

    function release(uint32 round, uint8 node, uint8 partner, uint256 wait) external {
        VM.warp(block.timestamp + wait % 900);
        VM.prank(party(node % NODES));
        settlement.release(_pick(round), partner % NODES);
    }

    function deliver(uint32 round, uint8 node, int32 energy) public {
        round = _pick(round);
        node %= NODES;
        bytes memory reading = abi.encodePacked(energy % 20_000);
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(METER, settlement.readingDigest(round, node, reading));
        bytes32 vs = bytes32(uint256(s) | uint256(v - 27) << 255);
        uint256 before = settlement.arrears(party(node)) + type(uint128).max - settlement.free(party(node));
        settlement.deliver(round, node, reading, _tariffOf(round, node), _positions(round, node), r, vs);
        _read[round][node] = energy % 20_000;
        uint256 most = settlement.debitLimit(round, party(node));
        uint256 taken = settlement.arrears(party(node)) + type(uint128).max - settlement.free(party(node));
        if (most != 0) most += _missing(round, node, energy % 20_000);
        if (most != 0 && taken > before && taken - before > most) beyond += taken - before - most;
        _paid(round);
        _seenGrown(node);
    }

    /// @dev What was sold and not fed in, or bought and not drawn, at the price that is worse, token units.
    function _missing(uint32 round, uint8 node, int256 read) private view returns (uint256) {
        int256 sold = 0;
        ITradeSettlement.Position[] memory positions = _positions(round, node);
        for (uint256 i = 0; i < positions.length; ++i) {
            bytes memory trades = positions[i].trades;
            int256 energy;
            assembly {
                energy := signextend(3, shr(216, mload(add(trades, 32))))
            }
            sold += node < positions[i].partner ? energy : -energy;
        }
        (int256 import_, int256 feedIn) = _pricesOf(round, node);
        int256 price = (sold > 0) == (import_ > feedIn) ? import_ : feedIn; // the higher where it sold, else the lower
        int256 missing = sold > 0 ? sold - (read > 0 ? read : int256(0)) : sold - (read < 0 ? read : int256(0));
        bool counts = sold > 0 ? missing > 0 && price > 0 : missing < 0 && price < 0;
        return counts ? uint256(missing * price + 999) / 1000 : 0;
    }

    /// @notice All households of a round.
    function deliverAll(uint32 round, int32[NODES] calldata energies) external {
        for (uint8 node = 0; node < NODES; ++node) this.deliver(round, node, energies[node]);
    }

    /// @notice What a round came to for all households together, token units, and the most that their readings are worth:
    ///         each for itself, or all together; where one has a limit, what their meters read. Not where they have several
    ///         suppliers, or one has not been delivered, or was corrected.
    function earned(uint32 round) external view returns (int256 payment, int256 most) {
        if (_changed[round]) return (0, 0);
        address supplier = settlement.supplierOf(round, 0);
        int256 together = 0;
        int256 metered = 0;
        bool limited = false;
        for (uint8 node = 0; node < NODES; ++node) {
            if (!settlement.delivered(round, node)) return (0, 0);
            limited = limited || settlement.debitLimit(round, party(node)) != 0;
            metered += _metered(round, _read[round][node]);
            if (settlement.supplierOf(round, node) != supplier) return (0, 0);
            payment += settlement.netPayment(round, node);
            most += _worth(round, _read[round][node]);
            together += _read[round][node];
        }
        together = _worth(round, together);
        if (together > most) most = together;
        if (limited) most = metered + 3000; // and a begun unit of each
        most = most / 1000 + (most % 1000 > 0 ? int256(1) : int256(0)); // token units, of 1e-9 currency
    }

    function _worth(uint32 round, int256 energy) private view returns (int256) {
        (int256 import_, int256 feedIn) = _pricesOf(round, 0);
        return energy * (energy > 0 ? feedIn : import_);
    }

    /// @dev What energy that a meter has read can be worth at the most.
    function _metered(uint32 round, int256 energy) private view returns (int256) {
        (int256 import_, int256 feedIn) = _pricesOf(round, 0);
        int256 price = (energy > 0) == (import_ > feedIn) ? import_ : feedIn;
        return energy * price > 0 ? energy * price : int256(0);
    }

    function correct(uint32 round, uint8 node, int32 energy, uint8 who) external {
        round = _pick(round);
        node %= NODES;
        uint256 before = settlement.arrears(party(node));
        ITradeSettlement.Position[] memory positions = _positions(round, node);
        bytes memory tariff = _tariffOf(round, node);
        address by = party(who % 2 == 0 ? node : who);
        VM.prank(by);
        settlement.correct(round, node, abi.encodePacked(energy % 8 * 1000), tariff, positions);
        _changed[round] = true;
        if (by != party(node) && by != settlement.supplierOf(round, node)) broken = true;
        if (settlement.arrears(party(node)) != before) _seenGrown(node);
    }

    function forgive(uint256 who, uint256 amount, uint256 by) external {
        _watch(who);
        (uint256 own, uint256 all) = (settlement.owed(party(who), party(by)), settlement.arrears(party(who)));
        VM.prank(party(by));
        settlement.forgive(party(who), amount % 1e8);
        if (settlement.arrears(party(who)) != all - (amount % 1e8 < own ? amount % 1e8 : own)) broken = true;
        _seen(who);
    }

    function limitDebit(uint256 who, uint224 most) external {
        VM.prank(party(who));
        settlement.limitDebit(most % 1e7);
    }

    // ------------------------------------------------------------------ what is remembered

    function _tariffOf(uint32 round, uint8 node) private view returns (bytes memory) {
        return _tariffs[round][settlement.supplierOf(round, node)];
    }

    function _positions(uint32 round, uint8 node) private view returns (ITradeSettlement.Position[] memory positions) {
        positions = new ITradeSettlement.Position[](settlement.positions(round, node));
        uint256 at = 0;
        for (uint8 partner = 0; partner < NODES; ++partner) {
            (uint8 lower, uint8 higher) = node < partner ? (node, partner) : (partner, node);
            if (settlement.recorded(round, lower, higher) == 0 || lower == higher) continue;
            positions[at++] = ITradeSettlement.Position(partner, _trades[round][lower][higher]);
        }
    }

    function _paid(uint32 round) private {
        uint32 day = aggregator.outcome(round).day;
        if (_paidIn[day] != 0 && _paidIn[day] != round) paidTwice = true;
        _paidIn[day] = round;
    }

    function _watch(uint256 who) private {
        if (!(settlement.arrears(party(who)) <= owes[party(who)])) broken = true;
    }

    function _seen(uint256 who) private {
        _watch(who);
        owes[party(who)] = settlement.arrears(party(who));
    }

    function _seenGrown(uint256 who) private {
        owes[party(who)] = settlement.arrears(party(who));
    }
}

/// @notice The numbers are those of ITradeSettlement.
contract SettlementTest is PartiesTest {
    SettlementHandler private _handler;
    TradeSettlement private _settlement;

    function setUp() public {
        _play(_handler = new SettlementHandler());
        _settlement = _handler.settlement();
    }

    function invariant_TS1_depositsAreTheBalance() public view {
        _depositsAreTheBalance();
    }

    function invariant_TS3_paymentsOfARoundSumToZero() public view {
        uint32 last = _handler.last();
        for (uint32 round = last > 6 ? last - 6 : 1; round <= last; ++round) {
            int256 sum = _settlement.supplierPayment(round);
            for (uint8 node = 0; node < _handler.NODES(); ++node) sum += _settlement.netPayment(round, node);
            require(sum == 0);
        }
    }

    function invariant_TS4_whoOwesHasNothingFree() public view {
        for (uint256 who = 0; who < _handler.NODES(); ++who) {
            address account = _handler.party(who);
            require(_settlement.arrears(account) == 0 || _settlement.free(account) == 0);
        }
    }

    function invariant_TS13_suppliersOweNothing() public view {
        for (uint256 who = 0; who < _handler.PARTIES(); ++who) {
            address account = _handler.party(who);
            bool supplies = who >= _handler.SUPPLIER() && who < _handler.SUPPLIER() + _handler.SUPPLIERS();
            require(!supplies || _settlement.arrears(account) == 0, "supplier");
        }
    }

    function invariant_TS15_arrearsAreOwedToSuppliers() public view {
        for (uint256 who = 0; who < _handler.PARTIES(); ++who) {
            address account = _handler.party(who);
            address[] memory creditors = _settlement.creditorsOf(account);
            uint256 together = 0;
            for (uint256 i = 0; i < creditors.length; ++i) {
                uint256 owed = _settlement.owed(account, creditors[i]);
                require(owed != 0, "listed");
                together += owed;
                for (uint256 k = 0; k < i; ++k) require(creditors[i] != creditors[k], "twice");
            }
            require(together == _settlement.arrears(account), "sum");
        }
    }

    function invariant_TS2_nobodyIsVouchedForBeyondItsOwnTariff() public view {
        require(!_handler.dear());
    }

    function invariant_TS9_aDayIsSettledByOneRound() public view {
        require(!_handler.paidTwice());
    }

    function invariant_TS10_aDeliveryTakesNoMoreThanTheLimit() public view {
        require(_handler.beyond() == 0);
    }

    function invariant_TS14_tradesEarnNothingFromTheSupplier() public view {
        uint32 last = _handler.last();
        for (uint32 round = last > 6 ? last - 6 : 1; round <= last; ++round) {
            (int256 payment, int256 most) = _handler.earned(round);
            require(payment <= most);
        }
    }

    function invariant_TS11_arrearsGrowByReadingsOnly() public view {
        require(!_handler.broken());
        for (uint256 who = 0; who < _handler.PARTIES(); ++who) {
            address account = _handler.party(who);
            require(_settlement.arrears(account) <= _handler.owes(account));
        }
    }
}
