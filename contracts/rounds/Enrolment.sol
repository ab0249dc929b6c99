// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";

/// @title Who is which node
/// @notice The manager's part of the virtual aggregator: account and node number belong together while enrolled, one to
///         one, and change only while no round runs. Who was who in earlier rounds stays known.
abstract contract Enrolment is IVirtualAggregator, Ownable2Step {
    using Checkpoints for Checkpoints.Trace160;

    struct Seats {
        uint16 count;
        uint128 nodes; // set
    }

    uint16 internal immutable _n;

    Seats private _seats;
    address[MAX_NODES] private _accounts;
    mapping(address account => uint256 nodePlusOne) private _nodes;
    // the same two, by the round from which they hold
    Checkpoints.Trace160[MAX_NODES] private _accountsFrom;
    mapping(address account => Checkpoints.Trace160 nodePlusOne) private _nodesFrom;

    /// @param n accounts that can be enrolled
    constructor(uint16 n) Ownable(msg.sender) {
        _n = n;
    }

    // ------------------------------------------------------------------ between rounds

    /// @inheritdoc IVirtualAggregator
    function enrol(uint8[] calldata nodes, address[] calldata accounts) external onlyOwner {
        uint32 round = _nextRound();
        if (nodes.length != accounts.length) revert LengthMismatch(nodes.length, accounts.length);
        Seats memory seats = _seats;
        for (uint256 i = 0; i < nodes.length; ++i) {
            uint8 node = nodes[i];
            address account = accounts[i];
            _requireNodeInRange(node);
            if (account == address(0)) revert ZeroAccount(node);
            if (_accounts[node] != address(0)) revert NodeTaken(node, _accounts[node]);
            if (_nodes[account] != 0) revert AccountTaken(account, uint8(_nodes[account] - 1));
            if (seats.count == _n) revert EnrolmentFull(_n);
            ++seats.count;
            seats.nodes |= Nodes.bit(node);
            _accounts[node] = account;
            _nodes[account] = uint256(node) + 1;
            // It returns what stood there before.
            // slither-disable-next-line unused-return
            _accountsFrom[node].push(round, uint160(account));
            // It returns what stood there before.
            // slither-disable-next-line unused-return
            _nodesFrom[account].push(round, uint160(node) + 1);
            _prepare(node);
            emit Enrolled(node, account);
        }
        _seats = seats;
    }

    /// @inheritdoc IVirtualAggregator
    function expel(uint8[] calldata nodes) external onlyOwner {
        uint32 round = _nextRound();
        Seats memory seats = _seats;
        for (uint256 i = 0; i < nodes.length; ++i) {
            uint8 node = nodes[i];
            _requireNodeInRange(node);
            address account = _accounts[node];
            if (account == address(0)) revert NotEnrolled(account);
            --seats.count;
            seats.nodes &= ~Nodes.bit(node);
            delete _accounts[node];
            delete _nodes[account];
            // It returns what stood there before.
            // slither-disable-next-line unused-return
            _accountsFrom[node].push(round, 0);
            // It returns what stood there before.
            // slither-disable-next-line unused-return
            _nodesFrom[account].push(round, 0);
            emit Expelled(node, account);
        }
        _seats = seats;
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IVirtualAggregator
    function nodeOf(address account) public view returns (uint8) {
        return _node(_nodes[account], account);
    }

    /// @inheritdoc IVirtualAggregator
    function accountOf(uint8 node) external view returns (address) {
        _requireNodeInRange(node);
        return _accounts[node];
    }

    /// @inheritdoc IVirtualAggregator
    function enrolled() public view returns (uint128 bitmap) {
        return _seats.nodes;
    }

    /// @inheritdoc IVirtualAggregator
    function nodeIn(uint32 round, address account) external view returns (uint8 node) {
        node = _node(_nodesFrom[account].upperLookup(round), account);
        if (!_declaredIn(round, node)) revert NotEnrolled(account);
    }

    /// @inheritdoc IVirtualAggregator
    function accountIn(uint32 round, uint8 node) external view returns (address) {
        _requireNodeInRange(node);
        return _declaredIn(round, node) ? address(_accountsFrom[node].upperLookup(round)) : address(0);
    }

    // ------------------------------------------------------------------ for the aggregator

    /// @dev The number of the next round; reverts while a round runs.
    function _nextRound() internal view virtual returns (uint32);

    /// @dev Whether the node declared in the round.
    function _declaredIn(uint32 round, uint8 node) internal view virtual returns (bool);

    /// @dev Makes room for a node.
    function _prepare(uint8 node) internal virtual;

    /// @dev Accounts that are enrolled.
    function _enrolledCount() internal view returns (uint16) {
        return _seats.count;
    }

    function _node(uint256 nodePlusOne, address account) private pure returns (uint8) {
        if (nodePlusOne == 0) revert NotEnrolled(account);
        return uint8(nodePlusOne - 1);
    }

    function _requireNodeInRange(uint8 node) internal pure {
        if (node >= MAX_NODES) revert NodeOutOfRange(node);
    }
}
