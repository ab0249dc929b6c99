// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Lanes} from "../libraries/Lanes.sol";
import {GRID_CONNECTION} from "../libraries/Nodes.sol";
import {Seals} from "../libraries/Seals.sol";
import {Referee} from "./Referee.sol";

/// @title The referee of node 0's plan in sealed rounds
/// @notice Node 0 opens its newest answer itself, to whomever it gives that: a signature by its key of the round says which
///         keys open it. What they open it to is judged by the rules of the open form. If they are others, that is its word
///         against itself. Whoever sees the evidence can read the answer of that one iteration, and nothing else.
/// @dev A part of SealedReferee, apart since the two do not fit one contract.
contract PlanReferee is Referee {
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
        _require(abi.decode(evidence, (Charge)) == Charge.Plan, "sealed");
        OpenedPlan calldata opened = _openedPlan(evidence);
        bytes32 digest = keccak256(abi.encode(aggregator, round, opened.plan.newest.iteration, opened.keys));
        _require(Seals.isSigned(opened.plan.book, digest, opened.r, opened.vs), "secret");
        _judgePlan(aggregator, round, node, opened.plan, opened.keys);
    }

    /// @inheritdoc Referee
    function _limits(bytes calldata book) internal pure override returns (bytes calldata) {
        return Seals.withoutKey(book);
    }

    /// @inheritdoc Referee
    function _answered(
        PlanEvidence calldata evidence, bytes32[] memory keys, uint256 place, uint256 number, uint256 steps
    ) internal pure override returns (uint256) {
        uint256 words = Lanes.words(steps);
        uint256 lanes = Math.min(steps - number % words * Lanes.PER_WORD, Lanes.PER_WORD);
        uint256 word = evidence.copies[2 * words * place + number];
        return Seals.openedWord(keys[place], GRID_CONNECTION, number, word, lanes);
    }

    /// @dev As `_planEvidence`.
    function _openedPlan(bytes calldata evidence) private pure returns (OpenedPlan calldata content) {
        assembly ("memory-safe") {
            let start := add(evidence.offset, 96)
            content := add(start, calldataload(start))
        }
    }
}
