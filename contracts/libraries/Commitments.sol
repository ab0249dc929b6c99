// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// @title Hash chains of a round
/// @notice A node's commitment is the chain of its submissions, the head the chain of the closed iterations; both begin
///         with zero. See IVirtualAggregator.
library Commitments {
    bytes32 internal constant SUBMISSION_TYPEHASH = keccak256(
        "Submission(uint32 round,uint16 iteration,uint8 node,uint256[] copies,bytes bids,uint256 residuals)"
    );

    /// @notice The EIP-712 struct hash of a submission.
    /// @param copies keccak256 of the packed words
    /// @param bids   keccak256 of the bids
    function submission(
        uint32 round, uint16 iteration, uint8 node, bytes32 copies, bytes32 bids, uint256 residuals
    ) internal pure returns (bytes32 hash) {
        bytes32 typeHash = SUBMISSION_TYPEHASH;
        // abi.encode, in memory that stays free.
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            mstore(add(free, 32), and(round, 0xffffffff))
            mstore(add(free, 64), and(iteration, 0xffff))
            mstore(add(free, 96), and(node, 0xff))
            mstore(add(free, 128), copies)
            mstore(add(free, 160), bids)
            mstore(add(free, 192), residuals)
            hash := keccak256(free, 224)
        }
    }

    /// @notice The commitment with one more submission.
    function extended(bytes32 commitment, bytes32 submission_) internal pure returns (bytes32) {
        return Hashes.efficientKeccak256(commitment, submission_);
    }

    /// @notice The head with one more closed iteration.
    /// @param sums keccak256 of the packed words
    function closed(
        bytes32 head, uint32 round, uint16 iteration, uint128 present, uint256 residuals, bytes32 sums
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(head, round, iteration, present, residuals, sums));
    }
}
