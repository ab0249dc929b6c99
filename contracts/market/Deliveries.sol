// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";

/// @title Deliveries of many nodes in one transaction
/// @notice Hands signed readings to a settlement, one after the other: what each comes to is what it would come to alone.
///         It holds nothing, and has no say: anybody may deliver. What the settlement refuses, as when somebody who saw the
///         batch has delivered one of it before, is skipped, and the others are delivered.
contract Deliveries {
    /// @notice What is delivered of one node, see ITradeSettlement.deliver.
    struct One {
        uint8 node;
        bytes energies;
        ITradeSettlement.Position[] positions;
        bytes32 r;
        bytes32 vs;
    }

    /// @param reason of the settlement
    event NotDelivered(uint32 indexed round, uint8 indexed node, bytes reason);

    /// @notice The settlement gave no reason: what it was given was used up.
    error MoreGasNeeded(uint8 node);

    /// @param tariff of all of them: who has another supplier is delivered by another call
    function deliver(ITradeSettlement settlement, uint32 round, bytes calldata tariff, One[] calldata all) external {
        for (uint256 i = 0; i < all.length; ++i) {
            One calldata one = all[i];
            // The caller chooses whom it calls, and nothing here depends on what that does.
            // slither-disable-next-line calls-loop,reentrancy-events
            try settlement.deliver(round, one.node, one.energies, tariff, one.positions, one.r, one.vs) {}
            catch (bytes memory reason) {
                // Else whoever estimates gas would be told less than it takes.
                if (reason.length == 0) revert MoreGasNeeded(one.node);
                emit NotDelivered(round, one.node, reason);
            }
        }
    }
}
