// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Clerk} from "contracts/agreements/Clerk.sol";
import {VirtualAggregator} from "contracts/agreements/VirtualAggregator.sol";
import {IReferee} from "contracts/interfaces/IReferee.sol";
import {IOutcomes} from "contracts/interfaces/IOutcomes.sol";
import {IVirtualAggregator} from "contracts/interfaces/IVirtualAggregator.sol";
import {Nodes} from "contracts/libraries/Nodes.sol";
import {VM} from "./Cheats.sol";

/// @dev Finds everybody guilty against whom there is any evidence: exclusions on proof come often.
contract Credulous is IReferee {
    bool public immutable seals;

    constructor(bool seals_) {
        seals = seals_;
    }

    function judge(IVirtualAggregator, uint32, uint8, bytes calldata evidence) external pure {
        if (evidence.length == 0) revert NotProved("evidence");
    }
}

/// @title What anybody may do to rounds and enrolment, in any order
/// @notice Seven accounts; nodes 0 to 5 can be enrolled. Half of what is declared and submitted fits, the rest is noise.
///         Rounds of two products go on beside each other.
contract RoundsHandler {
    uint8 public constant PEOPLE = 7;
    uint8 public constant PRODUCTS = 2;
    uint32 private constant DAYS = 4;
    uint16 private constant STEPS = 13;
    uint256 private constant WORDS = 2;

    VirtualAggregator public immutable aggregator;
    uint256 public calls; // that were not refused
    mapping(uint8 product => uint256) public lastOrder; // of round, phase and iteration
    string public broken; // what a handler saw that must not be: it reverts as refused calls do, so it only keeps it
    mapping(uint8 product => uint32) public seen; // rounds whose outcome is kept, as numbers within the product
    mapping(uint32 round => bytes32) public ended;
    mapping(uint32 round => uint16) public percentOf; // of theta's limits; 0 where they are theta's
    mapping(uint32 round => mapping(uint8 node => uint16)) public submittedIn; // the last iteration
    mapping(uint32 round => mapping(uint16 iteration => uint256[4])) private _told; // residuals by lane, summed

    constructor(bool sealed_) {
        IVirtualAggregator.Theta memory theta = IVirtualAggregator.Theta(6, 1, 1, 1000, 1000, 1000, 1000, 6);
        IVirtualAggregator.Setting memory setting = IVirtualAggregator.Setting(STEPS, 900, 10, 100, 600, 2);
        aggregator = new VirtualAggregator(new Clerk(theta, setting, new Credulous(sealed_)));
        uint8[] memory nodes = new uint8[](5);
        address[] memory accounts = new address[](5);
        for (uint8 i = 0; i < 5; ++i) (nodes[i], accounts[i]) = (i, person(i));
        aggregator.enrol(nodes, accounts);
    }

    function person(uint256 seed) public pure returns (address) {
        return address(uint160(0x1000 + seed % PEOPLE));
    }

    /// @dev Keeps what must never change, after every call.
    modifier watched() {
        _;
        ++calls;
        for (uint8 product = 0; product < PRODUCTS; ++product) _watch(product);
    }

    function _watch(uint8 product) private {
        IOutcomes.Progress memory progress = aggregator.progressOf(product);
        uint256 final_ = progress.phase >= IOutcomes.Phase.Converged ? 3 : uint256(progress.phase);
        uint256 order = uint256(progress.round) << 32 | final_ << 16 | progress.iteration;
        if (order < lastOrder[product]) broken = "VA3";
        lastOrder[product] = order;
        if (progress.round != 0 && progress.round >> 24 != product) broken = "product";
        uint32 first = uint32(product) << 24;
        for (uint32 round = first + seen[product] + 1; round <= progress.round; ++round) {
            IOutcomes.Outcome memory outcome = aggregator.outcome(round);
            if (outcome.phase == IOutcomes.Phase.None) break;
            ended[round] = state(round);
            seen[product] = round - first;
        }
    }

    /// @notice All that stands of a round.
    function state(uint32 round) public view returns (bytes32 hash) {
        hash = keccak256(abi.encode(aggregator.outcome(round)));
        for (uint8 node = 0; node < 6; ++node) {
            (bytes32 submissions, bytes32 book) = aggregator.commitment(round, node);
            hash = keccak256(abi.encode(hash, submissions, book, aggregator.accountIn(round, node)));
        }
    }

    // ------------------------------------------------------------------ the manager

    function enrol(uint8 node, uint256 seed) external watched {
        uint8[] memory nodes = new uint8[](1);
        address[] memory accounts = new address[](1);
        (nodes[0], accounts[0]) = (node % 8, person(seed));
        aggregator.enrol(nodes, accounts);
    }

    function expel(uint8 node) external watched {
        uint8[] memory nodes = new uint8[](1);
        nodes[0] = node % 8;
        aggregator.expel(nodes);
    }

    function open(uint8 product, uint32 day) external watched {
        product %= PRODUCTS;
        day = day % DAYS == 0 ? 1_000 + uint24(aggregator.progressOf(product).round) : day % DAYS;
        if (product == 0) aggregator.openRound(day);
        else aggregator.openRoundOf(product, day, 0);
    }

    function openWithin(uint8 product, uint32 day, uint16 percent) external watched {
        product %= PRODUCTS;
        day = 1_000 + uint24(aggregator.progressOf(product).round) + day % DAYS;
        uint32 round = aggregator.openRoundWithin(product, day, 0, percent);
        if (percent == 0 || percent > 10_000) broken = "limits";
        percentOf[round] = percent;
    }

    function replace(uint8 product, uint32 day) external watched {
        product %= PRODUCTS;
        day %= DAYS;
        uint32 agreed = aggregator.agreedInOf(product, day);
        uint32 other = aggregator.agreedInOf(1 - product, day);
        if (product == 0) aggregator.replaceRound(day, agreed);
        else aggregator.openRoundOf(product, day, agreed);
        if (aggregator.agreedInOf(product, day) != 0 || aggregator.agreedInOf(1 - product, day) != other) {
            broken = "VA13";
        }
    }

    // ------------------------------------------------------------------ the nodes

    function declareStar(uint8 product, uint256 who) external watched {
        uint8 node = aggregator.nodeOf(person(who));
        uint128 others = aggregator.enrolled() & ~uint128(1);
        _declare(product, who, 0, node == 0 ? others : 0, node == 0 ? 0 : 1, 0, "");
    }

    function declareAnything(
        uint8 product, uint256 who, uint8 parent, uint128 children, uint8 depth, uint16 bids, uint8 partner
    ) external watched {
        bytes memory book = abi.encodePacked(partner % 6, uint8(3), uint8(0), uint8(1), uint8(2));
        _declare(product, who, parent % 6, children & 0x3F, depth % 4, bids % 5, book);
    }

    function _declare(
        uint8 product, uint256 who, uint8 parent, uint128 children, uint8 depth, uint16 bids, bytes memory book
    ) private {
        uint32 round = aggregator.progressOf(product % PRODUCTS).round;
        VM.prank(person(who));
        aggregator.declare(round, parent, children, depth, bids, book);
    }

    function abstain(uint8 product, uint256 who) external watched {
        uint32 round = aggregator.progressOf(product % PRODUCTS).round;
        VM.prank(person(who));
        aggregator.abstain(round);
    }

    function submit(uint8 product, uint256 who, uint256 lanes, uint256 residuals) external watched {
        _submit(product, who, lanes, residuals);
    }

    function submitContent(uint8 product, uint256 who) external watched {
        _submit(product, who, 0, 0);
    }

    /// @notice Residuals that are just what the limits of the round allow, or one beyond them in some lane.
    function submitAtTheLimits(uint8 product, uint256 who, uint8 beyond) external watched {
        product %= PRODUCTS;
        uint32 round = aggregator.progressOf(product).round;
        uint256 residuals = 0;
        for (uint256 lane = 0; lane < 4; ++lane) {
            uint256 most = _most(product, round, lane) + (beyond % 8 == lane ? 1 : 0);
            uint256 told = _told[round][aggregator.progressOf(product).iteration][lane];
            if (most > told) residuals |= (most - told) << 64 * lane;
        }
        _submit(product, who, 0, residuals);
    }

    /// @dev What a sum of squares may be: (eps / 1000)^2 a scalar, times the square of the percent of them.
    function _most(uint8 product, uint32 round, uint256 lane) private view returns (uint256) {
        uint256 percent = percentOf[round] == 0 ? 100 : percentOf[round];
        (uint64 grid, uint64 trade) = aggregator.scalarsOf(product);
        return (1000 * percent) ** 2 * (lane < 2 ? trade : grid) / 1e10;
    }

    /// @dev A round that converges does so within its limits, and within them only.
    function _judge(uint8 product, IOutcomes.Progress memory before, uint256 residuals) private {
        uint256[4] storage told = _told[before.round][before.iteration];
        for (uint256 lane = 0; lane < 4; ++lane) told[lane] += uint64(residuals >> 64 * lane);
        if (aggregator.outcome(before.round).phase != IOutcomes.Phase.Converged) return;
        for (uint256 lane = 0; lane < 4; ++lane) {
            if (told[lane] > _most(product, before.round, lane)) broken = "converged beyond its limits";
        }
    }

    /// @dev All that are still expected: so that rounds converge, too.
    function submitAll(uint8 product) external watched {
        for (uint256 who = 0; who < PEOPLE; ++who) {
            try this.submitContent(product, who) {} catch {}
        }
    }

    /// @dev A round as it should be, up to some iteration: random calls alone seldom get that far.
    function playRound(uint8 product, uint32 day, uint256 iterations, bool star) external {
        try this.open(product, day) {} catch {}
        for (uint256 who = 0; who < PEOPLE; ++who) {
            if (star) try this.declareStar(product, who) {} catch {}
            else try this.declareAlone(product, who) {} catch {}
        }
        for (uint256 i = 0; i < iterations % 5; ++i) this.submitAll(product);
    }

    /// @dev A round with limits of its own, up to where it is just within them, or just not.
    function playAtTheLimits(uint8 product, uint32 day, uint16 percent, uint8 beyond) external {
        try this.openWithin(product, day, percent % 10_001) {} catch {}
        for (uint256 who = 0; who < PEOPLE; ++who) try this.declareStar(product, who) {} catch {}
        this.submitAll(product);
        for (uint256 who = 0; who < PEOPLE; ++who) try this.submitAtTheLimits(product, who, beyond) {} catch {}
    }

    function declareAlone(uint8 product, uint256 who) external watched {
        _declare(product, who, aggregator.nodeOf(person(who)), 0, 0, 0, "");
    }

    function _submit(uint8 product, uint256 who, uint256 lanes, uint256 residuals) private {
        product %= PRODUCTS;
        uint8 node = aggregator.nodeOf(person(who));
        uint256[] memory copies = new uint256[](aggregator.copiesLengthOf(product, node));
        for (uint256 i = 0; i < copies.length; ++i) copies[i] = lanes & 0xFFFF << 21 * (i % 12);
        bytes memory bids = new bytes(2 * aggregator.declarationOf(product, node).bids);
        IOutcomes.Progress memory before = aggregator.progressOf(product);
        IOutcomes.Progress memory other = aggregator.progressOf(1 - product);
        VM.prank(person(who));
        aggregator.submit(before.round, before.iteration, before.history, copies, bids, residuals);
        if (!(before.present & Nodes.bit(node) == 0)) broken = "VA1";
        submittedIn[before.round][node] = before.iteration;
        _judge(product, before, residuals);
        if (keccak256(abi.encode(other)) != keccak256(abi.encode(aggregator.progressOf(1 - product)))) {
            broken = "a round of another product moved";
        }
    }

    // ------------------------------------------------------------------ anyone

    function closeOverdue(uint8 product, uint256 wait) external watched {
        VM.warp(block.timestamp + wait % 1_200);
        if (product % PRODUCTS == 0) aggregator.closeOverdue();
        else aggregator.closeOverdueOf(product % PRODUCTS);
    }

    function accuse(uint8 product, uint8 node, bool evidence) external watched {
        product %= PRODUCTS;
        uint32 round = aggregator.progressOf(product).round;
        bool needed = node % 6 == 0 && aggregator.declarationOf(product, 0).children != 0;
        uint128 rest = aggregator.rosterOf(product).active & ~Nodes.bit(node % 6);
        aggregator.accuse(round, node % 6, evidence ? bytes("evidence") : bytes(""));
        bool abandoned = aggregator.outcome(round).phase == IOutcomes.Phase.Abandoned;
        if (!(abandoned == (needed || rest == 0))) broken = "VA10";
    }
}

