// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IReferee} from "../interfaces/IReferee.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Blocks, Entry} from "../libraries/Blocks.sol";
import {Books} from "../libraries/Books.sol";
import {Commitments} from "../libraries/Commitments.sol";
import {Feeder} from "../libraries/Feeder.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {GRID_CONNECTION, MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Reach} from "../libraries/Reach.sol";
import {Street} from "../libraries/Street.sol";
import {Round} from "../rounds/Round.sol";

/// @title The referee
/// @notice See IReferee for what evidence has to hold, IVirtualAggregator for the residuals, Feeder for the power flow.
///         Nothing in the evidence is taken on trust: every part is hashed, and the hashes lead to what the aggregator
///         stores. What a node did not submit cannot be shown, what it did cannot be left out.
contract Referee is IReferee {
    /// @dev What a charge of false residuals is about.
    struct Case {
        IVirtualAggregator aggregator;
        uint32 round;
        uint8 node;
        uint16 iteration; //      k
        uint128 present; //       in k
        uint128 presentBefore; // in k - 1; empty where k = 1
        uint256 steps;
        uint256[] copies; //      x
        uint256[] sums; //        S of all blocks
        uint256[] sumsBefore; //  S'
        int256 reachOfCopies; //  see Reach
        int256 reachOfBids;
        bool departed; //         a copy or bid is beyond it
    }

    /// @dev A block of the accused.
    struct Term {
        uint256 copies; //      index of its first word among the copies
        uint256 sums; //        and among the sums
        int256 count; //        c
        int256 countBefore; //  c', or 1
        bool counted; //        whether it counted in k - 1
        int256 none; //         a lane of S' where it did not: zero, with a bias
    }

    /// @inheritdoc IReferee
    function seals() external pure virtual returns (bool) {
        return false;
    }

    // ------------------------------------------------------------------ charges

    /// @inheritdoc IReferee
    function judge(IVirtualAggregator aggregator, uint32 round, uint8 node, bytes calldata evidence)
        external
        view
        virtual
    {
        if (abi.decode(evidence, (Charge)) == Charge.Residuals) {
            Case memory case_;
            (case_.aggregator, case_.round, case_.node) = (aggregator, round, node);
            _judgeResiduals(case_, _residualEvidence(evidence));
        } else {
            _judgePlan(aggregator, round, node, _planEvidence(evidence), new bytes32[](0));
        }
    }

    function _judgeResiduals(Case memory case_, ResidualEvidence calldata evidence) private view {
        _openHead(case_, evidence);
        _openNode(case_, case_.node, evidence.book, evidence.accused);
        uint256 claimed = _link(evidence.accused, uint256(case_.iteration) + 1).residuals;
        uint256 computed = 0;
        if (case_.present & Nodes.bit(case_.node) != 0) {
            case_.copies = evidence.copies;
            _require(Lanes.hash(case_.copies) == _link(evidence.accused, case_.iteration).copies, "copies");
            _openBids(case_, case_.node, evidence.accused, evidence.bids, evidence.bidsBefore);
            computed = _network(case_) | _trades(case_, evidence);
        }
        _require(claimed != computed || case_.departed, "residuals");
    }

    /// @param keys what opens it, of each child; none where it is open
    function _judgePlan(
        IVirtualAggregator aggregator,
        uint32 round,
        uint8 node,
        PlanEvidence calldata evidence,
        bytes32[] memory keys
    ) internal view {
        (bytes32 submissions, bytes32 book) = aggregator.commitment(round, node);
        _require(keccak256(evidence.book) == book, "book");
        bytes32 newest = _submission(round, node, evidence.newest);
        _require(Commitments.extended(evidence.before, newest) == submissions, "history");
        _require(keccak256(abi.encodePacked(evidence.copies)) == evidence.newest.copies, "copies");
        IVirtualAggregator.Declaration memory declared = aggregator.declarationOf(Round.product(round), node);
        _require(declared.round == round && declared.depth == 0 && declared.children != 0, "presence");

        (int256[] memory s, int256[] memory q) = _injections(aggregator.setting(), declared.children, evidence, keys);
        _require(_outside(_limits(evidence.book), node, s, q), "plan");
    }

    /// @dev The limits in what a root declared.
    function _limits(bytes calldata book) internal pure virtual returns (bytes calldata) {
        return book;
    }

    /// @dev A word of what a root answered a child.
    /// @param place  of the child among the children
    /// @param number of the word among those of P, then of Q
    function _answered(PlanEvidence calldata evidence, bytes32[] memory, uint256 place, uint256 number, uint256 steps)
        internal
        pure
        virtual
        returns (uint256)
    {
        return evidence.copies[2 * Lanes.words(steps) * place + number];
    }

    /// @dev Whether injections, mW and mvar by node, are outside the limits that a root published as its book.
    function _outside(bytes calldata book, uint8 root, int256[] memory s, int256[] memory q)
        internal
        pure
        returns (bool)
    {
        if (Street.isStreet(book)) {
            (bool isOne, Street.Network memory street) = Street.read(book);
            _require(isOne, "book");
            return Street.outside(street, s, q);
        }
        (bool sound, Feeder.Limits memory limits, Feeder.Line[] memory lines) = Feeder.read(book, root);
        _require(sound, "book");
        return Feeder.outside(limits, lines, s, q);
    }

    /// @dev What a root answered its children at a step, mW and mvar by node: its copies are P and Q of each of them.
    function _injections(
        IVirtualAggregator.Setting memory setting,
        uint128 children,
        PlanEvidence calldata evidence,
        bytes32[] memory keys
    ) private pure returns (int256[] memory s, int256[] memory q) {
        uint256 words = Lanes.words(setting.steps);
        _require(evidence.step < setting.steps, "plan");
        (s, q) = (new int256[](MAX_NODES), new int256[](MAX_NODES));
        for (uint256 place = 0; children != 0; ++place) {
            uint8 child = Nodes.lowest(children);
            s[child] = _power(setting, evidence, keys, place, 0);
            q[child] = _power(setting, evidence, keys, place, words);
            children = Nodes.withoutLowest(children);
        }
    }

    /// @dev What a root answered a child at the step.
    /// @param first number of the first word of P, or of Q
    function _power(
        IVirtualAggregator.Setting memory setting,
        PlanEvidence calldata evidence,
        bytes32[] memory keys,
        uint256 place,
        uint256 first
    ) private pure returns (int256) {
        uint256 number = first + evidence.step / Lanes.PER_WORD;
        return _milliwatts(setting, _answered(evidence, keys, place, number, setting.steps), evidence.step);
    }

    function _milliwatts(IVirtualAggregator.Setting memory setting, uint256 word, uint256 step)
        private
        pure
        returns (int256)
    {
        int256 units = int256(Lanes.lane(word, step)) - int256(Lanes.BIAS_POWER);
        return units * int256(uint256(setting.powerResolutionMilliwatt));
    }

    // ------------------------------------------------------------------ residuals

    /// @dev r_grid and s_grid, in the upper two lanes of a word.
    function _network(Case memory case_) internal view returns (uint256) {
        IVirtualAggregator.Roster memory roster = case_.aggregator.rosterOf(Round.product(case_.round));
        case_.steps = case_.aggregator.setting().steps;
        uint256 words = Lanes.words(case_.steps);
        Entry[] memory entries = _held(case_);
        // Only the places are needed.
        // slither-disable-next-line unused-return
        (, uint256[] memory places) = Blocks.layout(roster.lines, roster.inner, words);
        uint256 primal = 0;
        uint256 dual = 0;
        uint256 copies = 0;
        for (uint256 i = 0; i < entries.length; ++i) {
            Term memory term = _term(case_, entries[i]);
            uint256 sums = places[entries[i].key()];
            for (uint256 end = copies + entries[i].width() * words; copies < end; copies += words) {
                if (term.count < 2) continue;
                (term.copies, term.sums) = (copies, sums);
                sums += words;
                (uint256 r, uint256 s) = _squares(case_, term);
                primal += Math.ceilDiv(r, uint256(term.count) ** 2);
                dual += Math.ceilDiv(s, uint256(term.count * term.countBefore) ** 2);
            }
        }
        return primal << 192 | dual << 128;
    }

    function _held(Case memory case_) private view returns (Entry[] memory) {
        uint8 product = Round.product(case_.round);
        IVirtualAggregator.Declaration memory declared = case_.aggregator.declarationOf(product, case_.node);
        uint128 siblings =
            declared.depth > 1 ? case_.aggregator.declarationOf(product, declared.parent).children : 0;
        return Blocks.held(case_.node, declared, siblings);
    }

    /// @dev Who is in the sums of the blocks of an entry.
    function _term(Case memory case_, Entry entry) private pure returns (Term memory term) {
        uint128 holders = entry.holders();
        term.count = int256(Nodes.count(holders & case_.present));
        term.countBefore = int256(Nodes.count(holders & case_.presentBefore));
        term.counted = term.countBefore > 1 && case_.presentBefore & Nodes.bit(case_.node) != 0;
        if (!term.counted) {
            term.countBefore = 1;
            term.none = int256(entry.isVoltage() ? Lanes.BIAS_VOLTAGE : Lanes.BIAS_POWER);
        }
    }

    /// @dev Sums over time of (c x - S)^2 and (c' S - c S')^2. All biases cancel. Below 2^61 a step, so unchecked.
    function _squares(Case memory case_, Term memory term) private pure returns (uint256 primal, uint256 dual) {
        unchecked {
            uint256 before = Lanes.inEach(uint256(term.none));
            for (uint256 word = 0; word * Lanes.PER_WORD < case_.steps; ++word) {
                if (term.counted) before = case_.sumsBefore[term.sums + word];
                uint256 left = case_.steps - word * Lanes.PER_WORD;
                (uint256 r, uint256 s, int256 away) = _squaresOf(
                    [case_.copies[term.copies + word], case_.sums[term.sums + word], before],
                    term.count,
                    term.countBefore,
                    left < Lanes.PER_WORD ? left : Lanes.PER_WORD
                );
                primal += r;
                dual += s;
                if (term.counted) _note(case_, away, case_.reachOfCopies);
            }
        }
    }

    /// @dev The same of the first lanes of a word, and how far a copy is at most from the average before.
    /// @param words x, S, S'
    function _squaresOf(uint256[3] memory words, int256 count, int256 countBefore, uint256 lanes)
        private
        pure
        returns (uint256 primal, uint256 dual, int256 away)
    {
        (uint256 copies, uint256 sums, uint256 before) = (words[0], words[1], words[2]);
        unchecked {
            for (; lanes != 0; --lanes) {
                (int256 x, int256 sum) = (int256(copies & Lanes.LANE), int256(sums & Lanes.LANE));
                int256 sumBefore = int256(before & Lanes.LANE);
                int256 number = count * x - sum;
                primal += uint256(number * number);
                number = countBefore * sum - count * sumBefore;
                dual += uint256(number * number);
                number = x - sumBefore / countBefore;
                if (number < 0) number = -number;
                if (number > away) away = number;
                copies >>= Lanes.LANE_BITS;
                sums >>= Lanes.LANE_BITS;
                before >>= Lanes.LANE_BITS;
            }
        }
    }

    /// @dev r_trade and s_trade, in the lower two lanes of a word.
    function _trades(Case memory case_, ResidualEvidence calldata evidence) private view returns (uint256) {
        uint256 primal = 0;
        uint256 dual = 0; // times 4
        (bool there, uint8 partner, uint256 count, uint256 steps) = Books.entry(evidence.book, 0, 0);
        for (uint256 i = 0; there; ++i) {
            if (case_.present & Nodes.bit(partner) != 0) {
                (uint256 r, uint256 s) = _pair(case_, evidence, evidence.partners[i], partner);
                primal += r;
                dual += s;
            }
            (there, partner, count, steps) = Books.entry(evidence.book, steps + count, uint256(partner) + 1);
        }
        return primal << 64 | Math.ceilDiv(dual, 4);
    }

    /// @dev Sums of (d_ij + d_ji)^2 and (a - a')^2 over the bids of a pair.
    function _pair(Case memory case_, ResidualEvidence calldata evidence, Partner calldata theirs, uint8 partner)
        private
        view
        returns (uint256 primal, uint256 dual)
    {
        _openNode(case_, partner, theirs.book, theirs.history);
        _openBids(case_, partner, theirs.history, theirs.bids, theirs.bidsBefore);
        uint128 both = Nodes.bit(case_.node) | Nodes.bit(partner);
        bool counted = case_.presentBefore & both == both;
        // The steps agree, which ones they are is not needed.
        // slither-disable-next-line unused-return
        (uint256 one, uint256 other, uint256 count,) = Books.pair(evidence.book, case_.node, theirs.book, partner);
        for (uint256 i = 0; i < count; ++i) {
            (uint256 r, uint256 s) = _bid(case_, evidence, theirs, one + i, other + i, counted);
            primal += r;
            dual += s;
        }
    }

    /// @dev The same of one bid: where it is in the bids of the accused, and where the partner's is. On the way, whether
    ///      it is beyond its reach.
    function _bid(
        Case memory case_,
        ResidualEvidence calldata evidence,
        Partner calldata theirs,
        uint256 one,
        uint256 other,
        bool counted
    ) private pure returns (uint256, uint256) {
        (int256 mine, int256 its) = (Books.bidAt(evidence.bids, one), Books.bidAt(theirs.bids, other));
        int256 agreed = 0; // a'
        if (counted) {
            agreed = Books.bidAt(evidence.bidsBefore, one) - Books.bidAt(theirs.bidsBefore, other);
            _note(case_, Reach.beyond(mine, agreed / 2, case_.reachOfBids), case_.reachOfBids);
        }
        return (uint256((mine + its) ** 2), uint256((mine - its - agreed) ** 2));
    }

    function _note(Case memory case_, int256 away, int256 reach) internal pure {
        if (away > reach || away < -reach) case_.departed = true;
    }

    // ------------------------------------------------------------------ opening what the aggregator stores

    /// @dev The iterations k - 1 and k: who was present, and the sums. And how long the same nodes were.
    function _openHead(Case memory case_, ResidualEvidence calldata evidence) internal view {
        case_.iteration = evidence.iteration;
        bytes32 head = evidence.headBefore;
        for (uint256 i = 0; i < evidence.closed.length; ++i) {
            Closed calldata closed = evidence.closed[i];
            head = Commitments.closed(
                head, case_.round, closed.iteration, closed.present, closed.residuals, closed.sums
            );
        }
        // The hash covers the iteration.
        // slither-disable-next-line unused-return
        (, bytes32 newest) = case_.aggregator.headOf(Round.product(case_.round));
        uint256 at = Math.saturatingSub(evidence.iteration, evidence.closed[0].iteration); // of k
        _require(head == newest && at < evidence.closed.length, "head");
        _require(evidence.closed[at].iteration == evidence.iteration && (at != 0 || evidence.iteration == 1), "head");
        case_.sums = evidence.sums;
        _require(Lanes.hash(case_.sums) == evidence.closed[at].sums, "sums");
        case_.present = evidence.closed[at].present;
        (case_.reachOfCopies, case_.reachOfBids) = _reach(case_, evidence.closed, at);
        if (evidence.iteration == 1) return;
        case_.sumsBefore = evidence.sumsBefore;
        _require(Lanes.hash(case_.sumsBefore) == evidence.closed[at - 1].sums, "sums");
        case_.presentBefore = evidence.closed[at - 1].present;
    }

    /// @dev What k could reach. A round in which the same nodes were present in the m iterations before k is at least
    ///      m - maxMisses old: who was missing all the time was out after maxMisses. Answers of node 0 reach anywhere.
    function _reach(Case memory case_, Closed[] calldata closed, uint256 at) internal view returns (int256, int256) {
        uint256 first = at;
        while (first != 0 && closed[first - 1].present == case_.present) --first;
        IVirtualAggregator.Setting memory setting = case_.aggregator.setting();
        uint256 age = Math.saturatingSub(at - first, setting.maxMisses);
        uint256 mu = case_.aggregator.theta().mu;
        int256 copies = case_.node == GRID_CONNECTION
            ? type(int256).max
            : Reach.farthest(Reach.COPIES, age, setting.powerResolutionMilliwatt, mu);
        return (copies, Reach.farthest(Reach.BIDS, age, setting.powerResolutionMilliwatt, mu));
    }

    /// @dev A node's book, and its submissions.
    function _openNode(Case memory case_, uint8 node, bytes calldata book, History calldata history) internal view {
        (bytes32 submissions, bytes32 declared) = case_.aggregator.commitment(case_.round, node);
        _require(keccak256(book) == declared, "book");
        bytes32 commitment = history.before;
        for (uint256 i = 0; i < history.links.length; ++i) {
            commitment = Commitments.extended(commitment, _submission(case_.round, node, history.links[i]));
        }
        _require(commitment == submissions, "history");
    }

    /// @dev Bids of a node that was present in k; in k - 1 only where it was present then, too.
    function _openBids(
        Case memory case_, uint8 node, History calldata history, bytes calldata bids, bytes calldata bidsBefore
    ) internal pure {
        _require(keccak256(bids) == _link(history, case_.iteration).bids, "bids");
        if (case_.presentBefore & Nodes.bit(node) == 0) return;
        _require(keccak256(bidsBefore) == _link(history, uint256(case_.iteration) - 1).bids, "bids");
    }

    /// @dev A node's submission for an iteration, which has to be there.
    function _link(History calldata history, uint256 iteration) internal pure returns (Link calldata) {
        for (uint256 i = 0; i < history.links.length; ++i) {
            if (history.links[i].iteration == iteration) return history.links[i];
        }
        revert NotProved("presence");
    }

    function _submission(uint32 round, uint8 node, Link calldata link) private pure returns (bytes32) {
        return Commitments.submission(round, link.iteration, node, link.copies, link.bids, link.residuals);
    }

    function _require(bool fits, string memory why) internal pure {
        if (!fits) revert NotProved(why);
    }

    // ------------------------------------------------------------------ decoding

    /// @dev The second part of abi.encode(Charge, abi.encode(ResidualEvidence)) begins after three words, with an offset.
    ///      Wherever that points: what is read there is hashed.
    function _residualEvidence(bytes calldata evidence) private pure returns (ResidualEvidence calldata content) {
        assembly ("memory-safe") {
            let start := add(evidence.offset, 96)
            content := add(start, calldataload(start))
        }
    }

    function _planEvidence(bytes calldata evidence) private pure returns (PlanEvidence calldata content) {
        assembly ("memory-safe") {
            let start := add(evidence.offset, 96)
            content := add(start, calldataload(start))
        }
    }
}
