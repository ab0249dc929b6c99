// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IReferee} from "../interfaces/IReferee.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Blocks} from "../libraries/Blocks.sol";
import {Commitments} from "../libraries/Commitments.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {MAX_NODES} from "../libraries/Nodes.sol";
import {Questions} from "../libraries/Questions.sol";
import {ResidualLanes, Residuals} from "../libraries/Residuals.sol";
import {RunningSums} from "../libraries/RunningSums.sol";
import {Place, Tree} from "../libraries/Tree.sol";
import {Round} from "../rounds/Round.sol";
import {Rounds} from "../rounds/Rounds.sol";

/// @title What the two halves of the virtual aggregator share
/// @notice The storage of the agreement, and how an iteration is read and closed. See IVirtualAggregator.
///
/// @dev All storage of the virtual aggregator is declared here and in Rounds, so both halves lay it out alike.
///
/// | variable     | slots             | written                                                                  |
/// |--------------|-------------------|--------------------------------------------------------------------------|
/// | _theta       | 2                 | by the constructor                                                       |
/// | _setting     | 1                 | by the constructor                                                       |
/// | _lanes       | mapping           | one a product:                                                           |
/// |   round      | 132               | see Round                                                                |
/// |   tree       | 65                | by the declaration of a parent, when the round starts                    |
/// |   residuals  | 1                 | by each call that does not close the iteration                           |
/// |   sums       | 256 x 32          | the same: the words of the blocks of which a copy came                   |
/// | _commitments | mapping           | by each submission                                                       |
/// | _questions   | mapping           | by each question and answer                                              |
///
/// Sums and residuals are never zeroed: the first to submit overwrites what stands there.
abstract contract Consensus is Rounds {
    using Round for Round.State;
    using Round for Round.Closed;
    using RunningSums for RunningSums.Store;
    using Tree for Tree.Store;

    /// @dev All of a product's current round.
    struct Lane {
        Round.State round;
        Tree.Store tree;
        Residuals residuals;
        RunningSums.Store sums;
    }

    /// @notice What is fixed when the contracts are created.
    struct Constants {
        IVirtualAggregator.Theta theta;
        IVirtualAggregator.Setting setting;
        IReferee referee;
    }

    /// @dev The open iteration, as a call found it and changes it.
    struct Open {
        Progress progress;
        uint128 before; //      present when the call began
        Residuals residuals; // sum of the four
        bytes32 head; //        that relayed submissions build on
        bool forwarded; //      the call may not stand in the calldata of a transaction to this contract
        // in a call that may close the iteration, else empty:
        uint256[] places; //    see Blocks
        uint256[] sums; //      of all blocks
    }

    IReferee internal immutable _referee;
    bool internal immutable _seals;
    uint16 internal immutable _steps;
    Residuals private immutable _limits;
    uint256 internal immutable _words; // of a block

    IVirtualAggregator.Theta internal _theta;
    IVirtualAggregator.Setting internal _setting;
    mapping(uint256 product => Lane) private _lanes;
    // Written through a storage reference.
    // slither-disable-next-line uninitialized-state
    mapping(uint32 round => bytes32[MAX_NODES]) internal _commitments;
    // The same.
    // slither-disable-next-line uninitialized-state
    mapping(uint32 round => Questions.Store) internal _questions;

    constructor(Constants memory made)
        Rounds(made.theta.n, made.theta.mu, made.setting.phaseSeconds, made.setting.maxMisses)
    {
        (_theta, _setting, _referee) = (made.theta, made.setting, made.referee);
        _seals = made.referee.seals();
        _steps = made.setting.steps;
        _words = Lanes.words(made.setting.steps);
        _limits = ResidualLanes.limits(
            made.theta.epsPrimalGrid, made.theta.epsDualGrid, made.theta.epsPrimalTrade, made.theta.epsDualTrade
        );
    }

    // ------------------------------------------------------------------ what rounds ask

    function _state(uint8 product) internal view override returns (Round.State storage) {
        return _lanes[product].round;
    }

    function _settle(uint32 round, uint128 heard) internal override returns (uint128 nodes, uint64 tally) {
        Lane storage lane = _lane(round);
        Tree.Settled memory settled = lane.tree.settle(lane.round, heard);
        (nodes, tally) = (settled.nodes, lane.round.closed.tally | _tally(settled.blocks, settled.bids));
        if (nodes != 0) emit IVirtualAggregator.RoundStarted(round, nodes, settled.lines, settled.inner);
    }

    /// @dev It is its own parent but no root, so it has no place in any tree.
    function _noTerms(uint8 node) internal pure override returns (uint48) {
        return Place.unwrap(Tree.place(node, 1, 0, false));
    }

    // ------------------------------------------------------------------ the tally: scalars that are agreed on, and limits

    /// @dev Percent of theta's limits from bit 48 on, scalars of the network from bit 24 on, bids below: at most
    ///      128 * 258 blocks of 192 steps, and 128 * (2^16 - 1) bids, both less than 2^23.
    function _tally(uint256 blocks, uint256 bids) internal view returns (uint64) {
        return uint64(blocks * _steps << 24 | bids);
    }

    /// @dev Of a round that has not started.
    function _limited(uint16 percent) internal pure returns (uint64) {
        return uint64(percent) << 48;
    }

    function _scalars(uint64 tally) internal pure returns (uint24 grid, uint24 trade) {
        return (uint24(tally >> 24), uint24(tally));
    }

    // ------------------------------------------------------------------ an iteration

    /// @dev Opens what a call works on, where the progress says.
    /// @param mayClose whether to read all sums into memory
    function _read(Open memory open, Lane storage lane, bool mayClose) internal view {
        open.before = open.progress.present;
        if (open.before != 0) open.residuals = lane.residuals;
        if (!mayClose) return;
        uint256 blocks;
        (blocks, open.places) = Blocks.layout(lane.tree.lines, lane.tree.inner, _words);
        open.sums = new uint256[](blocks * _words);
        if (open.before != 0) {
            lane.sums.readAll(open.before, lane.round, lane.tree, open.sums, open.places, _words);
        }
    }

    /// @dev Step 6. Changes the progress, which the caller stores, but for what comes next.
    /// @return agreed whether all four residual tests held
    function _close(Open memory open, Round.State storage state) internal returns (bool agreed) {
        (uint32 round, uint16 iteration) = (open.progress.round, open.progress.iteration);
        uint256 residuals = Residuals.unwrap(open.residuals);
        bytes32 hash = iteration == 1 ? bytes32(0) : state.head;
        bytes32 sums = Lanes.hash(open.sums);
        hash = Commitments.closed(hash, round, iteration, open.progress.present, residuals, sums);
        Round.Closed memory closed = state.close(open.progress, hash);
        // Of sealed sums each is of use to two nodes, which have what it is made of.
        emit IVirtualAggregator.IterationClosed(
            round, iteration, open.progress.present, residuals, hash, _seals ? new uint256[](0) : open.sums
        );
        // Residuals concern the iteration before. Both have to be of all nodes that are not out, and of no other.
        if (!closed.undisturbed()) return false;
        (uint24 grid, uint24 trade) = _scalars(closed.tally);
        return open.residuals.within(_limits, closed.tally >> 48, grid, trade);
    }

    // ------------------------------------------------------------------ small things

    function _lane(uint32 round) internal view returns (Lane storage) {
        return _lanes[Round.product(round)];
    }

    function _laneOf(uint8 product) internal view returns (Lane storage) {
        return _lanes[product];
    }
}