/// @notice The numbers are those of IVirtualAggregator.
contract RoundsTest {
    RoundsHandler private _handler;
    VirtualAggregator private _aggregator;
    uint8 private _products;

    function setUp() public {
        _handler = new RoundsHandler(false);
        _aggregator = _handler.aggregator();
        _products = _handler.PRODUCTS();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_VA1_aNodeCountsOnce() public view {
        for (uint8 product = 0; product < _products; ++product) {
            IOutcomes.Progress memory progress = _aggregator.progressOf(product);
            if (progress.phase != IOutcomes.Phase.Iterating) continue;
            uint128 active = _aggregator.rosterOf(product).active;
            require(progress.counter == Nodes.count(progress.present & active), "counter");
            require(progress.expected == Nodes.count(active), "expected");
            require(progress.counter < progress.expected, "a complete iteration is open");
        }
    }

    function invariant_VA3_nothingRunsBackwards_norDidAHandlerSeeAFault() public view {
        require(bytes(_handler.broken()).length == 0, _handler.broken());
    }

    function invariant_VA4_aFinishedRoundNeverChanges() public view {
        for (uint8 product = 0; product < _products; ++product) {
            uint32 last = _handler.seen(product);
            for (uint32 number = last > 8 ? last - 8 : 1; number <= last; ++number) {
                uint32 round = uint32(product) << 24 | number;
                require(_handler.ended(round) == _handler.state(round));
            }
        }
    }

    function invariant_VA10_thereIsOneTree() public view {
        for (uint8 product = 0; product < _products; ++product) {
            IVirtualAggregator.Roster memory roster = _aggregator.rosterOf(product);
            if (_aggregator.progressOf(product).phase != IOutcomes.Phase.Iterating) continue;
            uint128 below = 0;
            for (uint8 node = 0; node < 6; ++node) {
                if (roster.nodes & Nodes.bit(node) == 0) continue;
                IVirtualAggregator.Declaration memory said = _aggregator.declarationOf(product, node);
                require(node == 0 || said.depth != 0 || said.children == 0, "a second root");
                require(below & said.children == 0, "a child of two");
                below |= said.children;
            }
            require(below == roster.lines, "lines are children");
        }
    }

    function invariant_VA13_aDayIsAgreedInARoundThatConverged() public view {
        for (uint8 product = 0; product < _products; ++product) {
            for (uint32 day = 1; day < 4; ++day) {
                uint32 round = _aggregator.agreedInOf(product, day);
                if (round == 0) continue;
                IOutcomes.Outcome memory outcome = _aggregator.outcome(round);
                require(outcome.phase == IOutcomes.Phase.Converged && outcome.day == day && round >> 24 == product);
            }
        }
    }

    function invariant_enrolment_isOneToOne() public view {
        uint128 enrolled = _aggregator.enrolled();
        for (uint8 node = 0; node < 8; ++node) {
            address account = _aggregator.accountOf(node);
            require((enrolled & Nodes.bit(node) != 0) == (account != address(0)), "seat");
            require(account == address(0) || _aggregator.nodeOf(account) == node, "both ways");
        }
        require(Nodes.count(enrolled) <= 6, "no more than n");
    }
}
