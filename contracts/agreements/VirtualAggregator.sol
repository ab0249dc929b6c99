// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IAgreeing, IAgreement} from "../interfaces/IAgreement.sol";
import {IReferee} from "../interfaces/IReferee.sol";
import {IRounds} from "../interfaces/IRounds.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Blocks, Entry} from "../libraries/Blocks.sol";
import {Books} from "../libraries/Books.sol";
import {Commitments} from "../libraries/Commitments.sol";
import {HandOver} from "../libraries/HandOver.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Questions} from "../libraries/Questions.sol";
import {Residuals} from "../libraries/Residuals.sol";
import {RunningSums} from "../libraries/RunningSums.sol";
import {Seals} from "../libraries/Seals.sol";
import {Sizes} from "../libraries/Sizes.sol";
import {Place, Tree} from "../libraries/Tree.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Member, Members} from "../rounds/Member.sol";
import {Round} from "../rounds/Round.sol";
import {Seats} from "../rounds/Seats.sol";
import {Standing} from "../rounds/Standing.sol";
import {AgreedBids} from "./AgreedBids.sol";
import {Clerk} from "./Clerk.sol";
import {Consensus} from "./Consensus.sol";

/// @title The virtual aggregator
/// @notice See IVirtualAggregator for what it does, its units and its invariants; Lanes for the packing; Consensus for its
///         storage; Rounds for how a round goes on. The owner is the community manager.
///
/// @dev This is the half that nodes call in every iteration, with all views. What is called seldom is handed over to the
///      clerk, which stands on the chain before: one contract could not hold both, nor be created with both.
contract VirtualAggregator is Consensus, TypedData, IVirtualAggregator {
    using Questions for Questions.Store;
    using Round for Round.State;
    using RunningSums for RunningSums.Store;
    using Seats for Seats.Store;
    using Tree for Tree.Store;

    bytes32 private constant RELAYED_TYPEHASH = keccak256(
        "Relayed(Submission submission,bytes32 head)"
        "Submission(uint32 round,uint16 iteration,uint8 node,uint256[] copies,bytes bids,uint256 residuals)"
    );

    /// @inheritdoc IVirtualAggregator
    address public immutable clerk;
    /// @inheritdoc IAgreeing
    IAgreement public immutable agreement;
    uint256 private immutable _mostBids; // see Sizes
    uint256 private immutable _sums; // bytes that may stand behind the bids of a household, where rounds are sealed

    /// @param clerk_ of which theta, the setting and the referee are taken
    constructor(Clerk clerk_) Consensus(clerk_.constants()) TypedData("gridpact", "1") {
        clerk = address(clerk_);
        agreement = new AgreedBids(this, _setting, _seals);
        _mostBids = Sizes.bids(_n);
        _sums = _seals ? Seals.SUM * _steps : 0;
    }

    // ------------------------------------------------------------------ declaring

    /// @inheritdoc IVirtualAggregator
    function declare(
        uint32 round, uint8 parent, uint128 children, uint8 depth, uint16 bids, bytes calldata book
    ) external {
        (Round.State storage state, Standing heard, uint8 node) = _heard(round);
        Tree.check(node, parent, depth, children, _seats.nodes);
        if (_seals) Tree.checkStar(node, parent, depth, children);
        if (bids != 0) _requireFew(bids, Books.capacity(book.length, _seats.count - 1, _steps));
        state.members[node] = _member(round, Tree.place(parent, depth, bids, children != 0));
        if (children != 0) _lane(round).tree.children[node] = children;
        _said[round][node] = keccak256(book);
        emit Declared(round, node, parent, depth, children, bids, book);
        _startIfComplete(state, heard);
    }

    /// @dev The caller in the round: no misses, not out.
    function _member(uint32 round, Place place) private view returns (Member) {
        return Members.make(msg.sender, round, Place.unwrap(place));
    }

    /// @dev Limits are an average over bids, so there may be no more than can be meant; nor more than can be checked.
    function _requireFew(uint256 bids, uint256 most) private view {
        if (most > _mostBids) most = _mostBids;
        if (bids > most) revert TooManyBids(most, bids);
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
        Lane storage lane = _lane(round);
        Open memory open;
        _open(open, lane, round, iteration, 1);
        if (history != open.progress.history) revert WrongHistory(open.progress.history, history);
        uint8 node = _seats.numberOf(msg.sender);
        Declaration memory declared;
        // It fills in `declared`; the account is not needed.
        // slither-disable-next-line unused-return
        lane.tree.read(lane.round, node, declared);
        bytes memory flaw = _flaw(open.progress, node, declared, copies, bids, residuals);
        if (flaw.length != 0) _revert(flaw);
        _accept(open, node, _hash(open.progress, node, copies, bids, residuals), bids, residuals);
        _add(open, lane, node, declared, copies);
        _save(open, lane);
    }

    /// @inheritdoc IVirtualAggregator
    function relay(uint32 round, uint16 iteration, Signed[] calldata batch) external {
        Lane storage lane = _lane(round);
        Open memory open;
        _open(open, lane, round, iteration, batch.length);
        // How many iterations are closed follows from the one that is open.
        // slither-disable-next-line unused-return
        (, open.head) = lane.round.headOf();
        Declaration memory declared;
        for (uint256 i = 0; i < batch.length; ++i) _relayOne(open, lane, declared, batch[i]);
        _save(open, lane);
    }

    /// @param declared memory to use
    function _relayOne(Open memory open, Lane storage lane, Declaration memory declared, Signed calldata part)
        private
    {
        (uint8 node, uint256[] calldata copies, bytes calldata bids) = (part.node, part.copies, part.bids);
        address account = lane.tree.read(lane.round, node & (MAX_NODES - 1), declared);
        bytes memory flaw = _flaw(open.progress, node, declared, copies, bids, part.residuals);
        if (flaw.length == 0) {
            bytes32 hash = _hash(open.progress, node, copies, bids, part.residuals);
            if (_isSigned(open.head, hash, part, account)) {
                _accept(open, node, hash, bids, part.residuals);
                _add(open, lane, node, declared, copies);
                return;
            }
            flaw = _error(WrongSignature.selector, node);
        }
        emit Skipped(open.progress.round, open.progress.iteration, node, flaw);
    }

    /// @dev Whether an account has signed a submission; none has where recovery fails.
    function _isSigned(bytes32 head_, bytes32 hash, Signed calldata part, address account)
        private
        view
        returns (bool)
    {
        // See above.
        // slither-disable-next-line unused-return
        (address author,,) = ECDSA.tryRecover(_relayed(hash, head_), part.r, part.vs);
        return author == account;
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
        if (node >= MAX_NODES) return _error(NodeOutOfRange.selector, node);
        if (declared.round != progress_.round || declared.out) {
            return _error(NotInRound.selector, node, progress_.round);
        }
        if (progress_.present & Nodes.bit(node) != 0) {
            return _error(AlreadySubmitted.selector, node, progress_.iteration);
        }
        uint256 length = _length(declared);
        if (copies.length != length) return _error(LengthMismatch.selector, length, copies.length);
        length = 2 * uint256(declared.bids);
        if (bids.length < length || bids.length > length + _sums) return _error(LengthMismatch.selector, length, bids.length);
        uint256 at = Blocks.overflow(declared, copies, _words);
        if (at != copies.length) return _error(LaneOverflow.selector, at, copies[at]);
        // The first iteration follows no other, so its residuals are about nothing, and ignored.
        if (progress_.iteration != 1 && !Residuals.wrap(residuals).fits()) {
            return _error(ResidualOverflow.selector, residuals);
        }
        return "";
    }

    /// @dev Takes a submission in, but for its copies.
    function _accept(Open memory open, uint8 node, bytes32 hash, bytes calldata bids, uint256 residuals) private {
        (uint32 round, uint16 iteration) = (open.progress.round, open.progress.iteration);
        bytes32[MAX_NODES] storage commitments = _commitments[round];
        hash = Commitments.extended(commitments[node], hash);
        commitments[node] = hash;
        // What is sealed nobody reads but whom it is for: they find it in the calldata, where it stands anyway.
        if (_seals && !open.forwarded) emit Sealed(round, iteration, node, hash);
        else emit Submitted(round, iteration, node, residuals, hash, bids);
        if (iteration != 1) open.residuals = open.residuals.plus(Residuals.wrap(residuals));
        // No overflow: a node counts once.
        unchecked {
            ++open.progress.counter;
        }
    }

    /// @dev Adds a submission's copies to the sums.
    function _add(
        Open memory open, Lane storage lane, uint8 node, Declaration memory declared, uint256[] calldata copies
    ) private {
        Entry[] memory held = lane.tree.held(node, declared);
        if (open.places.length != 0) RunningSums.add(open.sums, open.places, held, copies, _words);
        else lane.sums.add(open.progress.present, held, copies, _words);
        open.progress.present |= Nodes.bit(node);
        if (open.forwarded) emit Forwarded(open.progress.round, open.progress.iteration, node, copies);
    }

    /// @param parts submissions that may come
    function _open(Open memory open, Lane storage lane, uint32 round, uint16 iteration, uint256 parts) private view {
        open.progress = lane.round.load(round, Phase.Iterating);
        if (iteration != open.progress.iteration) revert WrongIteration(open.progress.iteration, iteration);
        // An account with code may be the origin and yet call from within another call (EIP-7702).
        open.forwarded = msg.sender != tx.origin || msg.sender.code.length != 0;
        _read(open, lane, open.progress.counter + parts >= open.progress.expected);
    }

    /// @dev Closes the iteration if all are there; else keeps what has come.
    function _save(Open memory open, Lane storage lane) private {
        if (open.progress.counter == open.progress.expected) {
            _goOn(open.progress, _ends(open.progress, _close(open, lane.round)));
        } else {
            lane.residuals = open.residuals;
            if (open.places.length != 0) {
                uint128 added = open.progress.present & ~open.before;
                lane.sums.writeAll(added, lane.round, lane.tree, open.sums, open.places, _words);
            }
        }
        lane.round.save(open.progress);
    }

    /// @dev Whether a round ends with an iteration that is closed.
    /// @param agreed whether all four residual tests held
    function _ends(Progress memory, bool agreed) internal virtual returns (bool) {
        return agreed;
    }

    // ------------------------------------------------------------------ handed over to the clerk

    /// @inheritdoc IRounds
    function enrol(uint8[] calldata, address[] calldata) external {
        _handOver();
    }

    /// @inheritdoc IRounds
    function expel(uint8[] calldata) external {
        _handOver();
    }

    /// @inheritdoc IRounds
    function openRound(uint32) external returns (uint32) {
        _handOver();
    }

    /// @inheritdoc IRounds
    function replaceRound(uint32, uint32) external returns (uint32) {
        _handOver();
    }

    /// @inheritdoc IRounds
    function openRoundOf(uint8, uint32, uint32) external returns (uint32) {
        _handOver();
    }

    /// @inheritdoc IVirtualAggregator
    function openRoundWithin(uint8, uint32, uint32, uint16) external returns (uint32) {
        _handOver();
    }

    /// @inheritdoc IRounds
    function closeOverdue() external {
        _handOver();
    }

    /// @inheritdoc IRounds
    function closeOverdueOf(uint8) external {
        _handOver();
    }

    /// @inheritdoc IVirtualAggregator
    function accuse(uint32, uint8, bytes calldata) external {
        _handOver();
    }

    /// @inheritdoc IVirtualAggregator
    function ask(uint32, uint8, uint16) external {
        _handOver();
    }

    /// @inheritdoc IVirtualAggregator
    function answer(uint32, uint16, bytes calldata) external {
        _handOver();
    }

    /// @inheritdoc IVirtualAggregator
    function accuseOfSilence(uint32, uint8, uint16) external {
        _handOver();
    }

    function _begin(uint32 round) internal override {
        // It returns nothing.
        // slither-disable-next-line unused-return
        Address.functionDelegateCall(clerk, abi.encodeCall(Clerk.start, round));
    }

    function _finish(uint32 round, Phase phase) internal override {
        // The same.
        // slither-disable-next-line unused-return
        Address.functionDelegateCall(clerk, abi.encodeCall(Clerk.record, (round, phase)));
    }

    function _handOver() private {
        HandOver.to(clerk);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IVirtualAggregator
    function referee() external view returns (IReferee) {
        return _referee;
    }

    /// @inheritdoc IVirtualAggregator
    function theta() external view returns (Theta memory) {
        return _theta;
    }

    /// @inheritdoc IVirtualAggregator
    function setting() external view returns (Setting memory) {
        return _setting;
    }

    /// @inheritdoc IVirtualAggregator
    function roster() external view returns (Roster memory) {
        return rosterOf(0);
    }

    /// @inheritdoc IVirtualAggregator
    function rosterOf(uint8 product) public view returns (Roster memory) {
        Lane storage lane = _laneOf(product);
        uint128 nodes = lane.round.nodes; // none while a round is declared: then the tree is still that of the last one
        return Roster(nodes, lane.round.active, lane.tree.lines & nodes, lane.tree.inner & nodes);
    }

    /// @inheritdoc IVirtualAggregator
    function scalars() external view returns (uint64 grid, uint64 trade) {
        return scalarsOf(0);
    }

    /// @inheritdoc IVirtualAggregator
    function scalarsOf(uint8 product) public view returns (uint64 grid, uint64 trade) {
        return _scalars(_state(product).closed.tally);
    }

    /// @inheritdoc IVirtualAggregator
    function declaration(uint8 node) external view returns (Declaration memory declared) {
        return declarationOf(0, node);
    }

    /// @inheritdoc IVirtualAggregator
    function declarationOf(uint8 product, uint8 node) public view returns (Declaration memory declared) {
        Seats.requireNode(node);
        Lane storage lane = _laneOf(product);
        // It fills in `declared`; the account is not needed.
        // slither-disable-next-line unused-return
        lane.tree.read(lane.round, node, declared);
    }

    /// @inheritdoc IVirtualAggregator
    function copiesLength(uint8 node) external view returns (uint256) {
        return _length(declarationOf(0, node));
    }

    /// @inheritdoc IVirtualAggregator
    function copiesLengthOf(uint8 product, uint8 node) external view returns (uint256) {
        return _length(declarationOf(product, node));
    }

    /// @inheritdoc IVirtualAggregator
    function running(uint8 node) external view returns (uint16, uint128, uint256[] memory) {
        return runningOf(0, node);
    }

    /// @inheritdoc IVirtualAggregator
    function runningOf(uint8 product, uint8 node) public view returns (uint16, uint128, uint256[] memory) {
        Lane storage lane = _laneOf(product);
        Declaration memory declared = declarationOf(product, node);
        uint256[] memory sums = lane.sums.read(lane.tree.held(node, declared), _length(declared), _words);
        Progress memory now_ = lane.round.progress();
        return (now_.iteration, now_.present, sums);
    }

    /// @inheritdoc IVirtualAggregator
    function commitment(uint32 round, uint8 node) external view returns (bytes32 submissions, bytes32 book) {
        Seats.requireNode(node);
        return (_commitments[round][node], _said[round][node]);
    }

    /// @inheritdoc IVirtualAggregator
    function question(uint32 round, uint8 node, uint16 about) external view returns (uint16 askedIn, uint240 told) {
        Questions.Question memory asked = _questions[round].read(node, about);
        return (asked.askedIn, asked.answer);
    }

    /// @inheritdoc IVirtualAggregator
    function digest(
        uint32 round, uint16 iteration, uint8 node, uint256[] calldata copies, bytes calldata bids, uint256 residuals
    ) external view returns (bytes32) {
        // The hash covers the iteration.
        // slither-disable-next-line unused-return
        (, bytes32 head_) = _lane(round).round.headOf();
        bytes32 hash =
            Commitments.submission(round, iteration, node, Lanes.hashOf(copies), Lanes.hashOf(bids), residuals);
        return _relayed(hash, head_);
    }

    // ------------------------------------------------------------------ small things

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

    function _error(bytes4 selector, uint256 value) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, value);
    }

    function _error(bytes4 selector, uint256 first, uint256 second) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, first, second);
    }

    /// @dev Reverts with an encoded custom error.
    function _revert(bytes memory flaw) private pure {
        assembly ("memory-safe") {
            revert(add(flaw, 32), mload(flaw))
        }
    }
}
