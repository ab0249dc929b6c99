// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Books} from "../libraries/Books.sol";
import {Curve} from "../libraries/Curve.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {GRID_CONNECTION, Nodes} from "../libraries/Nodes.sol";
import {Seals} from "../libraries/Seals.sol";
import {Round} from "../rounds/Round.sol";
import {Referee} from "./Referee.sol";

/// @title The referee of sealed rounds
/// @notice A charge is about a household, and is proved by a node that shares something with it: it shows what the two have
///         in common, with a proof that it is that (see Seals). Then what the household said to it is judged by the rules of
///         the open form:
///
///         - by node 0: its residuals of the network, and its reach;
///         - by a partner: its reach in the bids of the two, and its residuals of trades where they are smaller than these
///           bids alone make them. What it bids to others stays sealed, so that they are too large cannot be proved.
///
///         Whoever sees the evidence can open what the two said to each other in the round, and nothing else.
contract SealedReferee is Referee {
    uint256 private constant TRADES = 2 ** 64 - 1; // mask of a lane of residuals

    /// @dev Keys of the accused and who accuses it, for the iterations k and k - 1.
    struct Keys {
        uint8 other;
        bytes32 now_;
        bytes32 before;
    }

    /// @dev Bids of one to the other in k and k - 1.
    struct Said {
        int256[] now_;
        int256[] before;
    }

    /// @inheritdoc Referee
    function seals() external pure override returns (bool) {
        return true;
    }

    /// @inheritdoc Referee
    function judge(IVirtualAggregator aggregator, uint32 round, uint8 node, bytes calldata evidence)
        external
        view
        override
    {
        _require(abi.decode(evidence, (Charge)) == Charge.Sealed && node != GRID_CONNECTION, "sealed");
        SealedEvidence calldata told = _sealedEvidence(evidence);
        ResidualEvidence calldata said = told.residuals;
        Partner calldata other = said.partners[0];
        Case memory case_;
        (case_.aggregator, case_.round, case_.node) = (aggregator, round, node);
        _openHead(case_, said);
        _openNode(case_, node, said.book, said.accused);
        _openNode(case_, told.other, other.book, other.history);
        uint256 claimed = _link(said.accused, uint256(case_.iteration) + 1).residuals;
        if (case_.present & Nodes.bit(node) == 0) return _require(claimed != 0, "residuals");

        bytes32 secret = Seals.secret(said.book, other.book, told.proof);
        Keys memory keys = Keys(told.other, Seals.key(secret, case_.iteration), 0);
        if (case_.iteration != 1) keys.before = Seals.key(secret, case_.iteration - 1);
        if (told.other == GRID_CONNECTION) _judgeCopies(case_, told, keys, claimed);
        else _judgeBids(case_, said, keys, claimed);
    }

    // ------------------------------------------------------------------ by node 0

    function _judgeCopies(Case memory case_, SealedEvidence calldata told, Keys memory keys, uint256 claimed)
        private
        view
    {
        case_.copies = told.residuals.copies;
        _require(Lanes.hash(case_.copies) == _link(told.residuals.accused, case_.iteration).copies, "copies");
        uint256[] memory before;
        if (case_.presentBefore & Nodes.bit(case_.node) != 0) {
            before = told.copiesBefore;
            uint256 iteration = uint256(case_.iteration) - 1;
            _require(Lanes.hash(before) == _link(told.residuals.accused, iteration).copies, "copies");
        }
        _unseal(case_, keys, before);
        _require(claimed >> 128 != _network(case_) >> 128 || case_.departed, "residuals");
    }

    /// @dev Takes the pads off the copies of the accused, and off the sums that they are in.
    /// @param before its copies in k - 1; empty where it was not there
    function _unseal(Case memory case_, Keys memory keys, uint256[] memory before) private view {
        IVirtualAggregator.Roster memory roster = case_.aggregator.rosterOf(Round.product(case_.round));
        uint256 steps = case_.aggregator.setting().steps;
        uint256 words = Lanes.words(steps);
        uint256 place = _place(roster, case_.node, words);
        uint128 other = Nodes.bit(keys.other);
        for (uint256 i = 0; i < case_.copies.length; ++i) {
            uint256 lanes = Math.min(steps - i % words * Lanes.PER_WORD, Lanes.PER_WORD);
            uint256 own = case_.copies[i];
            case_.copies[i] = Seals.openedWord(keys.now_, case_.node, i, own, lanes);
            uint256 theirs = case_.sums[place + i] - own;
            case_.sums[place + i] = case_.copies[i];
            if (case_.present & other != 0) {
                case_.sums[place + i] += Seals.openedWord(keys.now_, keys.other, i, theirs, lanes);
            }
            if (before.length == 0) continue;
            theirs = case_.sumsBefore[place + i] - before[i];
            case_.sumsBefore[place + i] = Seals.openedWord(keys.before, case_.node, i, before[i], lanes);
            if (case_.presentBefore & other != 0) {
                case_.sumsBefore[place + i] += Seals.openedWord(keys.before, keys.other, i, theirs, lanes);
            }
        }
    }

    /// @dev Where the sums of a node's line begin: P and Q of each line, ascending.
    function _place(IVirtualAggregator.Roster memory roster, uint8 node, uint256 words) private pure returns (uint256) {
        return 2 * words * Nodes.count(roster.lines & (Nodes.bit(node) - 1));
    }

    // ------------------------------------------------------------------ by a partner

    function _judgeBids(Case memory case_, ResidualEvidence calldata said, Keys memory keys, uint256 claimed)
        private
        pure
    {
        Partner calldata theirs = said.partners[0];
        _openBids(case_, case_.node, said.accused, said.bids, said.bidsBefore);
        _openBids(case_, keys.other, theirs.history, theirs.bids, theirs.bidsBefore);
        (Said memory mine, Said memory its) = _openPair(case_, said, theirs, keys);
        (uint256 primal, uint256 dual) = _pairOf(case_, mine, its);
        bool less = claimed >> 64 & TRADES < primal || claimed & TRADES < Math.ceilDiv(dual, 4);
        _require(less || case_.departed, "residuals");
    }

    /// @dev What the two bid each other; of k - 1 where both were there.
    function _openPair(
        Case memory case_, ResidualEvidence calldata said, Partner calldata theirs, Keys memory keys
    ) private pure returns (Said memory mine, Said memory its) {
        // The steps agree, which ones they are is not needed.
        // slither-disable-next-line unused-return
        (uint256 one, uint256 other, uint256 count,) = Books.pair(said.book, case_.node, theirs.book, keys.other);
        mine.now_ = Seals.opened(keys.now_, case_.node, said.bids, one, count);
        its.now_ = Seals.opened(keys.now_, keys.other, theirs.bids, other, count);
        uint128 both = Nodes.bit(case_.node) | Nodes.bit(keys.other);
        if (case_.presentBefore & both != both) return (mine, its);
        mine.before = Seals.opened(keys.before, case_.node, said.bidsBefore, one, count);
        its.before = Seals.opened(keys.before, keys.other, theirs.bidsBefore, other, count);
    }

    /// @dev Sums of (d_ij + d_ji)^2 and (a - a')^2 over the bids of the pair, and whether one is beyond its reach.
    function _pairOf(Case memory case_, Said memory mine, Said memory its)
        private
        pure
        returns (uint256 primal, uint256 dual)
    {
        bool counted = mine.before.length != 0;
        for (uint256 i = 0; i < mine.now_.length; ++i) {
            int256 agreed = 0; // a'
            if (counted) {
                agreed = mine.before[i] - its.before[i];
                _note(case_, _beyond(mine.now_[i], agreed / 2), case_.reachOfBids);
            }
            primal += uint256((mine.now_[i] + its.now_[i]) ** 2);
            dual += uint256((mine.now_[i] - its.now_[i] - agreed) ** 2);
        }
    }

    /// @dev As `_residualEvidence`.
    function _sealedEvidence(bytes calldata evidence) private pure returns (SealedEvidence calldata content) {
        assembly ("memory-safe") {
            let start := add(evidence.offset, 96)
            content := add(start, calldataload(start))
        }
    }
}
