// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Enrolment} from "./Enrolment.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Blocks} from "../libraries/Blocks.sol";
import {Books} from "../libraries/Books.sol";
import {Commitments} from "../libraries/Commitments.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {GRID_CONNECTION, MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Sizes} from "../libraries/Sizes.sol";
import {Tree} from "../libraries/Tree.sol";

/// @title How a round begins, goes on and ends
/// @notice The part of the virtual aggregator that knows nothing of submissions: declarations, the roster, the chain of
///         closed iterations, and who is out.
///
/// @dev Storage, besides Ownable's and Enrolment's.
///
/// | variable  | slots    | written                                                                                    |
/// |-----------|----------|--------------------------------------------------------------------------------------------|
/// | _theta    | 2        | by the constructor                                                                         |
/// | _setting  | 1        | by the constructor                                                                         |
/// | _progress | 1        | by each declaration, abstention and submission                                             |
/// | _roster   | 2        | when a round is opened and started, when a node goes out                                   |
/// | _closed   | 1        | when a round is opened and started, when an iteration is closed, when a node goes out      |
/// | _head     | 1        | when an iteration is closed                                                                |
/// | _tree     | 128 + 64 | by the node's declaration or abstention, when the round starts, when it misses or goes out |
/// | mappings  |          | _books: by each declaration or abstention; _outcomes: at the end of a round; agreedIn: at  |
/// |           |          | the end of one that converged, and when it is replaced                                     |
abstract contract Rounds is Enrolment {
    using Tree for Tree.Store;

    /// @dev The closed iterations of the round, and what the tests of convergence divide by. One storage slot.
    struct Closed {
        uint32 day; //       of the round
        uint16 iteration; // the last one; 0 before the first
        uint128 present; //  in it
        uint16 disturbed; // the last iteration in which a node was missing or excluded
        uint32 grid; //      scalars
        uint32 trade;
    }

    uint16 private constant MAX_STEPS = 192;

    uint16 private immutable _mu;
    uint16 private immutable _steps;
    uint32 private immutable _phaseSeconds;
    uint8 private immutable _maxMisses;
    uint256 private immutable _limits; // see Lanes
    uint256 private immutable _mostBids; // see Sizes
    uint256 internal immutable _words; //  of a block

    Theta private _theta;
    Setting private _setting;
    Progress internal _progress;
    Roster internal _roster;
    Closed private _closed;
    bytes32 private _head;
    Tree.Store internal _tree;

    mapping(uint32 round => bytes32[MAX_NODES]) internal _books;
    mapping(uint32 round => Outcome) private _outcomes;
    /// @inheritdoc IVirtualAggregator
    mapping(uint32 day => uint32 round) public agreedIn;

    constructor(Theta memory theta_, Setting memory setting_) Enrolment(theta_.n) {
        if (theta_.n == 0 || theta_.n > MAX_NODES) revert InvalidTheta("n", theta_.n);
        if (theta_.mu == 0) revert InvalidTheta("mu", 0);
        if (setting_.steps == 0 || setting_.steps > MAX_STEPS) revert InvalidTheta("steps", setting_.steps);
        if (setting_.stepSeconds == 0) revert InvalidTheta("stepSeconds", 0);
        if (setting_.powerResolutionMilliwatt == 0) revert InvalidTheta("powerResolutionMilliwatt", 0);
        if (setting_.voltageResolution == 0) revert InvalidTheta("voltageResolution", 0);
        if (setting_.phaseSeconds == 0) revert InvalidTheta("phaseSeconds", 0);
        if (setting_.maxMisses == 0) revert InvalidTheta("maxMisses", 0);

        _theta = theta_;
        _setting = setting_;
        _mu = theta_.mu;
        _steps = setting_.steps;
        _phaseSeconds = setting_.phaseSeconds;
        _maxMisses = setting_.maxMisses;
        _limits = Lanes.limits(theta_.epsPrimalGrid, theta_.epsDualGrid, theta_.epsPrimalTrade, theta_.epsDualTrade);
        _words = Lanes.words(setting_.steps);
        _mostBids = Sizes.bids(theta_.n);
        if (Sizes.households(theta_.n, _words) > Sizes.MOST_WORDS) revert TooLarge(theta_.n, setting_.steps);
    }

    // ------------------------------------------------------------------ opening and declaring

    /// @inheritdoc IVirtualAggregator
    function openRound(uint32 day) external onlyOwner returns (uint32 round) {
        if (agreedIn[day] != 0) revert DayAgreed(day, agreedIn[day]);
        return _openRound(day);
    }

    /// @inheritdoc IVirtualAggregator
    function replaceRound(uint32 day, uint32 agreed) external onlyOwner returns (uint32 round) {
        if (agreed == 0 || agreedIn[day] != agreed) revert DayAgreed(day, agreedIn[day]);
        delete agreedIn[day];
        round = _openRound(day);
        emit RoundReplaced(agreed, round);
    }

    function _openRound(uint32 day) private returns (uint32 round) {
        round = _nextRound();
        uint16 count = _enrolledCount();
        if (count == 0) revert NobodyEnrolled();
        uint40 deadline = _deadline();
        _store(Progress(round, 0, Phase.Declaring, deadline, 0, uint8(count), 0, 0));
        delete _roster;
        _closed = Closed(day, 0, 0, 0, 0, 0);
        emit RoundOpened(round, day, deadline);
    }

    /// @inheritdoc IVirtualAggregator
    function declare(
        uint32 round, uint8 parent, uint128 children, uint8 depth, uint16 bids, bytes calldata book
    ) external {
        (Progress memory progress_, uint8 node) = _heard(round);
        uint128 nodes = enrolled();
        Tree.check(node, parent, depth, children, nodes);
        if (bids != 0) _requireFew(bids, Books.capacity(book, nodes & ~Nodes.bit(node), _steps));

        _tree.write(node, msg.sender, Declaration(round, parent, depth, bids, children, 0, false));
        _books[round][node] = keccak256(book);
        emit Declared(round, node, parent, depth, children, bids, book);
        _startIfComplete(progress_);
    }

    /// @dev Limits are an average over bids, so there may be no more than can be meant; nor more than can be checked.
    function _requireFew(uint256 bids, uint256 most) private view {
        if (most > _mostBids) most = _mostBids;
        if (bids > most) revert TooManyBids(most, bids);
    }

    /// @inheritdoc IVirtualAggregator
    function abstain(uint32 round) external {
        (Progress memory progress_, uint8 node) = _heard(round);

        // It is its own parent but no root, so it has no place in any tree.
        _tree.write(node, msg.sender, Declaration(round, node, 1, 0, 0, 0, false));
        _tree.exclude(node);
        _books[round][node] = keccak256("");
        emit Abstained(round, node);
        _startIfComplete(progress_);
    }

    /// @dev Counts the caller as heard, once, while the round takes declarations.
    function _heard(uint32 round) private view returns (Progress memory progress_, uint8 node) {
        progress_ = _loaded();
        _requirePhase(progress_, round, Phase.Declaring);
        node = nodeOf(msg.sender);
        if (progress_.present & Nodes.bit(node) != 0) revert AlreadyDeclared(node);
        ++progress_.counter;
        progress_.present |= Nodes.bit(node);
    }

    function _startIfComplete(Progress memory progress_) private {
        if (progress_.counter == progress_.expected) _start(progress_);
        _store(progress_);
    }

    /// @dev Starts the round with those who have declared. Changes `progress_`, which the caller stores.
    function _start(Progress memory progress_) internal {
        (Roster memory roster_, uint256 blocks, uint256 bids) = _tree.settle(progress_.present);
        if (roster_.nodes == 0) return _end(progress_, Phase.Abandoned);
        _roster = roster_;
        // At most 128 * 258 blocks of 192 steps, and 128 * (2^16 - 1) bids.
        (_closed.grid, _closed.trade) = (uint32(blocks * _steps), uint32(bids));
        progress_.phase = Phase.Iterating;
        progress_.expected = uint8(Nodes.count(roster_.nodes));
        emit RoundStarted(progress_.round, roster_.nodes, roster_.lines, roster_.inner);
        _openIteration(progress_);
    }

    // ------------------------------------------------------------------ closing

    /// @dev Step 6, and on to the next iteration or the end. Changes `progress_`, which the caller stores.
    /// @param residuals sum of the four
    /// @param sums      of all blocks
    function _close(Progress memory progress_, uint256 residuals, uint256[] memory sums) internal {
        (uint32 round, uint16 iteration, uint128 present) = (progress_.round, progress_.iteration, progress_.present);
        bool complete = progress_.counter == progress_.expected;
        Closed memory closed = _closed;
        closed.iteration = iteration;
        closed.present = present;
        if (!complete) closed.disturbed = iteration;
        _closed = closed;
        bytes32 before = iteration == 1 ? bytes32(0) : _head;
        bytes32 hash = Commitments.closed(before, round, iteration, present, residuals, Lanes.hash(sums));
        _head = hash;
        progress_.history = uint16(uint256(hash));
        emit IterationClosed(round, iteration, present, residuals, hash, sums);

        if (!complete && _countMisses(progress_, _roster.active & ~present)) {
            _end(progress_, Phase.Abandoned);
        } else if (
            // Residuals concern the iteration before. Both have to be of all nodes that are not out, and of no other.
            iteration >= uint256(closed.disturbed) + 2 && Lanes.within(residuals, _limits, closed.grid, closed.trade)
        ) {
            _end(progress_, Phase.Converged);
        } else if (iteration >= _mu) {
            _end(progress_, Phase.Exhausted);
        } else {
            _openIteration(progress_);
        }
    }

    /// @return lost whether the round cannot go on
    function _countMisses(Progress memory progress_, uint128 absent) private returns (bool lost) {
        for (; absent != 0; absent = Nodes.withoutLowest(absent)) {
            uint8 node = Nodes.lowest(absent);
            if (_tree.miss(node) >= _maxMisses && _exclude(progress_, node, false)) lost = true;
        }
    }

    /// @dev Excludes a node that was proved false. Its copies stay in the sums of the open iteration, if they are there.
    /// @return lost whether the round cannot go on without it
    function _excludeProved(Progress memory progress_, uint8 node) internal returns (bool lost) {
        _closed.disturbed = progress_.iteration;
        return _exclude(progress_, node, true);
    }

    function _exclude(Progress memory progress_, uint8 node, bool proved) private returns (bool lost) {
        Declaration memory declared = declaration(node);
        _tree.exclude(node);
        _roster.active &= ~Nodes.bit(node);
        _closed.grid -= uint32(Blocks.count(declared) * _steps);
        _closed.trade -= declared.bids;
        --progress_.expected;
        if (progress_.present & Nodes.bit(node) != 0) --progress_.counter;
        emit Excluded(progress_.round, progress_.iteration, node, proved);
        return progress_.expected == 0 || (node == GRID_CONNECTION && declared.children != 0);
    }

    function _openIteration(Progress memory progress_) private {
        ++progress_.iteration;
        progress_.deadline = _deadline();
        progress_.counter = 0;
        progress_.present = 0;
        emit IterationOpened(progress_.round, progress_.iteration, progress_.deadline);
    }

    function _end(Progress memory progress_, Phase phase) internal {
        progress_.phase = phase;
        (uint16 iterations, bytes32 hash) = head();
        uint32 day = _closed.day;
        _outcomes[progress_.round] = Outcome(phase, iterations, _closed.present, day, hash);
        if (phase == Phase.Converged) agreedIn[day] = progress_.round;
        emit RoundEnded(progress_.round, phase, iterations);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IVirtualAggregator
    function theta() external view returns (Theta memory) {
        return _theta;
    }

    /// @inheritdoc IVirtualAggregator
    function setting() external view returns (Setting memory) {
        return _setting;
    }

    /// @inheritdoc IVirtualAggregator
    function progress() external view returns (Progress memory) {
        return _loaded();
    }

    /// @inheritdoc IVirtualAggregator
    function outcome(uint32 round) external view returns (Outcome memory) {
        return _outcomes[round];
    }

    /// @inheritdoc IVirtualAggregator
    function roster() external view returns (Roster memory) {
        return _roster;
    }

    /// @inheritdoc IVirtualAggregator
    function declaration(uint8 node) public view returns (Declaration memory declared) {
        _requireNodeInRange(node);
        // It fills in `declared`; the account is not needed.
        // slither-disable-next-line unused-return
        _tree.read(node, declared);
    }

    /// @inheritdoc IVirtualAggregator
    function head() public view returns (uint16 iteration, bytes32 hash) {
        iteration = _closed.iteration;
        return (iteration, iteration == 0 ? bytes32(0) : _head);
    }

    /// @inheritdoc IVirtualAggregator
    function scalars() external view returns (uint64 grid, uint64 trade) {
        return (_closed.grid, _closed.trade);
    }

    // ------------------------------------------------------------------ small things

    function _loaded() internal view returns (Progress memory) {
        return _progress;
    }

    function _store(Progress memory progress_) internal {
        _progress = progress_;
    }

    function _requirePhase(Progress memory progress_, uint32 round, Phase phase) internal pure {
        if (progress_.round != round) revert WrongRound(progress_.round, round);
        if (progress_.phase != phase) revert WrongPhase(progress_.phase);
    }

    function _nextRound() internal view override returns (uint32) {
        Progress memory progress_ = _loaded();
        if (progress_.phase == Phase.Declaring || progress_.phase == Phase.Iterating) revert WrongPhase(progress_.phase);
        return progress_.round + 1;
    }

    function _declaredIn(uint32 round, uint8 node) internal view override returns (bool) {
        return _books[round][node] != 0;
    }

    function _deadline() private view returns (uint40) {
        return uint40(block.timestamp) + _phaseSeconds;
    }
}
