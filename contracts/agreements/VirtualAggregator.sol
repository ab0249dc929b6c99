// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IReferee} from "../interfaces/IReferee.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Blocks} from "../libraries/Blocks.sol";
import {Commitments} from "../libraries/Commitments.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {RunningSums} from "../libraries/RunningSums.sol";
import {Sizes} from "../libraries/Sizes.sol";
import {Tree} from "../libraries/Tree.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Rounds} from "../rounds/Rounds.sol";

/// @title The virtual aggregator
/// @notice See IVirtualAggregator for what it does, its units and its invariants; Lanes for the packing; Rounds for what
///         happens when an iteration is closed. The owner is the community manager.
///
/// @dev Storage, besides that of Rounds.
///
/// | variable     | slots    | written                                                                       |
/// |--------------|----------|-------------------------------------------------------------------------------|
/// | _residuals   | 1        | by each call that does not close the iteration                                |
/// | _sums        | 256 x 32 | the same: the words of the blocks of which a copy came                        |
/// | _commitments | mapping  | by each submission                                                            |
///
/// Sums and residuals are never zeroed: the first to submit overwrites what stands there.
contract VirtualAggregator is Rounds, TypedData {
    using RunningSums for RunningSums.Store;
    using Tree for Tree.Store;

    /// @dev The open iteration, as a call found it and changes it.
    struct Open {
        Progress progress;
        uint128 before; //     present when the call began
        uint256 residuals; //  sum of the four
        bytes32 head; //       that relayed submissions build on
        bool forwarded; //     the call may not stand in the calldata of a transaction to this contract
        // in a call that may close the iteration, else empty:
        uint256[] places; //   see Blocks
        uint256[] sums; //     of all blocks
    }

    bytes32 private constant RELAYED_TYPEHASH = keccak256(
        "Relayed(Submission submission,bytes32 head)"
        "Submission(uint32 round,uint16 iteration,uint8 node,uint256[] copies,bytes bids,uint256 residuals)"
    );

    /// @inheritdoc IVirtualAggregator
    IReferee public immutable referee;

    uint256 private _residuals;
    RunningSums.Store private _sums;
    // Written through a storage reference.
    // slither-disable-next-line uninitialized-state
    mapping(uint32 round => bytes32[MAX_NODES]) private _commitments;

    constructor(Theta memory theta_, Setting memory setting_, IReferee referee_)
        Rounds(theta_, setting_)
        TypedData("gridpact", "1")
    {
        referee = referee_;
    }

    // ------------------------------------------------------------------ submitting

    /// @inheritdoc IVirtualAggregator
    function submit(
        uint32 round,
        uint16 iteration,
        uint16 history,
        uint256[] calldata copies,
        bytes calldata bids,
        uint256 residuals
    ) external {
        Open memory open;
        _open(open, round, iteration, 1);
        if (history != open.progress.history) revert WrongHistory(open.progress.history, history);
        uint8 node = nodeOf(msg.sender);
        Declaration memory declared;
        // It fills in `declared`; the account is not needed.
        // slither-disable-next-line unused-return
        _tree.read(node, declared);
        bytes memory flaw = _flaw(open.progress, node, declared, copies, bids, residuals);
        if (flaw.length != 0) _revert(flaw);
        _accept(open, node, _hash(open.progress, node, copies, bids, residuals), bids, residuals);
        _add(open, node, declared, copies);
        _save(open);
    }

    /// @inheritdoc IVirtualAggregator
    function relay(uint32 round, uint16 iteration, Signed[] calldata batch) external {
        Open memory open;
        _open(open, round, iteration, batch.length);
        (, open.head) = head();
        Declaration memory declared;
        for (uint256 i = 0; i < batch.length; ++i) _relayOne(open, declared, batch[i]);
        _save(open);
    }

    /// @param declared memory to use
    function _relayOne(Open memory open, Declaration memory declared, Signed calldata part) private {
        (uint8 node, uint256[] calldata copies, bytes calldata bids) = (part.node, part.copies, part.bids);
        uint256 residuals = part.residuals;
        address account = _tree.read(node & (MAX_NODES - 1), declared);
        bytes memory flaw = _flaw(open.progress, node, declared, copies, bids, residuals);
        if (flaw.length == 0) {
            bytes32 hash = _hash(open.progress, node, copies, bids, residuals);
            // Where recovery fails the author is nobody.
            // slither-disable-next-line unused-return
            (address author,,) = ECDSA.tryRecover(_relayed(hash, open.head), part.r, part.vs);
            if (author == account) {
                _accept(open, node, hash, bids, residuals);
                _add(open, node, declared, copies);
                return;
            }
            flaw = abi.encodeWithSelector(WrongSignature.selector, node);
        }
        emit Skipped(open.progress.round, open.progress.iteration, node, flaw);
    }

    /// @return what keeps the submission from counting, as an encoded custom error; empty if nothing does
    function _flaw(
        Progress memory progress_,
        uint8 node,
        Declaration memory declared,
        uint256[] calldata copies,
        bytes calldata bids,
        uint256 residuals
    ) private view returns (bytes memory) {
        if (node >= MAX_NODES) return abi.encodeWithSelector(NodeOutOfRange.selector, node);
        if (declared.round != progress_.round || declared.out) {
            return abi.encodeWithSelector(NotInRound.selector, node, progress_.round);
        }
        if (progress_.present & Nodes.bit(node) != 0) {
            return abi.encodeWithSelector(AlreadySubmitted.selector, node, progress_.iteration);
        }
        uint256 length = _length(declared);
        if (copies.length != length) return abi.encodeWithSelector(LengthMismatch.selector, length, copies.length);
        length = 2 * uint256(declared.bids);
        if (bids.length != length) return abi.encodeWithSelector(LengthMismatch.selector, length, bids.length);
        uint256 at = Blocks.overflow(declared, copies, _words);
        if (at != copies.length) return abi.encodeWithSelector(LaneOverflow.selector, at, copies[at]);
        // The first iteration follows no other, so its residuals are about nothing, and ignored.
        if (progress_.iteration != 1 && residuals & Lanes.ABOVE_RESIDUAL != 0) {
            return abi.encodeWithSelector(ResidualOverflow.selector, residuals);
        }
        return "";
    }

    /// @dev Takes a submission in, but for its copies.
    function _accept(Open memory open, uint8 node, bytes32 hash, bytes calldata bids, uint256 residuals) private {
        (uint32 round, uint16 iteration) = (open.progress.round, open.progress.iteration);
        bytes32[MAX_NODES] storage commitments = _commitments[round];
        hash = Commitments.extended(commitments[node], hash);
        commitments[node] = hash;
        emit Submitted(round, iteration, node, residuals, hash, bids);
        // Neither the lanes (see Lanes) nor the counter overflow.
        unchecked {
            if (iteration != 1) open.residuals += residuals;
            ++open.progress.counter;
        }
    }

    /// @dev Adds a submission's copies to the sums.
    function _add(Open memory open, uint8 node, Declaration memory declared, uint256[] calldata copies) private {
        uint256[] memory held = _tree.held(node, declared);
        if (open.places.length != 0) RunningSums.add(open.sums, open.places, held, copies, _words);
        else _sums.add(open.progress.present, held, copies, _words);
        open.progress.present |= Nodes.bit(node);
        if (open.forwarded) emit Forwarded(open.progress.round, open.progress.iteration, node, copies);
    }

    /// @param parts submissions that may come
    function _open(Open memory open, uint32 round, uint16 iteration, uint256 parts) private view {
        open.progress = _loaded();
        _requirePhase(open.progress, round, Phase.Iterating);
        if (iteration != open.progress.iteration) revert WrongIteration(open.progress.iteration, iteration);
        // An account with code may be the origin and yet call from within another call (EIP-7702).
        open.forwarded = msg.sender != tx.origin || msg.sender.code.length != 0;
        _read(open, open.progress.counter + parts >= open.progress.expected);
    }

    /// @param mayClose whether to read all sums into memory
    function _read(Open memory open, bool mayClose) private view {
        open.before = open.progress.present;
        if (open.before != 0) open.residuals = _residuals;
        if (!mayClose) return;
        uint256 blocks;
        (blocks, open.places) = Blocks.layout(_roster.lines, _roster.inner, _words);
        open.sums = new uint256[](blocks * _words);
        if (open.before != 0) _sums.readAll(open.before, _roster, _tree, open.sums, open.places, _words);
    }

    /// @dev Closes the iteration if all are there; else keeps what has come.
    function _save(Open memory open) private {
        Progress memory progress_ = open.progress;
        if (progress_.counter == progress_.expected) {
            _close(progress_, open.residuals, open.sums);
        } else {
            _residuals = open.residuals;
            if (open.places.length != 0) {
                uint128 added = progress_.present & ~open.before;
                _sums.writeAll(added, _roster, _tree, open.sums, open.places, _words);
            }
        }
        _store(progress_);
    }

    // ------------------------------------------------------------------ overdue phases, false nodes

    /// @inheritdoc IVirtualAggregator
    function closeOverdue() external {
        Progress memory progress_ = _loaded();
        if (progress_.phase != Phase.Declaring && progress_.phase != Phase.Iterating) {
            revert WrongPhase(progress_.phase);
        }
        if (block.timestamp <= progress_.deadline) revert DeadlineNotPassed(progress_.deadline);
        if (progress_.phase == Phase.Declaring) _start(progress_);
        else _closeAsItStands(progress_);
        _store(progress_);
    }

    /// @inheritdoc IVirtualAggregator
    function accuse(uint32 round, uint8 node, bytes calldata evidence) external {
        Progress memory progress_ = _loaded();
        _requirePhase(progress_, round, Phase.Iterating);
        _requireNodeInRange(node);
        if (_roster.active & Nodes.bit(node) == 0) revert NotInRound(node, round);
        referee.judge(this, round, node, evidence);

        if (_excludeProved(progress_, node)) _end(progress_, Phase.Abandoned);
        else if (progress_.counter == progress_.expected) _closeAsItStands(progress_);
        _store(progress_);
    }

    function _closeAsItStands(Progress memory progress_) private {
        Open memory open;
        open.progress = progress_;
        _read(open, true);
        _close(progress_, open.residuals, open.sums);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IVirtualAggregator
    function commitment(uint32 round, uint8 node) external view returns (bytes32 submissions, bytes32 book) {
        _requireNodeInRange(node);
        return (_commitments[round][node], _books[round][node]);
    }

    /// @inheritdoc IVirtualAggregator
    function copiesLength(uint8 node) external view returns (uint256) {
        return _length(declaration(node));
    }

    /// @inheritdoc IVirtualAggregator
    function running(uint8 node) external view returns (uint16, uint128, uint256[] memory) {
        Declaration memory declared = declaration(node);
        uint256[] memory sums = _sums.read(_tree.held(node, declared), _length(declared), _words);
        Progress memory progress_ = _loaded();
        return (progress_.iteration, progress_.present, sums);
    }

    /// @inheritdoc IVirtualAggregator
    function digest(
        uint32 round, uint16 iteration, uint8 node, uint256[] calldata copies, bytes calldata bids, uint256 residuals
    ) external view returns (bytes32) {
        (, bytes32 head_) = head();
        bytes32 hash =
            Commitments.submission(round, iteration, node, Lanes.hashOf(copies), Lanes.hashOf(bids), residuals);
        return _relayed(hash, head_);
    }

    // ------------------------------------------------------------------ small things

    /// @dev Where a deployment is so large that the first to submit could not pay for all fresh words.
    function _prepare(uint8 node) internal override {
        if (Sizes.households(_n, _words) > Sizes.MOST_FRESH) _sums.prepare(node, _words);
    }

    function _hash(
        Progress memory progress_, uint8 node, uint256[] calldata copies, bytes calldata bids, uint256 residuals
    ) private pure returns (bytes32) {
        return Commitments.submission(
            progress_.round, progress_.iteration, node, Lanes.hashOf(copies), Lanes.hashOf(bids), residuals
        );
    }

    /// @dev The digest of a relayed submission.
    function _relayed(bytes32 hash, bytes32 head_) private view returns (bytes32) {
        return _digest(keccak256(abi.encode(RELAYED_TYPEHASH, hash, head_)));
    }

    /// @dev Words in a submission, at most 258 * 16.
    function _length(Declaration memory declared) private view returns (uint256) {
        unchecked {
            return Blocks.count(declared) * _words;
        }
    }

    /// @dev Reverts with an encoded custom error.
    function _revert(bytes memory flaw) private pure {
        assembly ("memory-safe") {
            revert(add(flaw, 32), mload(flaw))
        }
    }
}
