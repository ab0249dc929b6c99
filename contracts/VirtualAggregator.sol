// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Enrolment} from "./Enrolment.sol";
import {IVirtualAggregator} from "./interfaces/IVirtualAggregator.sol";
import {Lanes} from "./libraries/Lanes.sol";
import {MAX_NODES, Nodes} from "./libraries/Nodes.sol";
import {Tree} from "./libraries/Tree.sol";

/// @title The virtual aggregator
/// @notice See IVirtualAggregator for what it does, its units and its invariants; Lanes for the packing. The owner is
///         the community manager.
///
/// @dev Storage.
///
/// | variable      | slots         | written                                                                         |
/// |---------------|---------------|---------------------------------------------------------------------------------|
/// | (Ownable)     | 2             | by the manager                                                                  |
/// | (Enrolment)   | 1 + 128       | between rounds; and a mapping of accounts                                       |
/// | _theta        | 2             | by the constructor                                                              |
/// | _setting      | 1             | by the constructor                                                              |
/// | _progress     | 1             | by each declaration and submission                                              |
/// | _closed       | 1             | when an iteration is closed                                                     |
/// | _edges        | 1             | by each declaration                                                             |
/// | _scalars      | 1             | by each declaration                                                             |
/// | _residuals    | 2             | by each submission, that of the iteration's parity                              |
/// | _declarations | 128           | by the node's declaration                                                       |
/// | _sums         | 2 x 3 x 128   | by each submission, those of the iteration's parity: P, Q, V of each node       |
/// |               | x 16          |                                                                                 |
/// | mappings      |               | _participants: by each declaration; _bidsHashes: by each submission;            |
/// |               |               | _outcomes: at the end of a round                                                |
///
/// Two parities, because slow readers still need the sums of iteration k while the first nodes submit for k + 1 (VA7).
/// Sums are never zeroed: the first holder of a block to submit overwrites what stands there, the others add. Which of
/// the two follows from `present` and the declared tree.
contract VirtualAggregator is Enrolment {
    /// @dev The last iteration that was closed; what readers of sums and residuals see.
    struct Closed {
        uint16 iteration;
        uint128 present;
    }

    struct Scalars {
        uint64 grid;
        uint64 trade;
    }

    uint16 private constant MAX_STEPS = 192;
    uint256 private constant MAX_WORDS = 16; // of MAX_STEPS

    uint256 private constant P = 0; // kinds of blocks
    uint256 private constant Q = 1;
    uint256 private constant V = 2;

    // of theta and setting, what every submission needs
    uint16 private immutable _steps;
    uint32 private immutable _phaseSeconds;
    uint256 private immutable _words; // of a block

    Theta private _theta;
    Setting private _setting;
    Progress private _progress;
    Closed private _closed;
    Tree.Edges private _edges;
    Scalars private _scalars;
    uint256[2] private _residuals;
    Declaration[MAX_NODES] private _declarations;
    uint256[MAX_WORDS][MAX_NODES][3][2] private _sums;

    mapping(uint32 round => mapping(address account => uint256 nodePlusOne)) private _participants;
    mapping(uint32 round => bytes32[MAX_NODES]) private _bidsHashes;
    mapping(uint32 round => Outcome) private _outcomes;

    constructor(Theta memory theta_, Setting memory setting_) Enrolment(theta_.n) {
        if (theta_.n == 0 || theta_.n > MAX_NODES) revert InvalidTheta("n", theta_.n);
        if (theta_.mu == 0) revert InvalidTheta("mu", 0);
        if (setting_.steps == 0 || setting_.steps > MAX_STEPS) revert InvalidTheta("steps", setting_.steps);
        if (setting_.stepSeconds == 0) revert InvalidTheta("stepSeconds", 0);
        if (setting_.powerResolutionMilliwatt == 0) revert InvalidTheta("powerResolutionMilliwatt", 0);
        if (setting_.voltageResolution == 0) revert InvalidTheta("voltageResolution", 0);
        if (setting_.phaseSeconds == 0) revert InvalidTheta("phaseSeconds", 0);

        _theta = theta_;
        _setting = setting_;
        _steps = setting_.steps;
        _phaseSeconds = setting_.phaseSeconds;
        _words = Lanes.words(setting_.steps);
    }

    // ------------------------------------------------------------------ between rounds

    /// @inheritdoc IVirtualAggregator
    function openRound(uint32 day) external onlyOwner returns (uint32 round) {
        _requireNoRound();
        uint16 count = _enrolledCount();
        if (count != _n) revert EnrolmentIncomplete(count, _n);
        round = _progress.round + 1;
        uint40 deadline = _deadline();
        _progress = Progress(round, 0, Phase.Declaring, deadline, 0, 0);
        delete _edges;
        delete _scalars;
        emit RoundOpened(round, day, deadline);
    }

    // ------------------------------------------------------------------ declaring

    /// @inheritdoc IVirtualAggregator
    function declare(
        uint32 round, uint8 parent, uint128 children, uint8 depth, uint16 bids, bytes calldata book
    ) external {
        Progress memory progress_ = _progress;
        _requirePhase(progress_, round, Phase.Declaring);
        uint8 node = nodeOf(msg.sender);
        if (progress_.present & Nodes.bit(node) != 0) revert AlreadyDeclared(node);

        Declaration memory declared = Declaration(round, parent, depth, bids, children);
        Tree.Edges memory edges = Tree.check(_declarations, _edges, node, declared, progress_.present, enrolled());
        _edges = edges;
        _declarations[node] = declared;
        _participants[round][msg.sender] = uint256(node) + 1;
        _scalars.grid += uint64(Tree.blocks(declared) * _steps);
        _scalars.trade += bids;
        ++progress_.counter;
        progress_.present |= Nodes.bit(node);
        emit Declared(round, node, parent, depth, children, bids, book);

        if (progress_.counter == _n) {
            // A node that named a parent which does not list it: everybody has declared, so nobody will.
            uint128 orphans = edges.joined & ~edges.listed;
            if (orphans != 0) {
                uint8 orphan = Nodes.lowest(orphans);
                revert TopologyMismatch(_declarations[orphan].parent, orphan);
            }
            delete _closed;
            progress_.phase = Phase.Iterating;
            _openIteration(progress_);
        }
        _progress = progress_;
    }

    // ------------------------------------------------------------------ iterating

    /// @inheritdoc IVirtualAggregator
    function submit(
        uint32 round, uint16 iteration, uint256[] calldata copies, bytes calldata bids, uint256 residuals_
    ) external {
        Progress memory progress_ = _progress;
        _requirePhase(progress_, round, Phase.Iterating);
        if (iteration != progress_.iteration) revert WrongIteration(progress_.iteration, iteration);
        uint8 node = nodeOf(msg.sender);
        if (progress_.present & Nodes.bit(node) != 0) revert AlreadySubmitted(node, iteration);
        Declaration memory declared = _declarations[node];
        uint256 length = Tree.blocks(declared) * _words;
        if (copies.length != length) revert LengthMismatch(length, copies.length);
        length = 2 * uint256(declared.bids);
        if (bids.length != length) revert LengthMismatch(length, bids.length);

        _addCopies(progress_, node, declared, copies);
        _addResiduals(progress_, residuals_);
        _bidsHashes[round][node] = keccak256(bids);
        ++progress_.counter;
        progress_.present |= Nodes.bit(node);
        emit Submitted(round, iteration, node, residuals_, bids);

        if (progress_.counter == _n) _closeIteration(progress_);
        _progress = progress_;
    }

    /// @dev Adds the node's blocks to the running sums. Others of a block's holders, if present, came first.
    function _addCopies(
        Progress memory progress_, uint8 node, Declaration memory declared, uint256[] calldata copies
    ) private {
        uint256[MAX_WORDS][MAX_NODES][3] storage sums = _sums[progress_.iteration & 1];
        uint128 present = progress_.present;
        uint256 at = 0;
        bool first;
        if (declared.depth != 0) {
            first = present & Nodes.bit(declared.parent) == 0;
            at = _addBlock(sums[P][node], copies, at, Lanes.ABOVE_POWER, first);
            at = _addBlock(sums[Q][node], copies, at, Lanes.ABOVE_POWER, first);
            if (declared.children != 0) {
                first = present & declared.children == 0;
                at = _addBlock(sums[V][node], copies, at, Lanes.ABOVE_VOLTAGE, first);
            }
        }
        uint128 rest = declared.children;
        for (uint8 child = 0; rest != 0; ++child) {
            if (rest & 1 != 0) {
                first = present & Nodes.bit(child) == 0;
                at = _addBlock(sums[P][child], copies, at, Lanes.ABOVE_POWER, first);
                at = _addBlock(sums[Q][child], copies, at, Lanes.ABOVE_POWER, first);
            }
            rest >>= 1;
        }
        if (declared.depth > 1) {
            uint8 parent = declared.parent;
            first = present & (_declarations[parent].children | Nodes.bit(parent)) == 0;
            _addBlock(sums[V][parent], copies, at, Lanes.ABOVE_VOLTAGE, first);
        }
    }

    /// @dev Adds the block that begins at word `at` of the copies; returns where the next one begins.
    function _addBlock(
        uint256[MAX_WORDS] storage sums, uint256[] calldata copies, uint256 at, uint256 above, bool first
    ) private returns (uint256 next) {
        // Indices are small, and no lane carries, by the number of holders (see Lanes).
        unchecked {
            next = at + _words;
            for (uint256 word = 0; at < next; ++word) {
                uint256 value = copies[at];
                if (value & above != 0) revert LaneOverflow(at, value);
                sums[word] = first ? value : sums[word] + value;
                ++at;
            }
        }
    }

    /// @dev The first submission overwrites. In the first iteration there is nothing to sum: no iterate came before.
    function _addResiduals(Progress memory progress_, uint256 residuals_) private {
        uint256 parity = progress_.iteration & 1;
        if (progress_.iteration == 1) {
            if (progress_.counter == 0) _residuals[parity] = 0;
            return;
        }
        if (residuals_ & Lanes.ABOVE_RESIDUAL != 0) revert ResidualOverflow(residuals_);
        // Cannot overflow: 128 nodes of at most 2^56 - 1 a lane.
        unchecked {
            _residuals[parity] = progress_.counter == 0 ? residuals_ : _residuals[parity] + residuals_;
        }
    }

    /// @inheritdoc IVirtualAggregator
    function closeOverdue() external {
        Progress memory progress_ = _progress;
        if (progress_.phase != Phase.Declaring && progress_.phase != Phase.Iterating) {
            revert WrongPhase(progress_.phase);
        }
        if (block.timestamp <= progress_.deadline) revert DeadlineNotPassed(progress_.deadline);
        if (progress_.phase == Phase.Declaring || progress_.counter == 0) {
            _endRound(progress_, Phase.Abandoned);
        } else {
            _closeIteration(progress_);
        }
        _progress = progress_;
    }

    /// @dev Step 6, and on to the next iteration or the end. Changes `progress_`, which the caller stores.
    function _closeIteration(Progress memory progress_) private {
        _closed = Closed(progress_.iteration, progress_.present);
        uint256 sums = _residuals[progress_.iteration & 1];
        emit IterationClosed(progress_.round, progress_.iteration, progress_.present, sums);

        // Residuals concern the iteration before, so the first one is not judged; and those of all nodes are needed.
        if (progress_.iteration > 1 && progress_.counter == _n && _withinLimits(sums)) {
            _endRound(progress_, Phase.Converged);
        } else if (progress_.iteration >= _theta.mu) {
            _endRound(progress_, Phase.Exhausted);
        } else {
            _openIteration(progress_);
        }
    }

    /// @dev All four, each against its own limit.
    function _withinLimits(uint256 sums) private view returns (bool) {
        Scalars memory count = _scalars;
        Theta memory limits = _theta;
        return Lanes.within(sums, 0, limits.epsPrimalGrid, count.grid)
            && Lanes.within(sums, 1, limits.epsDualGrid, count.grid)
            && Lanes.within(sums, 2, limits.epsPrimalTrade, count.trade)
            && Lanes.within(sums, 3, limits.epsDualTrade, count.trade);
    }

    function _openIteration(Progress memory progress_) private {
        ++progress_.iteration;
        progress_.deadline = _deadline();
        progress_.counter = 0;
        progress_.present = 0;
        emit IterationOpened(progress_.round, progress_.iteration, progress_.deadline);
    }

    function _endRound(Progress memory progress_, Phase phase) private {
        Closed memory closed = progress_.iteration == 0 ? Closed(0, 0) : _closed; // of this round
        progress_.phase = phase;
        _outcomes[progress_.round] = Outcome(phase, closed.iteration, closed.present);
        emit RoundEnded(progress_.round, phase, closed.iteration);
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
        return _progress;
    }

    /// @inheritdoc IVirtualAggregator
    function outcome(uint32 round) external view returns (Outcome memory) {
        return _outcomes[round];
    }

    /// @inheritdoc IVirtualAggregator
    function declaration(uint8 node) external view returns (Declaration memory) {
        _requireNodeInRange(node);
        return _declarations[node];
    }

    /// @inheritdoc IVirtualAggregator
    function nodeIn(uint32 round, address account) external view returns (uint8) {
        return _node(_participants[round][account], account);
    }

    /// @inheritdoc IVirtualAggregator
    function bidsHash(uint32 round, uint8 node) external view returns (bytes32) {
        _requireNodeInRange(node);
        return _bidsHashes[round][node];
    }

    /// @inheritdoc IVirtualAggregator
    function copiesLength(uint8 node) external view returns (uint256) {
        _requireNodeInRange(node);
        return Tree.blocks(_declarations[node]) * _words;
    }

    /// @inheritdoc IVirtualAggregator
    function scalars() external view returns (uint64 grid, uint64 trade) {
        return (_scalars.grid, _scalars.trade);
    }

    /// @inheritdoc IVirtualAggregator
    function coupling(uint8 node) external view returns (uint16, uint128, uint256[] memory) {
        return (_closed.iteration, _closed.present, _sumsOf(node, _closed.iteration));
    }

    /// @inheritdoc IVirtualAggregator
    function running(uint8 node) external view returns (uint16, uint128, uint256[] memory) {
        return (_progress.iteration, _progress.present, _sumsOf(node, _progress.iteration));
    }

    /// @dev The sums of a node's blocks in an iteration; zeros before the first.
    function _sumsOf(uint8 node, uint16 iteration) private view returns (uint256[] memory sums) {
        _requireNodeInRange(node);
        Declaration memory declared = _declarations[node];
        sums = new uint256[](Tree.blocks(declared) * _words);
        if (iteration == 0) return sums;

        uint256[MAX_WORDS][MAX_NODES][3] storage all = _sums[iteration & 1];
        uint256 at = 0;
        if (declared.depth != 0) {
            at = _readBlock(all[P][node], sums, at);
            at = _readBlock(all[Q][node], sums, at);
            if (declared.children != 0) at = _readBlock(all[V][node], sums, at);
        }
        for (uint128 rest = declared.children; rest != 0; rest = Nodes.withoutLowest(rest)) {
            uint8 child = Nodes.lowest(rest);
            at = _readBlock(all[P][child], sums, at);
            at = _readBlock(all[Q][child], sums, at);
        }
        if (declared.depth > 1) _readBlock(all[V][declared.parent], sums, at);
    }

    /// @inheritdoc IVirtualAggregator
    function residuals() external view returns (uint256) {
        return _closed.iteration == 0 ? 0 : _residuals[_closed.iteration & 1];
    }

    function _readBlock(uint256[MAX_WORDS] storage from, uint256[] memory to, uint256 at)
        private
        view
        returns (uint256 next)
    {
        next = at + _words;
        for (uint256 word = 0; at < next; ++word) to[at++] = from[word];
    }

    // ------------------------------------------------------------------ small things

    function _deadline() private view returns (uint40) {
        return uint40(block.timestamp) + _phaseSeconds;
    }

    function _requireNoRound() internal view override {
        Phase phase = _progress.phase;
        if (phase == Phase.Declaring || phase == Phase.Iterating) revert WrongPhase(phase);
    }

    function _requirePhase(Progress memory progress_, uint32 round, Phase phase) private pure {
        if (progress_.round != round) revert WrongRound(progress_.round, round);
        if (progress_.phase != phase) revert WrongPhase(progress_.phase);
    }
}
