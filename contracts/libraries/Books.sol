// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Books and bids of households
/// @notice A book says what a household's bids refer to. For each partner, ascending:
///
///      | bytes      | field   |                                                     |
///      |------------|---------|-----------------------------------------------------|
///      | 0          | partner | uint8, a node                                       |
///      | 1          | count   | uint8, number of steps                              |
///      | 2 to 1 + c | steps   | uint8 each, ascending                               |
///
///      Bids are int16, big-endian, one for each step of each partner in the order of the book. The aggregator passes
///      both on as they come. So nothing here reverts, whatever a node declared: a book ends before the first entry
///      that is not whole, or whose partner is not above the one before; and bids that are not there are zero.
library Books {
    uint256 private constant HEADER = 2; // bytes of an entry before its steps
    uint256 private constant BID = 2; // bytes

    /// @notice The entry at a position of a book.
    /// @param lowest the lowest partner that may stand there
    /// @return there   whether there is one
    /// @return partner a node
    /// @return count   number of its steps
    /// @return steps   index in `book` of its first step; the next entry is at `steps + count`
    function entry(bytes calldata book, uint256 at, uint256 lowest)
        internal
        pure
        returns (bool there, uint8 partner, uint256 count, uint256 steps)
    {
        // No overflow: positions are at most the book's length.
        unchecked {
            steps = at + HEADER;
            if (steps > book.length) return (false, 0, 0, 0);
            uint256 header;
            assembly ("memory-safe") {
                header := shr(240, calldataload(add(book.offset, at)))
            }
            (partner, count) = (uint8(header >> 8), uint8(header));
            there = partner >= lowest && steps + count <= book.length;
        }
    }

    /// @notice How many bids a book of a length can carry: to each partner at most one a step, behind a header. Which
    ///         partners stand in it does not matter: they need not answer, so whoever wants to can list all.
    /// @param length   of the book, bytes
    /// @param partners number of nodes that can be meant
    function capacity(uint256 length, uint256 partners, uint256 steps) internal pure returns (uint256) {
        // No overflow: fewer partners than 2^7, and fewer steps than 2^8.
        unchecked {
            // Whole entries are meant.
            // slither-disable-next-line divide-before-multiply
            uint256 whole = length / (HEADER + steps); // entries with all steps
            if (whole >= partners) return partners * steps;
            uint256 rest = length % (HEADER + steps);
            return whole * steps + (rest > HEADER ? rest - HEADER : 0);
        }
    }

    /// @return found    whether the book lists the partner
    /// @return position index of the pair's first bid
    /// @return count    number of the pair's bids
    /// @return steps    index in `book` of the pair's first step
    function find(bytes calldata book, uint8 partner)
        internal
        pure
        returns (bool found, uint256 position, uint256 count, uint256 steps)
    {
        uint8 listed;
        (found, listed, count, steps) = entry(book, 0, 0);
        while (found && listed < partner) {
            position += count;
            (found, listed, count, steps) = entry(book, steps + count, uint256(listed) + 1);
        }
        if (!found || listed != partner) return (false, 0, 0, 0);
    }

    /// @notice Where the bids of a pair stand, which count only where both books list each other with the same steps.
    /// @return one   index of the first bid of node `one`
    /// @return other index of the first bid of node `other`
    /// @return count number of bids of each; zero where the books do not agree
    /// @return steps index in `bookOfOne` of the pair's first step
    function pair(bytes calldata bookOfOne, uint8 nodeOne, bytes calldata bookOfOther, uint8 nodeOther)
        internal
        pure
        returns (uint256 one, uint256 other, uint256 count, uint256 steps)
    {
        uint256 countOfOther;
        uint256 stepsOfOther;
        (, one, count, steps) = find(bookOfOne, nodeOther);
        (, other, countOfOther, stepsOfOther) = find(bookOfOther, nodeOne);
        if (
            count != countOfOther
                || keccak256(bookOfOne[steps:steps + count]) != keccak256(bookOfOther[stepsOfOther:stepsOfOther + count])
        ) count = 0;
    }

    /// @notice The bid at an index, resolution units; zero where there is none.
    function bidAt(bytes calldata bids, uint256 index) internal pure returns (int256 bid) {
        unchecked {
            if (BID * index + BID > bids.length) return 0;
        }
        // The two bytes at the top of the word, with their sign.
        assembly ("memory-safe") {
            bid := sar(240, calldataload(add(bids.offset, mul(BID, index))))
        }
    }

    /// @notice d_ij - d_ji for the bids of a pair, resolution units: twice the agreed powers.
    /// @param first  index of the pair's first bid among `own`
    /// @param second the same among `other`
    function differences(bytes calldata own, uint256 first, bytes calldata other, uint256 second, uint256 count)
        internal
        pure
        returns (int256[] memory twice)
    {
        twice = new int256[](count);
        // As `bidAt` reads, for all bids at once: this is most of what a statement is checked by.
        assembly ("memory-safe") {
            let mine := add(own.offset, mul(BID, first))
            let theirs := add(other.offset, mul(BID, second))
            let endOfMine := add(own.offset, own.length)
            let endOfTheirs := add(other.offset, other.length)
            let to := add(twice, 32)
            for { let end := add(to, shl(5, count)) } lt(to, end) { to := add(to, 32) } {
                let bid := mul(sar(240, calldataload(mine)), lt(add(mine, 1), endOfMine))
                mstore(to, sub(bid, mul(sar(240, calldataload(theirs)), lt(add(theirs, 1), endOfTheirs))))
                mine := add(mine, BID)
                theirs := add(theirs, BID)
            }
        }
    }
}
