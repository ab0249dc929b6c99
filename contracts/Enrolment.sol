// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IVirtualAggregator} from "./interfaces/IVirtualAggregator.sol";
import {MAX_NODES, Nodes} from "./libraries/Nodes.sol";

/// @title Who is which node
/// @notice The manager's part of the virtual aggregator: account and node number belong together while enrolled, one to
///         one, and change only while no round runs.
abstract contract Enrolment is IVirtualAggregator, Ownable2Step {
    struct Seats {
        uint16 count;
        uint128 nodes; // set
    }

    uint16 internal immutable _n;

    Seats private _seats;
    address[MAX_NODES] private _accounts;
    mapping(address account => uint256 nodePlusOne) private _nodes;

    /// @param n accounts that can be enrolled, and must be for a round
    constructor(uint16 n) Ownable(msg.sender) {
        _n = n;
    }

    // ------------------------------------------------------------------ between rounds

    /// @inheritdoc IVirtualAggregator
    function enrol(uint8[] calldata nodes, address[] calldata accounts) external onlyOwner {
        _requireNoRound();
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
            emit Enrolled(node, account);
        }
        _seats = seats;
    }

    /// @inheritdoc IVirtualAggregator
    function expel(uint8[] calldata nodes) external onlyOwner {
        _requireNoRound();
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

    /// @dev Reverts while a round runs.
    function _requireNoRound() internal view virtual;

    /// @dev Accounts that are enrolled.
    function _enrolledCount() internal view returns (uint16) {
        return _seats.count;
    }

    function _node(uint256 nodePlusOne, address account) internal pure returns (uint8) {
        if (nodePlusOne == 0) revert NotEnrolled(account);
        return uint8(nodePlusOne - 1);
    }

    function _requireNodeInRange(uint8 node) internal pure {
        if (node >= MAX_NODES) revert NodeOutOfRange(node);
    }
}
