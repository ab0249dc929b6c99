// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Answers} from "../libraries/Answers.sol";
import {Books} from "../libraries/Books.sol";
import {Curve} from "../libraries/Curve.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {GRID_CONNECTION, MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Questions} from "../libraries/Questions.sol";
import {Reach} from "../libraries/Reach.sol";
import {Seals} from "../libraries/Seals.sol";
import {Round} from "../rounds/Round.sol";
import {PlanReferee} from "./PlanReferee.sol";
import {Referee} from "./Referee.sol";

/// @title The referee of sealed rounds
/// @notice A charge is about a household, but for one, and is proved by a node that shares something with it: it shows what
///         the two have in common, with a proof that it is that (see Seals). Then what the household said to it is judged
///         by the rules of the open form:
///
///         - by node 0: its residuals of the network, and its reach;
///         - by a partner: its reach in the bids of the two, and its residuals of trades where they are smaller than these
///           bids alone make them;
///         - by anybody: that the parts of an answer do not come to what the household submitted (see Answers);
///         - by a partner: that its part of an answer is false;
///         - by anybody: that it claims residuals of trades where there can be none.
///
///         The last is for two that claim the same of each other, which nobody else sees. Where the reach of bids has been
///         zero for two iterations, those of a pair cancel, and are as they were (see Reach): residuals are zero, unless
///         somebody claims falsely, or goes beyond its reach. An honest node proves at once which partner does, and who
///         is present changes. So who claims any, and is there with the same nodes LATE iterations later, is false, or lets
///         a partner be.
///
///         So what a household says of all its partners together is answered for, part by part, by who can see the part:
///         if the whole is false, a part is, or they do not come to it.
///
///         One charge is about node 0, that its newest answer is outside its limits: see PlanReferee.
///
///         Whoever sees the evidence can open what the two said to each other in the round, and nothing else.
contract SealedReferee is Referee {
    uint256 private constant TRADES = 2 ** 64 - 1; // mask of a lane of residuals
    uint256 private constant MARK = 2 ** 255;
    /// @dev Iterations in which an honest node proves that a partner went beyond its reach.
    uint256 private constant LATE = 6;

    PlanReferee private immutable _plans = new PlanReferee();

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

    /// @dev A partner's part, as the two know it.
    struct Part {
        uint256 primal;
        uint256 dual; //  times 4
        int256[] bids; // of the accused
        bytes32 key; //   of the iteration
        bool lower; //    whether the accused is the lower of the two
        uint256 steps; // of the day
    }

    /// @dev All parts of an answer together.
    struct Parts {
        uint256 primal;
        uint256 dual; //   times 4
        uint256[] sums; // by step, with MARK where there are any
        uint256 bids; //   how many the book has
        uint256 place; //  in the answer, behind those that were added
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
        Charge charge = abi.decode(evidence, (Charge));
        if (charge == Charge.Plan) return _plans.judge(aggregator, round, node, evidence);
        _require(charge >= Charge.Sealed && node != GRID_CONNECTION, "sealed");
        SealedEvidence calldata told = _sealedEvidence(evidence);
        ResidualEvidence calldata said = told.residuals;
        Case memory case_;
        (case_.aggregator, case_.round, case_.node) = (aggregator, round, node);
        _openHead(case_, said);
        _openNode(case_, node, said.book, said.accused);
        uint256 claimed = _link(said.accused, uint256(case_.iteration) + 1).residuals;
        if (charge == Charge.Late) return _judgeLate(case_, said, claimed);
        if (charge == Charge.Answer) return _judgeAnswer(case_, said, _answer(case_, told), claimed);

        Partner calldata other = said.partners[0];
        _openNode(case_, told.other, other.book, other.history);
        if (case_.present & Nodes.bit(node) == 0) return _require(claimed != 0, "residuals");

        bytes32 secret = Seals.secret(said.book, other.book, told.proof);
        Keys memory keys = Keys(told.other, Seals.key(secret, case_.iteration), 0);
        if (case_.iteration != 1) keys.before = Seals.key(secret, case_.iteration - 1);
        if (told.other == GRID_CONNECTION) _judgeCopies(case_, told, keys, claimed);
        else _judgeBids(case_, told, keys, claimed);
    }

    /// @dev What the accused answered.
    function _answer(Case memory case_, SealedEvidence calldata told) private view returns (bytes calldata) {
        // Where it was asked is not needed.
        // slither-disable-next-line unused-return
        (, uint240 hash) = case_.aggregator.question(case_.round, case_.node, case_.iteration);
        _require(hash == Questions.hashOf(told.answer), "answer");
        return told.answer;
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

    function _judgeBids(Case memory case_, SealedEvidence calldata told, Keys memory keys, uint256 claimed)
        private
        view
    {
        ResidualEvidence calldata said = told.residuals;
        Partner calldata theirs = said.partners[0];
        _openBids(case_, case_.node, said.accused, said.bids, said.bidsBefore);
        _openBids(case_, keys.other, theirs.history, theirs.bids, theirs.bidsBefore);
        (Said memory mine, Said memory its) = _openPair(case_, said, theirs, keys);
        (uint256 primal, uint256 dual) = _pairOf(case_, mine, its);
        if (told.answer.length != 0) {
            Part memory part = Part(primal, dual, mine.now_, keys.now_, case_.node < keys.other, 0);
            return _require(_isFalse(case_, said, _answer(case_, told), keys, part), "residuals");
        }
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
                _note(case_, Reach.beyond(mine.now_[i], agreed / 2, case_.reachOfBids), case_.reachOfBids);
            }
            primal += uint256((mine.now_[i] + its.now_[i]) ** 2);
            dual += uint256((mine.now_[i] - its.now_[i] - agreed) ** 2);
        }
    }

    /// @dev Whether an answer has another part for the partner than what the two said to each other.
    function _isFalse(
        Case memory case_, ResidualEvidence calldata said, bytes calldata answer, Keys memory keys, Part memory part
    ) private view returns (bool) {
        // Where the partner's bids are is not needed.
        // slither-disable-next-line unused-return
        (,, uint256 count, uint256 at) = Books.pair(said.book, case_.node, said.partners[0].book, keys.other);
        (bool there, uint256 place) = Answers.find(answer, said.book, keys.other);
        if (there != (count != 0)) return true;
        if (!there) return false;
        if (Answers.number(answer, place, Answers.SQUARE) != part.primal) return true;
        if (Answers.number(answer, place + Answers.SQUARE, Answers.SQUARE) != part.dual) return true;
        part.steps = case_.aggregator.setting().steps;
        return _isAnyFalse(part, said.book[at:at + count], answer, place + Answers.SQUARES);
    }

    /// @dev Whether one of the shares of a part, at these steps, is another than what the bid is under its pad.
    function _isAnyFalse(Part memory part, bytes calldata steps, bytes calldata answer, uint256 place)
        private
        pure
        returns (bool)
    {
        for (uint256 i = 0; i < steps.length; ++i) {
            uint256 step = uint8(steps[i]);
            if (step >= part.steps) continue;
            uint256 share = Seals.share(part.key, part.lower, part.bids[i], step);
            if (Answers.number(answer, place + Answers.SHARE * i, Answers.SHARE) != share) return true;
        }
        return false;
    }

    // ------------------------------------------------------------------ by anybody

    function _judgeAnswer(Case memory case_, ResidualEvidence calldata said, bytes calldata answer, uint256 claimed)
        private
        view
    {
        Parts memory parts;
        parts.sums = new uint256[](case_.aggregator.setting().steps);
        bool sound = _add(case_, said, answer, parts);
        sound = sound && parts.primal == claimed >> 64 & TRADES && Math.ceilDiv(parts.dual, 4) == claimed & TRADES;
        if (sound && case_.present & Nodes.bit(case_.node) != 0) {
            _require(keccak256(said.bids) == _link(said.accused, case_.iteration).bids, "bids");
            sound = _fits(parts.sums, said.bids, 2 * parts.bids);
        }
        _require(!sound, "residuals");
    }

    /// @dev Whether residuals of trades are claimed of k, where there are none, with the same nodes until k + LATE.
    function _judgeLate(Case memory case_, ResidualEvidence calldata said, uint256 claimed) private view {
        Closed[] calldata closed = said.closed;
        uint256 at = uint256(case_.iteration) - closed[0].iteration;
        uint256 last = at + LATE;
        _require(at != 0 && last < closed.length && case_.present & Nodes.bit(case_.node) != 0, "presence");
        // What copies could reach is not needed.
        // slither-disable-next-line unused-return
        (, int256 reach) = _reach(case_, closed, at - 1);
        for (uint256 i = at - 1; i <= last; ++i) _require(closed[i].present == case_.present, "presence");
        _require(reach == 0 && uint128(claimed) != 0, "residuals");
    }

    /// @dev Adds up the parts of an answer.
    /// @return sound whether they are all there, and only of whom they can be
    function _add(Case memory case_, ResidualEvidence calldata said, bytes calldata answer, Parts memory parts)
        private
        view
        returns (bool sound)
    {
        uint128 counted = Answers.counted(answer);
        parts.place = Answers.HEADER;
        sound = true;
        (bool more, uint8 partner, uint256 count, uint256 at) = Books.entry(said.book, 0, 0);
        while (more && partner < MAX_NODES) {
            parts.bids += count;
            if (counted & Nodes.bit(partner) != 0) {
                (bool moved, bool any) = _addPart(parts, said.book[at:at + count], answer);
                if (case_.present & Nodes.bit(partner) == 0 && (moved || any)) {
                    sound = sound && !moved && !_isOut(case_, said.closed, partner);
                }
            }
            (more, partner, count, at) = Books.entry(said.book, at + count, uint256(partner) + 1);
        }
        sound = sound && parts.place == answer.length;
    }

    /// @dev Adds the next part of an answer.
    /// @return moved whether it has residuals
    /// @return any   whether a share is not zero
    function _addPart(Parts memory parts, bytes calldata steps, bytes calldata answer)
        private
        pure
        returns (bool moved, bool any)
    {
        uint256 place = parts.place;
        uint256 primal = Answers.number(answer, place, Answers.SQUARE);
        uint256 dual = Answers.number(answer, place + Answers.SQUARE, Answers.SQUARE);
        parts.primal += primal;
        parts.dual += dual;
        moved = primal | dual != 0;
        any = _addShares(parts.sums, steps, answer, place + Answers.SQUARES);
        parts.place = place + Answers.length(steps.length);
    }

    /// @dev Adds shares of a partner to sums by step, each with a mark that there are any.
    /// @return any whether one is not zero
    function _addShares(uint256[] memory sums, bytes calldata steps, bytes calldata answer, uint256 place)
        private
        pure
        returns (bool any)
    {
        for (uint256 i = 0; i < steps.length; ++i) {
            uint256 step = uint8(steps[i]);
            if (step >= sums.length) continue;
            uint256 share = Answers.number(answer, place + Answers.SHARE * i, Answers.SHARE);
            any = any || share != 0;
            sums[step] = (sums[step] | MARK) + share;
        }
    }

    /// @dev Whether sums are those that stand behind bids.
    function _fits(uint256[] memory sums, bytes calldata bids, uint256 at) private pure returns (bool) {
        for (uint256 step = 0; step < sums.length; ++step) {
            if (sums[step] == 0) continue;
            if (uint24(sums[step]) != Answers.number(bids, at, Answers.SHARE)) return false;
            at += Answers.SHARE;
        }
        return true;
    }

    /// @dev Whether a node was out in k for sure: it was in none of so many iterations before as a node may miss, nor in k.
    function _isOut(Case memory case_, Closed[] calldata closed, uint8 node) private view returns (bool) {
        uint256 at = uint256(case_.iteration) - closed[0].iteration;
        // The aggregator is known, and calls nobody.
        // slither-disable-next-line calls-loop
        uint256 misses = case_.aggregator.setting().maxMisses;
        if (at < misses) return false;
        for (uint256 i = 0; i <= misses; ++i) {
            if (closed[at - i].present & Nodes.bit(node) != 0) return false;
        }
        return true;
    }

    /// @dev As `_residualEvidence`.
    function _sealedEvidence(bytes calldata evidence) private pure returns (SealedEvidence calldata content) {
        assembly ("memory-safe") {
            let start := add(evidence.offset, 96)
            content := add(start, calldataload(start))
        }
    }
}
