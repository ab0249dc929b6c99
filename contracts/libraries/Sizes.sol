// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title What fits into a transaction
/// @notice A transaction takes at most 2^24 gas (EIP-7825), whatever a block takes. So a deployment is refused whose size
///         would let a call need more that the nodes depend on; and a declaration whose bids would.
/// @dev    Measured at the largest sizes that are taken, each at its worst (tests/contracts/test_sizes.py):
///
///      | what grows                                  | with                    | bound                         |
///      |---------------------------------------------|-------------------------|-------------------------------|
///      | evidence against a star's centre, 13,200    | households x words of a | MOST_WORDS                    |
///      | gas each; its own submission, 11,600; a     | block                   |                               |
///      | closing call, up to 11,000                  |                         |                               |
///      | fresh slots that the first submissions of a | the same                | MOST_FRESH; beyond, a slot is |
///      | deployment write                            |                         | written when a node is        |
///      |                                             |                         | enrolled, for product 0; then |
///      |                                             |                         | no other product is opened    |
///      | evidence against a household: bids of its   | households x bids of    | MOST_BIDS                     |
///      | partners in two iterations; its trades      | each                    |                               |
library Sizes {
    uint256 internal constant MOST_WORDS = 512;
    uint256 internal constant MOST_FRESH = 320;
    uint256 internal constant MOST_BIDS = 2 ** 16;

    /// @param n     nodes, the grid connection included
    /// @param words of a block
    function households(uint256 n, uint256 words) internal pure returns (uint256) {
        return (n - 1) * words;
    }

    /// @notice The most bids that a node of so many may declare.
    function bids(uint256 n) internal pure returns (uint256) {
        return n == 1 ? 0 : MOST_BIDS / (n - 1);
    }
}
