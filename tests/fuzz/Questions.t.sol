// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {VirtualAggregator} from "contracts/agreements/VirtualAggregator.sol";
import {IOutcomes} from "contracts/interfaces/IOutcomes.sol";
import {Nodes} from "contracts/libraries/Nodes.sol";
import {VM} from "./Cheats.sol";
import {RoundsHandler} from "./Rounds.t.sol";

/// @title The same, where rounds are sealed: nodes ask each other, answer, and go on without an answer
/// @notice Keeps its own books of who was asked what and when, and compares: what the contract takes, and what it refuses.
contract QuestionsHandler is RoundsHandler {
    uint256 private constant MOST = 3;
    uint256 private constant PATIENCE = 2;

    mapping(bytes32 place => uint16) private _askedIn; // 0: never asked
    mapping(bytes32 place => uint240) private _told; // 0: no answer yet
    mapping(uint32 round => mapping(uint8 asker => uint256)) private _asked;
    uint256 public questions;
    uint256 public answers;
    uint256 public silent; // nodes that were out for it

    constructor() RoundsHandler(true) {}

    function _place(uint32 round, uint8 node, uint16 about) private pure returns (bytes32) {
        return keccak256(abi.encode(round, node, about));
    }

    /// @dev All that are still expected, with residuals that let no round end.
    function submitFar(uint8 product) external {
        uint256 residuals = 2 ** 55 | 2 ** 119 | 2 ** 183 | 2 ** 247;
        for (uint256 who = 0; who < PEOPLE; ++who) try this.submit(product, who, 0, residuals) {} catch {}
    }

    /// @notice A round in which somebody is asked, answers or does not, and goes on: random calls alone seldom get there.
    function playAndAsk(uint8 product, uint32 day, uint256 who, uint8 node, uint8 acts) external {
        product %= PRODUCTS;
        try this.open(product, day) {} catch {}
        for (uint256 one = 0; one < PEOPLE; ++one) try this.declareStar(product, one) {} catch {}
        for (uint256 i = 0; i < 2; ++i) this.submitFar(product);
        uint16 about = 1 + acts % 2;
        try this.ask(product, who, node, about) {} catch {}
        if (acts & 4 == 0) try this.answer(product, node % 6, about, abi.encode(acts)) {} catch {}
        for (uint256 i = 0; i < acts >> 3 & 3; ++i) this.submitFar(product);
        try this.accuseOfSilence(product, node, about) {} catch {}
    }

    function ask(uint8 product, uint256 who, uint8 node, uint16 about) external watched {
        product %= PRODUCTS;
        IOutcomes.Progress memory progress = aggregator.progressOf(product);
        (node, about) = (node % 6, about % (progress.iteration + 1));
        uint8 asker = aggregator.nodeOf(person(who));
        bytes32 place = _place(progress.round, node, about);
        uint128 both = Nodes.bit(asker) | Nodes.bit(node);
        bool may = progress.phase == IOutcomes.Phase.Iterating && aggregator.rosterOf(product).active & both == both
            && about != 0 && about + 1 < progress.iteration && _askedIn[place] == 0
            && _asked[progress.round][asker] < MOST;
        VM.prank(person(who));
        try aggregator.ask(progress.round, node, about) {
            if (!may) broken = "VA15: asked";
            _askedIn[place] = progress.iteration;
            ++_asked[progress.round][asker];
            ++questions;
        } catch {
            if (may) broken = "VA15: could not ask";
        }
        _compare(progress.round, node, about);
    }

    function answer(uint8 product, uint256 who, uint16 about, bytes calldata told) external watched {
        product %= PRODUCTS;
        IOutcomes.Progress memory progress = aggregator.progressOf(product);
        about %= progress.iteration + 1;
        uint8 node = aggregator.nodeOf(person(who));
        bytes32 place = _place(progress.round, node, about);
        bool may = progress.phase == IOutcomes.Phase.Iterating && _askedIn[place] != 0 && _told[place] == 0;
        VM.prank(person(who));
        try aggregator.answer(progress.round, about, told) {
            if (!may) broken = "VA15: answered";
            _told[place] = uint240(uint256(keccak256(told)));
            ++answers;
        } catch {
            if (may) broken = "VA15: could not answer";
        }
        _compare(progress.round, node, about);
    }

    function accuseOfSilence(uint8 product, uint8 node, uint16 about) external watched {
        product %= PRODUCTS;
        IOutcomes.Progress memory progress = aggregator.progressOf(product);
        (node, about) = (node % 6, about % (progress.iteration + 1));
        bytes32 place = _place(progress.round, node, about);
        bool active = aggregator.rosterOf(product).active & Nodes.bit(node) != 0;
        uint256 last = submittedIn[progress.round][node];
        bool heard = last != 0 && last + 1 >= progress.iteration;
        bool may = progress.phase == IOutcomes.Phase.Iterating && active && _askedIn[place] != 0 && _told[place] == 0
            && heard && last >= _askedIn[place] + PATIENCE;
        try aggregator.accuseOfSilence(progress.round, node, about) {
            if (!may) broken = "VA15: out without a question";
            if (aggregator.rosterOf(product).active & Nodes.bit(node) != 0) broken = "VA15: not out";
            ++silent;
        } catch {
            if (may) broken = "VA15: not out for silence";
        }
    }

    /// @notice Nobody moves a round by asking: what stands of a question is what was asked and told.
    function _compare(uint32 round, uint8 node, uint16 about) private {
        bytes32 place = _place(round, node, about);
        (uint16 askedIn, uint240 told) = aggregator.question(round, node, about);
        if (askedIn != _askedIn[place] || told != _told[place]) broken = "VA15: question";
    }
}

/// @notice The numbers are those of IVirtualAggregator.
contract QuestionsTest {
    QuestionsHandler private _handler;

    function setUp() public {
        _handler = new QuestionsHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_VA15_questionsAreAsTheBooksHaveThem() public view {
        require(bytes(_handler.broken()).length == 0, _handler.broken());
    }
}
