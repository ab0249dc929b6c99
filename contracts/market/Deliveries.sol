// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";

/// @title Deliveries of many nodes in one transaction
/// @notice Hands signed readings to a settlement, one after the other: what each comes to is what it would come to alone.
///         It holds nothing, and has no say: anybody may deliver. Where one is refused, none is delivered.
contract Deliveries {
    /// @notice What is delivered of one node, see ITradeSettlement.deliver.
    struct One {
        uint8 node;
        bytes energies;
        ITradeSettlement.Position[] positions;
        bytes32 r;
        bytes32 vs;
    }

    /// @param tariff of all of them: who has another supplier is delivered by another call
    function deliver(ITradeSettlement settlement, uint32 round, bytes calldata tariff, One[] calldata all) external {
        for (uint256 i = 0; i < all.length; ++i) {
            One calldata one = all[i];
            // One that is refused refuses all: who calls leaves it out.
            // slither-disable-next-line calls-loop
            settlement.deliver(round, one.node, one.energies, tariff, one.positions, one.r, one.vs);
        }
    }
}
