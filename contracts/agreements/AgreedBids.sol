// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAgreement} from "../interfaces/IAgreement.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Books} from "../libraries/Books.sol";
import {Commitments} from "../libraries/Commitments.sol";
import {Trades} from "../libraries/Trades.sol";

/// @title Trades that fit the last bids of a round of the virtual aggregator
/// @notice The lower node of a pair opens the commitments of both, so that the bids can be read; what fits is in
///         ITradeSettlement. Holds nothing: the aggregator creates it.
contract AgreedBids is IAgreement {
    IVirtualAggregator private immutable _aggregator;
    /// @inheritdoc IAgreement
    uint16 public immutable steps;
    int256 private immutable _bidUnit; // of energy that a unit of a bid is, mW s

    constructor(IVirtualAggregator aggregator, IVirtualAggregator.Setting memory setting) {
        _aggregator = aggregator;
        steps = setting.steps;
        _bidUnit = int256(uint256(setting.powerResolutionMilliwatt) * setting.stepSeconds);
    }

    /// @inheritdoc IAgreement
    function requireFit(
        uint32 round, uint8 node, Statement[] calldata statements, uint256 which, Opening calldata own
    ) external view {
        uint16 last = _aggregator.outcome(round).iterations;
        _requireOpening(round, last, node, own);
        for (uint256 i = 0; i < statements.length; ++i) {
            if (which >> i & 1 == 0) continue;
            _requireOpening(round, last, statements[i].partner, statements[i].opening);
            _requireFit(node, statements[i], own);
        }
    }

    function _requireFit(uint8 node, Statement calldata said, Opening calldata own) private view {
        (uint256 first, uint256 second, uint256 count, uint256 at) =
            Books.pair(own.book, node, said.opening.book, said.partner);
        int256[] memory twice = Books.differences(own.bids, first, said.opening.bids, second, count);
        Trades.requireFit(said.trades, own.book[at:at + count], twice, _bidUnit, said.partner);
    }

    /// @dev Requires that the book and the bids of an opening are what the node committed to in the last iteration.
    function _requireOpening(uint32 round, uint16 last, uint8 node, Opening calldata opening) private view {
        // The aggregator is known, and calls nobody.
        // slither-disable-next-line calls-loop
        (bytes32 submissions, bytes32 book) = _aggregator.commitment(round, node);
        bytes32 submission = Commitments.submission(
            round, last, node, opening.copies, keccak256(opening.bids), opening.residuals
        );
        if (submissions != Commitments.extended(opening.before, submission) || book != keccak256(opening.book)) {
            revert ITradeSettlement.WrongOpening(round, node);
        }
    }
}
