// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IRounds} from "../interfaces/IRounds.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";

/// @title Who is which node, now and before
/// @notice Account and node number belong together while enrolled, one to one. Changes are numbered, and happen only while
///         no round runs; so who was who in a round follows from the number of changes before it.
library Seats {
    using Checkpoints for Checkpoints.Trace160;

    /// @dev | variable     | slots    |                                                    |
    ///      |--------------|----------|----------------------------------------------------|
    ///      | count .. open | 1       | what the manager's calls, and each round, change   |
    ///      | accounts     | 128      |                                                    |
    ///      | nodes        | mapping  | by account                                         |
    ///      | accountsFrom | mapping  | the same two, by the change from which they hold   |
    ///      | nodesFrom    | mapping  |                                                    |
    struct Store {
        uint16 count;
        uint128 nodes; //   set
        uint32 changes; //  calls that have enrolled or expelled
        uint16 running; //  rounds
        address[MAX_NODES] accounts;
        mapping(address account => uint256 nodePlusOne) nodeOf;
        Checkpoints.Trace160[MAX_NODES] accountsFrom;
        mapping(address account => Checkpoints.Trace160 nodePlusOne) nodesFrom;
    }

    /// @param most that can be enrolled
    function enrol(Store storage self, uint16 most, uint8[] calldata nodes, address[] calldata accounts) internal {
        if (nodes.length != accounts.length) revert IRounds.LengthMismatch(nodes.length, accounts.length);
        uint32 change = _change(self);
        for (uint256 i = 0; i < nodes.length; ++i) {
            (uint8 node, address account) = (nodes[i], accounts[i]);
            requireNode(node);
            if (account == address(0)) revert IRounds.ZeroAccount(node);
            if (self.accounts[node] != address(0)) revert IRounds.NodeTaken(node, self.accounts[node]);
            if (self.nodeOf[account] != 0) revert IRounds.AccountTaken(account, uint8(self.nodeOf[account] - 1));
            if (self.count == most) revert IRounds.EnrolmentFull(most);
            ++self.count;
            self.nodes |= Nodes.bit(node);
            self.accounts[node] = account;
            self.nodeOf[account] = uint256(node) + 1;
            // They return what stood there before.
            // slither-disable-next-line unused-return
            self.accountsFrom[node].push(change, uint160(account));
            // slither-disable-next-line unused-return
            self.nodesFrom[account].push(change, uint160(node) + 1);
            emit IRounds.Enrolled(node, account);
        }
    }

    function expel(Store storage self, uint8[] calldata nodes) internal {
        uint32 change = _change(self);
        for (uint256 i = 0; i < nodes.length; ++i) {
            uint8 node = nodes[i];
            requireNode(node);
            address account = self.accounts[node];
            if (account == address(0)) revert IRounds.NotEnrolled(account);
            --self.count;
            self.nodes &= ~Nodes.bit(node);
            delete self.accounts[node];
            delete self.nodeOf[account];
            // They return what stood there before.
            // slither-disable-next-line unused-return
            self.accountsFrom[node].push(change, 0);
            // slither-disable-next-line unused-return
            self.nodesFrom[account].push(change, 0);
            emit IRounds.Expelled(node, account);
        }
    }

    function _change(Store storage self) private returns (uint32) {
        return ++self.changes;
    }

    // ------------------------------------------------------------------ who is, and who was

    function numberOf(Store storage self, address account) internal view returns (uint8) {
        return _node(self.nodeOf[account], account);
    }

    /// @param changes before
    function nodeAfter(Store storage self, uint32 changes, address account) internal view returns (uint8) {
        return _node(self.nodesFrom[account].upperLookup(changes), account);
    }

    function accountAfter(Store storage self, uint32 changes, uint8 node_) internal view returns (address) {
        return address(self.accountsFrom[node_].upperLookup(changes));
    }

    function _node(uint256 nodePlusOne, address account) private pure returns (uint8) {
        if (nodePlusOne == 0) revert IRounds.NotEnrolled(account);
        return uint8(nodePlusOne - 1);
    }

    function requireNode(uint8 node_) internal pure {
        if (node_ >= MAX_NODES) revert IRounds.NodeOutOfRange(node_);
    }
}
