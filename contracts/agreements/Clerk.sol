// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IReferee} from "../interfaces/IReferee.sol";
import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {IRounds} from "../interfaces/IRounds.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Blocks} from "../libraries/Blocks.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {GRID_CONNECTION, Nodes} from "../libraries/Nodes.sol";
import {Questions} from "../libraries/Questions.sol";
import {RunningSums} from "../libraries/RunningSums.sol";
import {Sizes} from "../libraries/Sizes.sol";
import {Tree} from "../libraries/Tree.sol";
import {Round} from "../rounds/Round.sol";
import {Seats} from "../rounds/Seats.sol";
import {Consensus} from "./Consensus.sol";

/// @title The half of the virtual aggregator that works seldom
/// @notice What the manager calls, overdue phases, and false nodes. The virtual aggregator calls it by `delegatecall`: so
///         all of this happens to the aggregator's storage, in its name. What is called here directly happens to the
///         clerk's own storage, of which nobody reads anything but what it was created with.
///
///         It is created first, and checks what cannot be agreed with; the aggregator takes all that from it.
contract Clerk is Consensus {
    using Questions for Questions.Store;
    using Round for Round.State;
    using Round for IOutcomes.Progress;
    using RunningSums for RunningSums.Store;
    using Seats for Seats.Store;
    using Tree for Tree.Store;

    uint16 private constant MAX_STEPS = 192;
    uint16 private constant WHOLE = 100; // percent
    uint16 private constant MOST_PERCENT = 10_000;

    constructor(
        IVirtualAggregator.Theta memory theta_, IVirtualAggregator.Setting memory setting_, IReferee referee_
    ) Consensus(Constants(theta_, setting_, referee_)) {
        if (setting_.steps == 0 || setting_.steps > MAX_STEPS) revert InvalidTheta("steps", setting_.steps);
        if (setting_.stepSeconds == 0) revert InvalidTheta("stepSeconds", 0);
        if (setting_.powerResolutionMilliwatt == 0) revert InvalidTheta("powerResolutionMilliwatt", 0);
        if (setting_.voltageResolution == 0) revert InvalidTheta("voltageResolution", 0);
        if (Sizes.households(theta_.n, Lanes.words(setting_.steps)) > Sizes.MOST_WORDS) {
            revert IVirtualAggregator.TooLarge(theta_.n, setting_.steps);
        }
    }

    /// @notice What it was created with.
    function constants() external view returns (Constants memory) {
        return Constants(_theta, _setting, _referee);
    }

    // ------------------------------------------------------------------ the manager

    /// @inheritdoc IRounds
    function enrol(uint8[] calldata nodes, address[] calldata accounts) external onlyOwner {
        _requireNoRoundRuns();
        _seats.enrol(_n, nodes, accounts);
        // Where the first to submit could not pay for all fresh words.
        if (!_isLarge()) return;
        for (uint256 i = 0; i < nodes.length; ++i) _lane(0).sums.prepare(nodes[i], _words);
    }

    /// @inheritdoc IRounds
    function expel(uint8[] calldata nodes) external onlyOwner {
        _requireNoRoundRuns();
        _seats.expel(nodes);
    }

    /// @inheritdoc IRounds
    function openRound(uint32 day) external onlyOwner returns (uint32 round) {
        return _open(0, day, 0, _limited(WHOLE));
    }

    /// @inheritdoc IRounds
    function replaceRound(uint32 day, uint32 agreed) external onlyOwner returns (uint32 round) {
        if (agreed == 0) revert DayAgreed(day, agreedInOf(0, day));
        return _open(0, day, agreed, _limited(WHOLE));
    }

    /// @inheritdoc IRounds
    function openRoundOf(uint8 product, uint32 day, uint32 agreed) external onlyOwner returns (uint32 round) {
        return _openWithin(product, day, agreed, WHOLE);
    }

    /// @dev See IVirtualAggregator.
    function openRoundWithin(uint8 product, uint32 day, uint32 agreed, uint16 percent)
        external
        onlyOwner
        returns (uint32 round)
    {
        if (percent == 0 || percent > MOST_PERCENT) revert InvalidTheta("percent", percent);
        round = _openWithin(product, day, agreed, percent);
        emit IVirtualAggregator.LimitsSet(round, percent);
    }

    function _openWithin(uint8 product, uint32 day, uint32 agreed, uint16 percent) private returns (uint32 round) {
        if (product != 0 && _isLarge()) revert ProductTooLarge(product);
        return _open(product, day, agreed, _limited(percent));
    }

    /// @dev Whether the words of product 0 are written when nodes are enrolled. Those of other products never are.
    function _isLarge() private view returns (bool) {
        return Sizes.households(_n, _words) > Sizes.MOST_FRESH;
    }

    // ------------------------------------------------------------------ beginning and ending

    /// @notice Starts a round, of which the aggregator knows that it is complete.
    function start(uint32 round) external {
        _begin(round);
    }

    /// @notice Keeps what came of a round, of which the aggregator knows that it has ended.
    function record(uint32 round, Phase phase) external {
        _record(round, phase);
    }

    function _begin(uint32 round) internal override {
        _start(round);
    }

    function _finish(uint32 round, Phase phase) internal override {
        _record(round, phase);
    }

    // ------------------------------------------------------------------ overdue phases

    /// @inheritdoc IRounds
    function closeOverdue() external {
        _closeOverdue(0);
    }

    /// @inheritdoc IRounds
    function closeOverdueOf(uint8 product) external {
        _closeOverdue(product);
    }

    function _closeOverdue(uint8 product) private {
        Round.State storage state = _state(product);
        Progress memory progress_ = state.progress();
        if (!progress_.isRunning()) revert WrongPhase(progress_.phase);
        if (block.timestamp <= progress_.deadline) revert DeadlineNotPassed(progress_.deadline);
        if (progress_.phase == Phase.Declaring) return _begin(progress_.round);
        _closeAsItStands(state, progress_);
        state.save(progress_);
    }

    function _closeAsItStands(Round.State storage state, Progress memory progress_) private {
        Open memory open;
        open.progress = progress_;
        _read(open, _lane(progress_.round), true);
        uint128 absent = state.active & ~progress_.present;
        bool agreed = _close(open, state);
        if (_countMisses(state, progress_, absent)) _end(progress_, Phase.Abandoned);
        else _goOn(progress_, agreed);
    }

    /// @return lost whether the round cannot go on
    function _countMisses(Round.State storage state, Progress memory progress_, uint128 absent)
        private
        returns (bool lost)
    {
        for (; absent != 0; absent = Nodes.withoutLowest(absent)) {
            uint8 node = Nodes.lowest(absent);
            if (_missedTooMany(state, node) && _exclude(state, progress_, node, false)) lost = true;
        }
    }

    // ------------------------------------------------------------------ false nodes

    /// @dev See IVirtualAggregator. Its copies stay in the sums of the open iteration, if they are there.
    function accuse(uint32 round, uint8 node, bytes calldata evidence) external {
        Round.State storage state = _lane(round).round;
        Progress memory progress_ = state.load(round, Phase.Iterating);
        _requireActive(state, round, node);
        _referee.judge(IVirtualAggregator(address(this)), round, node, evidence);
        _prove(state, progress_, node);
    }

    /// @dev See IVirtualAggregator.
    function accuseOfSilence(uint32 round, uint8 node, uint16 about) external {
        Round.State storage state = _lane(round).round;
        Progress memory progress_ = state.load(round, Phase.Iterating);
        _requireActive(state, round, node);
        Round.Closed memory closed = state.closed;
        uint16 last = closed.present & Nodes.bit(node) != 0 ? closed.iteration : 0;
        if (progress_.present & Nodes.bit(node) != 0) last = progress_.iteration;
        if (!_questions[round].isOverdue(node, about, last)) revert IVirtualAggregator.StillTime(node, about);
        _prove(state, progress_, node);
    }

    function _requireActive(Round.State storage state, uint32 round, uint8 node) private view {
        Seats.requireNode(node);
        if (state.active & Nodes.bit(node) == 0) revert NotInRound(node, round);
    }

    /// @dev Takes a node out that was proved false, stores the progress.
    function _prove(Round.State storage state, Progress memory progress_, uint8 node) private {
        state.closed.disturbed = progress_.iteration;
        if (_exclude(state, progress_, node, true)) _end(progress_, Phase.Abandoned);
        else if (progress_.counter == progress_.expected) _closeAsItStands(state, progress_);
        state.save(progress_);
    }

    // ------------------------------------------------------------------ questions

    /// @dev See IVirtualAggregator.
    function ask(uint32 round, uint8 node, uint16 about) external {
        Round.State storage state = _lane(round).round;
        Progress memory progress_ = state.load(round, Phase.Iterating);
        uint8 asker = _seats.numberOf(msg.sender);
        _requireActive(state, round, asker);
        _requireActive(state, round, node);
        if (about == 0 || about >= state.closed.iteration || !_referee.seals()) {
            revert IVirtualAggregator.CannotAsk(node, about);
        }
        _questions[round].ask(asker, node, about, progress_.iteration);
        emit IVirtualAggregator.Asked(round, progress_.iteration, node, about);
    }

    /// @dev See IVirtualAggregator.
    function answer(uint32 round, uint16 about, bytes calldata told) external {
        Progress memory progress_ = _lane(round).round.load(round, Phase.Iterating);
        uint8 node = _seats.numberOf(msg.sender);
        _questions[round].answer(node, about, told);
        emit IVirtualAggregator.Answered(round, progress_.iteration, node, about, told);
    }

    // ------------------------------------------------------------------ going out

    /// @return lost whether the round cannot go on without it
    function _exclude(Round.State storage state, Progress memory progress_, uint8 node, bool proved)
        private
        returns (bool lost)
    {
        IVirtualAggregator.Declaration memory declared;
        // It fills in `declared`; the account is not needed.
        // slither-disable-next-line unused-return
        _lane(progress_.round).tree.read(state, node, declared);
        state.exclude(progress_, node);
        state.closed.tally -= _tally(Blocks.count(declared), declared.bids);
        emit Excluded(progress_.round, progress_.iteration, node, proved);
        return progress_.expected == 0 || (node == GRID_CONNECTION && declared.children != 0);
    }
}
