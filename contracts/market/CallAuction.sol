// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {IAtOnePrice} from "../interfaces/IAtOnePrice.sol";
import {ICallAuction} from "../interfaces/ICallAuction.sol";
import {Crossing} from "../libraries/Crossing.sol";
import {Nodes} from "../libraries/Nodes.sol";
import {Round} from "../rounds/Round.sol";
import {Rounds} from "../rounds/Rounds.sol";
import {Seats} from "../rounds/Seats.sol";
import {Standing} from "../rounds/Standing.sol";
import {Account, Accounts} from "../settlement/Account.sol";
import {Deposits} from "../settlement/Deposits.sol";
import {AtOnePrice} from "./AtOnePrice.sol";
import {MarketRounds} from "./MarketRounds.sol";

/// @title A call auction of sealed bids
/// @notice See ICallAuction for what it does, its units and its invariants; Crossing for what is checked of a clearing. Its
///         owner is the community manager, who enrols nodes and opens rounds, and has no say in bids, prices and money.
///
/// @dev Storage.
///
/// | variable   | slots      | written                                                                          |
/// |------------|------------|----------------------------------------------------------------------------------|
/// | (Deposits) | 1, mapping | totalDeposits; 1 an account: free and locked                                     |
/// | (Rounds)   |            | see MarketRounds. `_said` of a node is its commitment, then the hash of the bids |
/// |            |            | that it revealed, then of what it has traded; RELEASED where `release` came      |
contract CallAuction is AtOnePrice, ICallAuction {
    using Round for Round.State;
    using Seats for Seats.Store;

    uint16 private constant REVEALING = 1; // iterations
    uint16 private constant CLEARING = 2;
    bytes32 private constant RELEASED = bytes32(uint256(1));

    int32 private immutable _lowest;
    int32 private immutable _highest;
    uint256 private immutable _bond;

    constructor(Setting memory setting_, IERC20Metadata token_)
        Deposits(token_)
        Rounds(setting_.nodes, CLEARING, setting_.phaseSeconds, 1)
        MarketRounds(setting_.steps)
        AtOnePrice(setting_.nodes)
    {
        if (setting_.lowest > setting_.highest) revert InvalidSetting();
        (_lowest, _highest, _bond) = (setting_.lowest, setting_.highest, setting_.bond);
    }

    // ------------------------------------------------------------------ committing and revealing

    /// @inheritdoc ICallAuction
    function commit(uint32 round, bytes32 commitment) external {
        (Round.State storage state, Standing heard, uint8 node) = _heard(round);
        if (commitment == 0 || commitment == RELEASED || commitment == ABSTAINED) revert EmptyCommitment();
        _said[round][node] = commitment;
        _lock(msg.sender, _bond);
        emit Committed(round, node, commitment);
        _startIfComplete(state, heard);
    }

    function _begin(uint32 round) internal override {
        _start(round);
    }

    /// @inheritdoc ICallAuction
    function reveal(uint32 round, bytes32 salt, bytes calldata bids) external {
        (Round.State storage state, Progress memory progress_) = _in(round, REVEALING);
        uint8 node = _seats.numberOf(msg.sender);
        if (state.active & Nodes.bit(node) == 0) revert NotInRound(node, round);
        if (progress_.present & Nodes.bit(node) != 0) revert AlreadyRevealed(round, node);
        if (_said[round][node] != commitmentOf(round, msg.sender, salt, bids)) revert WrongCommitment(round, node);
        _lock(msg.sender, lockOf(bids));
        _said[round][node] = keccak256(bids);
        emit Revealed(round, node, bids);
        progress_.present |= Nodes.bit(node);
        ++progress_.counter;
        if (progress_.counter == progress_.expected) _closePhase(progress_);
        else state.save(progress_);
    }

    /// @dev Nobody is left to wait for, or the deadline has passed: revealing goes on to clearing, and clearing to nothing.
    function _closePhase(Progress memory progress_) private {
        Round.State storage state = _state(0);
        if (progress_.iteration == CLEARING) progress_.present = state.closed.present;
        // What it returns is stored.
        // slither-disable-next-line unused-return
        state.close(progress_, 0);
        if (progress_.present == 0) _end(progress_, Phase.Abandoned);
        else _goOn(progress_, false);
        state.save(progress_);
    }

    function _goOnFrom(Progress memory progress_) internal override {
        if (progress_.phase == Phase.Declaring) super._goOnFrom(progress_);
        else _closePhase(progress_);
    }

    /// @dev The current round, in one of its iterations.
    function _in(uint32 round, uint16 iteration)
        private
        view
        returns (Round.State storage state, Progress memory progress_)
    {
        state = _state(0);
        progress_ = state.load(round, Phase.Iterating);
        if (progress_.iteration != iteration) revert WrongPhase(progress_.phase);
    }

    // ------------------------------------------------------------------ clearing

    /// @inheritdoc IAtOnePrice
    function clear(uint32 round, bytes[] calldata bids, bytes[] calldata fills) external {
        (Round.State storage state, Progress memory progress_) = _in(round, CLEARING);
        progress_.present = state.closed.present;
        uint8[] memory nodes = _requireBids(round, progress_.present, bids);
        (bytes memory prices, int256[] memory values) = _cross(round, nodes, bids, fills);
        int256[] memory payments = _payAll(state.active & ~progress_.present, nodes, values, bids);
        _endCleared(state, progress_, prices, fills, payments);
    }

    /// @inheritdoc ICallAuction
    function clearOpened(uint32 round, bytes32[] calldata salts, bytes[] calldata bids, bytes[] calldata fills)
        external
    {
        (Round.State storage state, Progress memory progress_) = _in(round, REVEALING);
        // Who has revealed has locked what its bids come to, and is cleared in the other way.
        if (progress_.present != 0) revert RevealedAlready(round, progress_.present);
        (progress_.iteration, progress_.present, progress_.counter) = (CLEARING, state.active, progress_.expected);
        uint8[] memory nodes = _requireOpened(round, progress_.present, salts, bids);
        (bytes memory prices, int256[] memory values) = _cross(round, nodes, bids, fills);
        int256[] memory payments = _payOpened(nodes, values);
        _endCleared(state, progress_, prices, fills, payments);
        emit Opened(round, bids);
    }

    /// @dev Requires that these open what all have committed to, and that each has what they could come to.
    /// @return nodes ascending
    function _requireOpened(uint32 round, uint128 rest, bytes32[] calldata salts, bytes[] calldata bids)
        private
        view
        returns (uint8[] memory nodes)
    {
        nodes = new uint8[](Nodes.count(rest));
        if (bids.length != nodes.length) revert LengthMismatch(nodes.length, bids.length);
        if (salts.length != nodes.length) revert LengthMismatch(nodes.length, salts.length);
        for (uint256 i = 0; i < nodes.length; ++i) {
            uint8 node = Nodes.lowest(rest);
            rest = Nodes.withoutLowest(rest);
            address account = _seats.accounts[node];
            if (_said[round][node] != commitmentOf(round, account, salts[i], bids[i])) {
                revert WrongCommitment(round, node);
            }
            (uint256 most, uint256 free_) = (lockOf(bids[i]), _accounts[account].free());
            if (most > free_) revert InsufficientDeposit(account, free_, most);
            nodes[i] = node;
        }
    }

    /// @dev Gives all bonds back, and pays: of a free deposit that has what the bids could come to.
    function _payOpened(uint8[] memory nodes, int256[] memory values) private returns (int256[] memory payments) {
        payments = _paymentsOf(values);
        for (uint256 i = 0; i < nodes.length; ++i) {
            // Nothing of this reaches the limits of an account: see Deposits.
            Account held = _accounts[_seats.accounts[nodes[i]]];
            _accounts[_seats.accounts[nodes[i]]] =
                Accounts.make(held.balance() + int256(_bond) + payments[i], held.locked() - _bond);
        }
    }

    /// @dev Ends all locks, and pays.
    /// @param silent nodes that have not revealed
    function _payAll(uint128 silent, uint8[] memory nodes, int256[] memory values, bytes[] calldata bids)
        private
        returns (int256[] memory payments)
    {
        uint256 lost = _bond * Nodes.count(silent);
        for (; silent != 0; silent = Nodes.withoutLowest(silent)) {
            _unlock(_seats.accounts[Nodes.lowest(silent)], _bond, 0);
        }
        payments = _paymentsOf(values);
        for (uint256 i = 0; i < nodes.length; ++i) {
            uint256 share = lost / nodes.length + (i == 0 ? lost % nodes.length : 0);
            _pay(nodes[i], bids[i], payments[i] + int256(share));
        }
    }

    /// @param received with what comes of lost bonds; negative: paid
    function _pay(uint8 node, bytes calldata bids, int256 received) private {
        uint256 locked_ = _bond + lockOf(bids);
        _unlock(_seats.accounts[node], locked_, uint256(int256(locked_) + received));
    }

    /// @inheritdoc ICallAuction
    function release(uint32 round, uint8 node, bytes calldata bids) external {
        Outcome memory ended = outcome(round);
        if (ended.phase != Phase.Exhausted && ended.phase != Phase.Abandoned) revert NotOver(round);
        Seats.requireNode(node);
        bytes32 said = _said[round][node];
        uint256 amount = _bond;
        if (ended.present & Nodes.bit(node) != 0) {
            if (said == RELEASED) revert NothingLocked(round, node);
            if (said != keccak256(bids)) revert WrongBids(round, node);
            amount += lockOf(bids);
        } else if (said == 0 || said == ABSTAINED || said == RELEASED) {
            revert NothingLocked(round, node);
        }
        _said[round][node] = RELEASED;
        _unlock(accountIn(round, node), amount, amount);
        emit Released(round, node, amount);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc ICallAuction
    function setting() external view returns (Setting memory) {
        return Setting(steps, _n, phaseSeconds, _lowest, _highest, uint120(_bond));
    }

    /// @inheritdoc ICallAuction
    function commitmentOf(uint32 round, address account, bytes32 salt, bytes calldata bids)
        public
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(this), round, account, salt, keccak256(bids)));
    }

    /// @inheritdoc ICallAuction
    function lockOf(bytes calldata bids) public view returns (uint256) {
        // Below 192 * 2^62 * 10^18.
        uint256 cost = Crossing.cost(bids, steps, _lowest, _highest) * uint256(_currency);
        return (cost + uint256(UNIT) - 1) / uint256(UNIT);
    }
}
