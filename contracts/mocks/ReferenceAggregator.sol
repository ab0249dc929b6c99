// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";

/// @title The virtual aggregator as one would write it first
/// @notice Every sum, bid and residual is an int256 in a storage slot of its own; there is no packing, no log to read
///         from, no signature, and nobody is silent or lies. What gas is compared with, and what tests compare sums and
///         outcomes with.
contract ReferenceAggregator {
    struct Node {
        address account;
        uint8 parent;
        uint8 depth;
        uint8[] children;
        uint16 bids;
    }

    enum Kind {
        P,
        Q,
        V
    }

    IVirtualAggregator.Theta public theta;
    IVirtualAggregator.Setting public setting;
    IOutcomes.Phase public phase;
    uint32 public round;
    uint16 public iteration;
    uint256 public enrolled;
    uint256 public counter;
    uint256 public gridScalars;
    uint256 public tradeScalars;
    mapping(address account => uint256 nodePlusOne) private _nodeOf;
    mapping(uint256 node => Node) private _nodes;
    mapping(uint256 node => uint256 round) private _declared;
    mapping(uint256 node => uint256 iteration) private _submitted;
    mapping(uint256 parity => int256[4]) private _residuals;
    mapping(uint256 node => int256[]) private _bids;
    // Two sets of sums, for odd and even iterations: the last ones stay readable while the next are added up.
    mapping(uint256 parity => mapping(uint256 node => mapping(Kind kind => int256[]))) private _sums;
    mapping(uint256 parity => mapping(uint256 node => mapping(Kind kind => uint256 iteration))) private _started;

    error NotAllowed();

    constructor(IVirtualAggregator.Theta memory theta_, IVirtualAggregator.Setting memory setting_) {
        theta = theta_;
        setting = setting_;
    }

    function enrol(uint8[] calldata nodes, address[] calldata accounts) external {
        for (uint256 i = 0; i < nodes.length; ++i) {
            _nodes[nodes[i]].account = accounts[i];
            _nodeOf[accounts[i]] = uint256(nodes[i]) + 1;
        }
        enrolled += nodes.length;
    }

    function openRound() external {
        ++round;
        phase = IOutcomes.Phase.Declaring;
        counter = 0;
        gridScalars = 0;
        tradeScalars = 0;
    }

    function declare(uint8 parent, uint8[] calldata children, uint8 depth, uint16 bids) external {
        uint8 node = nodeOf(msg.sender);
        if (phase != IOutcomes.Phase.Declaring || _declared[node] == round) revert NotAllowed();
        _declared[node] = round;
        _nodes[node] = Node(msg.sender, parent, depth, children, bids);
        gridScalars += copiesLength(node);
        tradeScalars += bids;
        if (++counter == enrolled) {
            phase = IOutcomes.Phase.Iterating;
            iteration = 0;
            _openIteration();
        }
    }

    /// @param copies    of the blocks in the order of IVirtualAggregator, one number a time step
    /// @param residuals r_grid, s_grid, r_trade, s_trade of the iteration before
    function submit(uint16 iteration_, int256[] calldata copies, int256[] calldata bids, int256[4] calldata residuals)
        external
    {
        uint8 node = nodeOf(msg.sender);
        Node storage me = _nodes[node];
        if (phase != IOutcomes.Phase.Iterating || iteration_ != iteration) revert NotAllowed();
        if (_submitted[node] == _stamp()) revert NotAllowed();
        if (copies.length != copiesLength(node) || bids.length != me.bids) revert NotAllowed();
        _submitted[node] = _stamp();
        _addCopies(node, me, copies);
        _bids[node] = bids;
        for (uint256 lane = 0; lane < 4; ++lane) {
            if (iteration != 1) _residuals[iteration % 2][lane] += residuals[lane];
        }
        if (++counter == enrolled) _close();
    }

    function _addCopies(uint8 node, Node storage me, int256[] calldata copies) private {
        uint256 at = 0;
        if (me.depth != 0) {
            at = _addBlock(node, Kind.P, copies, at);
            at = _addBlock(node, Kind.Q, copies, at);
            if (me.children.length != 0) at = _addBlock(node, Kind.V, copies, at);
        }
        for (uint256 i = 0; i < me.children.length; ++i) {
            at = _addBlock(me.children[i], Kind.P, copies, at);
            at = _addBlock(me.children[i], Kind.Q, copies, at);
        }
        if (me.depth > 1) _addBlock(me.parent, Kind.V, copies, at);
    }

    /// @dev The first copy of an iteration overwrites the sum, the others add.
    function _addBlock(uint8 node, Kind kind, int256[] calldata copies, uint256 at) private returns (uint256) {
        int256[] storage sums = _sums[iteration % 2][node][kind];
        bool first = _started[iteration % 2][node][kind] != _stamp();
        if (first) _started[iteration % 2][node][kind] = _stamp();
        for (uint256 step = 0; step < setting.steps; ++step) {
            if (sums.length == step) sums.push();
            sums[step] = first ? copies[at + step] : sums[step] + copies[at + step];
        }
        return at + setting.steps;
    }

    function _close() private {
        int256[4] storage sums = _residuals[iteration % 2];
        bool within = iteration > 1 && _within(sums[0], theta.epsPrimalGrid, gridScalars)
            && _within(sums[1], theta.epsDualGrid, gridScalars) && _within(sums[2], theta.epsPrimalTrade, tradeScalars)
            && _within(sums[3], theta.epsDualTrade, tradeScalars);
        if (within) phase = IOutcomes.Phase.Converged;
        else if (iteration == theta.mu) phase = IOutcomes.Phase.Exhausted;
        else _openIteration();
    }

    function _within(int256 sum, uint32 eps, uint256 count) private pure returns (bool) {
        return uint256(sum) * 1e6 <= uint256(eps) * eps * count;
    }

    function _openIteration() private {
        ++iteration;
        counter = 0;
        delete _residuals[iteration % 2];
    }

    /// @dev Different in each iteration of each round.
    function _stamp() private view returns (uint256) {
        return uint256(round) << 16 | iteration;
    }

    // ------------------------------------------------------------------ views

    function nodeOf(address account) public view returns (uint8) {
        if (_nodeOf[account] == 0) revert NotAllowed();
        return uint8(_nodeOf[account] - 1);
    }

    /// @notice Numbers in a submission.
    function copiesLength(uint8 node) public view returns (uint256) {
        Node storage me = _nodes[node];
        uint256 blocks = 2 * me.children.length;
        if (me.depth != 0) blocks += me.children.length == 0 ? 2 : 3;
        if (me.depth > 1) ++blocks;
        return blocks * setting.steps;
    }

    /// @notice Sums of a block in the open iteration or in the one before.
    function sumsOf(uint16 iteration_, uint8 node, Kind kind) external view returns (int256[] memory) {
        return _sums[iteration_ % 2][node][kind];
    }

    function bidsOf(uint8 node) external view returns (int256[] memory) {
        return _bids[node];
    }

    function residualsOf(uint16 iteration_) external view returns (int256[4] memory) {
        return _residuals[iteration_ % 2];
    }
}
