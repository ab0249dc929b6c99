// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAgreeing, IAgreement} from "../interfaces/IAgreement.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {IRounds} from "../interfaces/IRounds.sol";
import {Nodes} from "../libraries/Nodes.sol";
import {Round} from "../rounds/Round.sol";
import {Rounds} from "../rounds/Rounds.sol";
import {Seats} from "../rounds/Seats.sol";

/// @title Rounds of a market
/// @notice See IMarket. What trades in them is built on this.
///
/// @dev Storage, besides that of Rounds.
///
/// | variable | slots       | written    |
/// |----------|-------------|------------|
/// | _states  | mapping     | see Round  |
abstract contract MarketRounds is Rounds, IMarket {
    using Round for Round.State;
    using Round for IOutcomes.Progress;
    using Seats for Seats.Store;

    uint16 private constant MOST_STEPS = 192;
    bytes32 internal constant ABSTAINED = keccak256("");

    /// @inheritdoc IAgreement
    uint16 public immutable steps;
    /// @inheritdoc IAgreement
    bool public constant isMarket = true;

    // Written through storage pointers.
    // slither-disable-next-line uninitialized-state
    mapping(uint256 product => Round.State) private _states;

    constructor(uint16 steps_) {
        if (steps_ == 0 || steps_ > MOST_STEPS) revert InvalidTheta("steps", steps_);
        steps = steps_;
    }

    // ------------------------------------------------------------------ the manager

    /// @inheritdoc IRounds
    function enrol(uint8[] calldata nodes, address[] calldata accounts) external onlyOwner {
        _requireNoRoundRuns();
        _seats.enrol(_n, nodes, accounts);
    }

    /// @inheritdoc IRounds
    function expel(uint8[] calldata nodes) external onlyOwner {
        _requireNoRoundRuns();
        _seats.expel(nodes);
    }

    /// @inheritdoc IRounds
    function openRound(uint32 day) external onlyOwner returns (uint32 round) {
        return _openDay(day);
    }

    /// @inheritdoc IRounds
    function openRoundOf(uint8 product, uint32 day, uint32 agreed) external onlyOwner returns (uint32 round) {
        if (product != 0) revert ProductTooLarge(product);
        if (agreed != 0) revert DayAgreed(day, agreed);
        return _openDay(day);
    }

    /// @inheritdoc IRounds
    /// @dev What was traded is paid.
    function replaceRound(uint32 day, uint32 agreed) external pure returns (uint32) {
        revert DayAgreed(day, agreed);
    }

    function _openDay(uint32 day) internal virtual returns (uint32 round) {
        return _open(0, day, 0, 0);
    }

    // ------------------------------------------------------------------ beginning and ending

    /// @inheritdoc IRounds
    function closeOverdue() external {
        _closeOverdue();
    }

    /// @inheritdoc IRounds
    function closeOverdueOf(uint8 product) external {
        if (product != 0) revert ProductTooLarge(product);
        _closeOverdue();
    }

    function _closeOverdue() private {
        Progress memory progress_ = progressOf(0);
        if (!progress_.isRunning()) revert WrongPhase(progress_.phase);
        if (block.timestamp <= progress_.deadline) revert DeadlineNotPassed(progress_.deadline);
        _goOnFrom(progress_);
    }

    /// @dev Goes on from an overdue phase. A market that has others than declaring sees to them.
    function _goOnFrom(Progress memory progress_) internal virtual {
        _begin(progress_.round);
    }

    /// @dev Who was heard and did not abstain.
    function _settle(uint32 round, uint128 heard) internal view override returns (uint128 nodes, uint64 tally) {
        nodes = heard;
        for (uint128 rest = heard; rest != 0; rest = Nodes.withoutLowest(rest)) {
            uint8 node = Nodes.lowest(rest);
            if (_said[round][node] == ABSTAINED) nodes ^= Nodes.bit(node);
        }
        return (nodes, 0);
    }

    function _finish(uint32 round, Phase phase) internal override {
        _record(round, phase);
    }

    function _noTerms(uint8) internal pure override returns (uint48) {
        return 0;
    }

    function _state(uint8 product) internal view override returns (Round.State storage) {
        return _states[product];
    }

    // ------------------------------------------------------------------ what a settlement asks

    /// @inheritdoc IAgreeing
    function agreement() external view returns (IAgreement) {
        return this;
    }

    /// @inheritdoc IAgreement
    function requireFit(uint32, uint8, Statement[] calldata, uint256, Opening calldata) external pure {
        revert NotInPairs();
    }
}
