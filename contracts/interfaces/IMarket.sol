// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAgreeing, IAgreement} from "./IAgreement.sol";
import {IRounds} from "./IRounds.sol";

/// @title A market: nodes trade with all at once, and pay where they do
/// @notice A round is a day's market among the nodes that were enrolled when it was opened. A settlement reads it as it
///         reads any round (IOutcomes), and asks what each node has traded in it (IAgreement.requireTraded): what a meter
///         says beyond that is settled at the tariff. There are rounds of product 0 only; a day whose round converged is
///         not opened anew, since it is paid. Nodes have nothing to state about pairs.
///
/// @dev Invariants. Tests bear these numbers.
///   MK1  Only who was heard in a round has a position in it, and only once its declaring began.
///   MK2  A settlement is told a node's trades when they cannot change any longer, all of them and no others; so the
///        trades of all nodes that it is told of add up to zero at each step.
interface IMarket is IRounds, IAgreeing, IAgreement {
    error NotInPairs();
    error TradingGoesOn(uint32 round, uint256 until);
    error WrongTrades(uint32 round, uint8 node);
}
