// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAgreement} from "../interfaces/IAgreement.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Books} from "../libraries/Books.sol";
import {Commitments} from "../libraries/Commitments.sol";
import {Seals} from "../libraries/Seals.sol";
import {Trades} from "../libraries/Trades.sol";

/// @title Trades that fit the last bids of a round of the virtual aggregator
/// @notice The lower node of a pair opens the commitments of both, so that the bids can be read; what fits is in
///         ITradeSettlement. Holds nothing: the aggregator creates it.
///
///         Where rounds are sealed, an opening of the partner has the pair's key for the last iteration behind the bids, 32
///         bytes (see Seals). It opens what the two bid each other there, and nothing else. Nothing proves that it is the
///         right one, and nothing has to: what is recorded both have stated alike, so who states with a wrong key gets
///         nothing recorded that the other has not stated, too.
contract AgreedBids is IAgreement {
    IVirtualAggregator private immutable _aggregator;
    /// @inheritdoc IAgreement
    uint16 public immutable steps;
    /// @inheritdoc IAgreement
    bool public constant isMarket = false;
    int256 private immutable _bidUnit; // of energy that a unit of a bid is, mW s
    bool private immutable _seals;

    /// @param seals whether rounds are sealed
    constructor(IVirtualAggregator aggregator, IVirtualAggregator.Setting memory setting, bool seals) {
        _seals = seals;
        _aggregator = aggregator;
        steps = setting.steps;
        _bidUnit = int256(uint256(setting.powerResolutionMilliwatt) * setting.stepSeconds);
    }

    /// @inheritdoc IAgreement
    function requireFit(
        uint32 round, uint8 node, Statement[] calldata statements, uint256 which, Opening calldata own
    ) external view {
        uint16 last = _aggregator.outcome(round).iterations;
        _requireOpening(round, last, node, own, own.bids);
        for (uint256 i = 0; i < statements.length; ++i) {
            if (which >> i & 1 == 0) continue;
            Opening calldata theirs = statements[i].opening;
            uint8 partner = statements[i].partner;
            _requireOpening(round, last, partner, theirs, _submitted(round, partner, theirs.bids));
            _requireFit(node, statements[i], own);
        }
    }

    /// @inheritdoc IAgreement
    function requireTraded(uint32, uint8, bytes calldata) external pure {
        revert NoMarket();
    }

    /// @dev The bids as the partner submitted them, of those in its opening.
    function _submitted(uint32 round, uint8 partner, bytes calldata bids) private view returns (bytes calldata) {
        if (!_seals) return bids;
        if (bids.length < Seals.KEY) revert ITradeSettlement.WrongOpening(round, partner);
        return bids[:bids.length - Seals.KEY];
    }

    function _requireFit(uint8 node, Statement calldata said, Opening calldata own) private view {
        (uint256 first, uint256 second, uint256 count, uint256 at) =
            Books.pair(own.book, node, said.opening.book, said.partner);
        bytes calldata theirs = said.opening.bids;
        int256[] memory twice;
        if (_seals) {
            bytes32 key = bytes32(theirs[theirs.length - Seals.KEY:]);
            twice = Seals.opened(key, node, own.bids, first, count);
            Seals.take(twice, Seals.opened(key, said.partner, theirs, second, count));
        } else {
            twice = Books.differences(own.bids, first, theirs, second, count);
        }
        Trades.requireFit(said.trades, own.book[at:at + count], twice, _bidUnit, said.partner);
    }

    /// @dev Requires that the book and the bids of an opening are what the node committed to in the last iteration.
    /// @param bids as the node submitted them
    function _requireOpening(
        uint32 round, uint16 last, uint8 node, Opening calldata opening, bytes calldata bids
    ) private view {
        // The aggregator is known, and calls nobody.
        // slither-disable-next-line calls-loop
        (bytes32 submissions, bytes32 book) = _aggregator.commitment(round, node);
        bytes32 submission = Commitments.submission(
            round, last, node, opening.copies, keccak256(bids), opening.residuals
        );
        if (submissions != Commitments.extended(opening.before, submission) || book != keccak256(opening.book)) {
            revert ITradeSettlement.WrongOpening(round, node);
        }
    }
}
