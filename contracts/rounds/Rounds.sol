// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {IRounds} from "../interfaces/IRounds.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Members} from "./Member.sol";
import {Round} from "./Round.sol";
import {Seats} from "./Seats.sol";
import {Standing} from "./Standing.sol";

/// @title How a round begins, goes on and ends, whatever is agreed on in it
/// @notice The owner is the community manager. What agrees in rounds is built on this: it keeps the states (`_state`),
///         says which nodes of those that have declared can agree (`_settle`), when an iteration is closed, and whether
///         the nodes have agreed in it.
///
/// @dev Storage, besides Ownable's and the states.
///
/// | variable | slots       | written                                                                           |
/// |----------|-------------|-----------------------------------------------------------------------------------|
/// | _seats   | see Seats   | by the manager; when a round is opened and ended                                   |
/// | _said    | mapping     | by each declaration or abstention                                                 |
/// | _ended   | mapping     | 2 a round, at its end                                                             |
/// | _agreed  | mapping     | at the end of a round that converged, and when it is replaced                     |
abstract contract Rounds is IRounds, Ownable2Step {
    using Round for Round.State;
    using Round for Progress;
    using Round for Round.Closed;
    using Seats for Seats.Store;

    /// @dev How a round ended, and how often enrolment had changed before.
    struct Ended {
        Phase phase;
        uint16 iterations;
        uint128 present;
        uint32 day;
        uint32 changes;
        bytes32 head;
    }

    uint16 internal immutable _n;
    uint16 internal immutable _mu;
    /// @inheritdoc IOutcomes
    uint32 public immutable phaseSeconds;
    uint8 internal immutable _maxMisses;

    Seats.Store internal _seats;
    /// @dev keccak256 of what nodes declared; zero where a node neither declared nor abstained.
    mapping(uint32 round => bytes32[MAX_NODES]) internal _said;
    mapping(uint32 round => Ended) private _ended;
    mapping(uint256 label => uint32 round) private _agreed;

    /// @param n            accounts that can be enrolled
    /// @param mu           most iterations of a round
    /// @param phaseSeconds_ time for declaring, and for each iteration
    /// @param maxMisses    iterations that a node may miss before it is out
    constructor(uint16 n, uint16 mu, uint32 phaseSeconds_, uint8 maxMisses) Ownable(msg.sender) {
        if (n == 0 || n > MAX_NODES) revert InvalidTheta("n", n);
        if (mu == 0) revert InvalidTheta("mu", 0);
        if (phaseSeconds_ == 0) revert InvalidTheta("phaseSeconds", 0);
        if (maxMisses == 0) revert InvalidTheta("maxMisses", 0);
        (_n, _mu, phaseSeconds, _maxMisses) = (n, mu, phaseSeconds_, maxMisses);
    }

    // ------------------------------------------------------------------ what the agreement answers

    /// @dev The state of the current round of a product.
    function _state(uint8 product) internal view virtual returns (Round.State storage);

    /// @dev Which of the nodes that were heard stay, and what to remember of them all; and announces them.
    function _settle(uint32 round, uint128 heard) internal virtual returns (uint128 nodes, uint64 tally);

    /// @dev Has a round begin, or end: `_start` and `_record`, or who has them.
    function _begin(uint32 round) internal virtual;
    function _finish(uint32 round, Phase phase) internal virtual;

    /// @dev The terms of a node that has none, as it abstains: it cannot stay.
    function _noTerms(uint8 node) internal pure virtual returns (uint48);

    // ------------------------------------------------------------------ opening and declaring

    /// @param agreed the round that is replaced; 0 where the day was agreed in none
    /// @param tally  what the agreement begins with
    function _open(uint8 product, uint32 day, uint32 agreed, uint64 tally) internal returns (uint32 round) {
        uint256 label = Round.label(product, day);
        if (_agreed[label] != agreed) revert DayAgreed(day, _agreed[label]);
        Round.State storage state = _state(product);
        Progress memory last = state.progress();
        if (last.isRunning()) revert WrongPhase(last.phase);
        uint16 count = _seats.count;
        if (count == 0) revert NobodyEnrolled();
        round = state.next(product);
        uint40 deadline = _deadline();
        ++_seats.running;
        state.save(Progress(round, 0, Phase.Declaring, deadline, 0, uint8(count), 0, 0));
        (state.nodes, state.active) = (0, 0);
        state.closed = Round.Closed(day, 0, 0, 0, tally);
        emit RoundOpened(round, day, deadline);
        if (agreed == 0) return round;
        delete _agreed[label];
        emit RoundReplaced(agreed, round);
    }

    /// @inheritdoc IRounds
    function abstain(uint32 round) external {
        (Round.State storage state, Standing heard, uint8 node) = _heard(round);
        state.members[node] = Members.make(msg.sender, round, _noTerms(node)).excluded();
        _said[round][node] = keccak256("");
        emit Abstained(round, node);
        _startIfComplete(state, heard);
    }

    /// @dev Counts the caller as heard, once, while the round takes declarations. `_startIfComplete` stores it.
    function _heard(uint32 round) internal view returns (Round.State storage state, Standing heard, uint8 node) {
        state = _state(Round.product(round));
        heard = state.at(round, Phase.Declaring);
        node = _seats.numberOf(msg.sender);
        heard = heard.hear(node);
    }

    /// @dev Stores where the round stands.
    function _startIfComplete(Round.State storage state, Standing heard) internal {
        state.standing = heard;
        if (heard.isComplete()) _begin(heard.round());
    }

    /// @dev Starts a round with those who have declared.
    function _start(uint32 round) internal {
        Round.State storage state = _state(Round.product(round));
        Progress memory progress_ = state.progress();
        (uint128 nodes, uint64 tally) = _settle(round, progress_.present);
        if (nodes == 0) {
            _end(progress_, Phase.Abandoned);
        } else {
            (state.nodes, state.active) = (nodes, nodes);
            state.closed.tally = tally;
            progress_.phase = Phase.Iterating;
            progress_.expected = uint8(Nodes.count(nodes));
            _openIteration(progress_);
        }
        state.save(progress_);
    }

    // ------------------------------------------------------------------ iterating

    /// @dev On from a closed iteration, to the end or to the next one. Changes `progress_`, which the caller stores.
    function _goOn(Progress memory progress_, bool agreed) internal {
        if (agreed) _end(progress_, Phase.Converged);
        else if (progress_.iteration >= _mu) _end(progress_, Phase.Exhausted);
        else _openIteration(progress_);
    }

    function _openIteration(Progress memory progress_) internal {
        ++progress_.iteration;
        progress_.deadline = _deadline();
        progress_.counter = 0;
        progress_.present = 0;
        emit IterationOpened(progress_.round, progress_.iteration, progress_.deadline);
    }

    function _end(Progress memory progress_, Phase phase) internal {
        progress_.phase = phase;
        _finish(progress_.round, phase);
    }

    /// @dev Keeps what came of a round.
    function _record(uint32 round, Phase phase) internal {
        uint8 product = Round.product(round);
        Round.State storage state = _state(product);
        (uint16 iterations, bytes32 hash) = state.headOf();
        uint32 day = state.closed.day;
        _ended[round] = Ended(phase, iterations, state.closed.present, day, _seats.changes, hash);
        --_seats.running;
        if (phase == Phase.Converged) _agreed[Round.label(product, day)] = round;
        emit RoundEnded(round, phase, iterations);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IRounds
    function progress() external view returns (Progress memory) {
        return progressOf(0);
    }

    /// @inheritdoc IOutcomes
    function progressOf(uint8 product) public view returns (Progress memory) {
        return _state(product).progress();
    }

    /// @inheritdoc IRounds
    function head() external view returns (uint16 iteration, bytes32 hash) {
        return headOf(0);
    }

    /// @inheritdoc IRounds
    function headOf(uint8 product) public view returns (uint16 iteration, bytes32 hash) {
        return _state(product).headOf();
    }

    /// @inheritdoc IOutcomes
    function outcome(uint32 round) public view returns (Outcome memory) {
        Ended memory ended = _ended[round];
        return Outcome(ended.phase, ended.iterations, ended.present, ended.day, ended.head);
    }

    /// @inheritdoc IRounds
    function agreedIn(uint32 day) external view returns (uint32) {
        return agreedInOf(0, day);
    }

    /// @inheritdoc IOutcomes
    function agreedInOf(uint8 product, uint32 day) public view returns (uint32) {
        return _agreed[Round.label(product, day)];
    }

    /// @inheritdoc IRounds
    function nodeOf(address account) external view returns (uint8) {
        return _seats.numberOf(account);
    }

    /// @inheritdoc IRounds
    function accountOf(uint8 node) external view returns (address) {
        Seats.requireNode(node);
        return _seats.accounts[node];
    }

    /// @inheritdoc IRounds
    function enrolled() external view returns (uint128) {
        return _seats.nodes;
    }

    /// @inheritdoc IOutcomes
    function nodeIn(uint32 round, address account) external view returns (uint8 node) {
        node = _seats.nodeAfter(_changesBefore(round), account);
        if (!_hasSpoken(round, node)) revert NotEnrolled(account);
    }

    /// @inheritdoc IOutcomes
    function accountIn(uint32 round, uint8 node) public view returns (address) {
        Seats.requireNode(node);
        return _hasSpoken(round, node) ? _seats.accountAfter(_changesBefore(round), node) : address(0);
    }

    /// @dev Whether a node has declared or abstained in a round. Who was there at its end has.
    function _hasSpoken(uint32 round, uint8 node) private view returns (bool) {
        return _ended[round].present & Nodes.bit(node) != 0 || _said[round][node] != 0;
    }

    /// @dev While it runs, nothing has changed since it was opened.
    function _changesBefore(uint32 round) private view returns (uint32) {
        Ended storage ended = _ended[round];
        return ended.phase == Phase.None ? _seats.changes : ended.changes;
    }

    // ------------------------------------------------------------------ small things

    function _requireNoRoundRuns() internal view {
        if (_seats.running != 0) revert RoundsRun(_seats.running);
    }

    function _missedTooMany(Round.State storage state, uint8 node) internal returns (bool) {
        state.members[node] = state.members[node].missed();
        return state.members[node].misses() >= _maxMisses;
    }

    function _deadline() private view returns (uint40) {
        return uint40(block.timestamp) + phaseSeconds;
    }
}
