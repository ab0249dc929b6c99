// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {VirtualAggregator} from "contracts/agreements/VirtualAggregator.sol";
import {IReferee} from "contracts/interfaces/IReferee.sol";
import {IVirtualAggregator} from "contracts/interfaces/IVirtualAggregator.sol";
import {Nodes} from "contracts/libraries/Nodes.sol";
import {VM} from "./Cheats.sol";

/// @dev Finds everybody guilty against whom there is any evidence: exclusions on proof come often.
contract Credulous is IReferee {
    function judge(IVirtualAggregator, uint32, uint8, bytes calldata evidence) external pure {
        if (evidence.length == 0) revert NotProved("evidence");
    }
}

/// @title What anybody may do to rounds and enrolment, in any order
/// @notice Seven accounts; nodes 0 to 5 can be enrolled. Half of what is declared and submitted fits, the rest is noise.
contract RoundsHandler {
    uint8 public constant PEOPLE = 7;
    uint32 private constant DAYS = 4;
    uint16 private constant STEPS = 13;
    uint256 private constant WORDS = 2;

    VirtualAggregator public immutable aggregator;
    uint256 public calls; // that were not refused
    uint256 public lastOrder; // of round, phase and iteration
    string public broken; // what a handler saw that must not be: it reverts as refused calls do, so it only keeps it
    uint32 public seen; // rounds whose outcome is kept
    mapping(uint32 round => bytes32) public ended;

    constructor() {
        IVirtualAggregator.Theta memory theta = IVirtualAggregator.Theta(6, 1, 1, 1000, 1000, 1000, 1000, 6);
        IVirtualAggregator.Setting memory setting = IVirtualAggregator.Setting(STEPS, 900, 10, 100, 600, 2);
        aggregator = new VirtualAggregator(theta, setting, new Credulous());
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
        IVirtualAggregator.Progress memory progress = aggregator.progress();
        uint256 final_ = progress.phase >= IVirtualAggregator.Phase.Converged ? 3 : uint256(progress.phase);
        uint256 order = uint256(progress.round) << 32 | final_ << 16 | progress.iteration;
        if (order < lastOrder) broken = "VA3";
        lastOrder = order;
        for (uint32 round = seen + 1; round <= progress.round; ++round) {
            IVirtualAggregator.Outcome memory outcome = aggregator.outcome(round);
            if (outcome.phase == IVirtualAggregator.Phase.None) break;
            ended[round] = state(round);
            seen = round;
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

    function open(uint32 day) external watched {
        aggregator.openRound(day % DAYS == 0 ? 1_000 + aggregator.progress().round : day % DAYS);
    }

    function replace(uint32 day) external watched {
        day %= DAYS;
        aggregator.replaceRound(day, aggregator.agreedIn(day));
        if (!(aggregator.agreedIn(day) == 0)) broken = "VA13";
    }

    // ------------------------------------------------------------------ the nodes

    function declareStar(uint256 who) external watched {
        uint8 node = aggregator.nodeOf(person(who));
        uint128 others = aggregator.enrolled() & ~uint128(1);
        _declare(who, 0, node == 0 ? others : 0, node == 0 ? 0 : 1, 0, "");
    }

    function declareAnything(uint256 who, uint8 parent, uint128 children, uint8 depth, uint16 bids, uint8 partner)
        external
        watched
    {
        bytes memory book = abi.encodePacked(partner % 6, uint8(3), uint8(0), uint8(1), uint8(2));
        _declare(who, parent % 6, children & 0x3F, depth % 4, bids % 5, book);
    }

    function _declare(uint256 who, uint8 parent, uint128 children, uint8 depth, uint16 bids, bytes memory book) private {
        uint32 round = aggregator.progress().round;
        VM.prank(person(who));
        aggregator.declare(round, parent, children, depth, bids, book);
    }

    function abstain(uint256 who) external watched {
        uint32 round = aggregator.progress().round;
        VM.prank(person(who));
        aggregator.abstain(round);
    }

    function submit(uint256 who, uint256 lanes, uint256 residuals) external watched {
        _submit(who, lanes, residuals);
    }

    function submitContent(uint256 who) external watched {
        _submit(who, 0, 0);
    }

    /// @dev All that are still expected: so that rounds converge, too.
    function submitAll() external watched {
        for (uint256 who = 0; who < PEOPLE; ++who) {
            try this.submitContent(who) {} catch {}
        }
    }

    /// @dev A round as it should be, up to some iteration: random calls alone seldom get that far.
    function playRound(uint32 day, uint256 iterations, bool star) external {
        try this.open(day) {} catch {}
        for (uint256 who = 0; who < PEOPLE; ++who) {
            if (star) try this.declareStar(who) {} catch {}
            else try this.declareAlone(who) {} catch {}
        }
        for (uint256 i = 0; i < iterations % 5; ++i) this.submitAll();
    }

    function declareAlone(uint256 who) external watched {
        _declare(who, aggregator.nodeOf(person(who)), 0, 0, 0, "");
    }

    function _submit(uint256 who, uint256 lanes, uint256 residuals) private {
        uint8 node = aggregator.nodeOf(person(who));
        uint256[] memory copies = new uint256[](aggregator.copiesLength(node));
        for (uint256 i = 0; i < copies.length; ++i) copies[i] = lanes & 0xFFFF << 21 * (i % 12);
        bytes memory bids = new bytes(2 * aggregator.declaration(node).bids);
        IVirtualAggregator.Progress memory before = aggregator.progress();
        VM.prank(person(who));
        aggregator.submit(before.round, before.iteration, before.history, copies, bids, residuals);
        if (!(before.present & Nodes.bit(node) == 0)) broken = "VA1";
    }

    // ------------------------------------------------------------------ anyone

    function closeOverdue(uint256 wait) external watched {
        VM.warp(block.timestamp + wait % 1_200);
        aggregator.closeOverdue();
    }

    function accuse(uint8 node, bool evidence) external watched {
        uint32 round = aggregator.progress().round;
        bool needed = node % 6 == 0 && aggregator.declaration(0).children != 0;
        uint128 rest = aggregator.roster().active & ~Nodes.bit(node % 6);
        aggregator.accuse(round, node % 6, evidence ? bytes("evidence") : bytes(""));
        bool abandoned = aggregator.outcome(round).phase == IVirtualAggregator.Phase.Abandoned;
        if (!(abandoned == (needed || rest == 0))) broken = "VA10";
    }
}

/// @notice The numbers are those of IVirtualAggregator.
contract RoundsTest {
    RoundsHandler private _handler;
    VirtualAggregator private _aggregator;

    function setUp() public {
        _handler = new RoundsHandler();
        _aggregator = _handler.aggregator();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_VA1_aNodeCountsOnce() public view {
        IVirtualAggregator.Progress memory progress = _aggregator.progress();
        if (progress.phase != IVirtualAggregator.Phase.Iterating) return;
        uint128 active = _aggregator.roster().active;
        require(progress.counter == Nodes.count(progress.present & active), "counter");
        require(progress.expected == Nodes.count(active), "expected");
        require(progress.counter < progress.expected, "a complete iteration is open");
    }

    function invariant_VA3_nothingRunsBackwards_norDidAHandlerSeeAFault() public view {
        require(bytes(_handler.broken()).length == 0, _handler.broken());
    }

    function invariant_VA4_aFinishedRoundNeverChanges() public view {
        uint32 last = _handler.seen();
        for (uint32 round = last > 8 ? last - 8 : 1; round <= last; ++round) {
            require(_handler.ended(round) == _handler.state(round));
        }
    }

    function invariant_VA10_thereIsOneTree() public view {
        IVirtualAggregator.Roster memory roster = _aggregator.roster();
        if (_aggregator.progress().phase != IVirtualAggregator.Phase.Iterating) return;
        uint128 below = 0;
        for (uint8 node = 0; node < 6; ++node) {
            if (roster.nodes & Nodes.bit(node) == 0) continue;
            IVirtualAggregator.Declaration memory said = _aggregator.declaration(node);
            require(node == 0 || said.depth != 0 || said.children == 0, "a second root");
            require(below & said.children == 0, "a child of two");
            below |= said.children;
        }
        require(below == roster.lines, "lines are children");
    }

    function invariant_VA13_aDayIsAgreedInARoundThatConverged() public view {
        for (uint32 day = 1; day < 4; ++day) {
            uint32 round = _aggregator.agreedIn(day);
            if (round == 0) continue;
            IVirtualAggregator.Outcome memory outcome = _aggregator.outcome(round);
            require(outcome.phase == IVirtualAggregator.Phase.Converged && outcome.day == day);
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
