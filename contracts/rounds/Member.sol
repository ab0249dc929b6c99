// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What is kept of a node in a round: one word, all that is needed of most nodes.
///
///      | bits    | holds                                                          |
///      |---------|----------------------------------------------------------------|
///      | 0-159   | account that declared                                          |
///      | 160-191 | round that it declared for                                     |
///      | 192-199 | misses: iterations that were closed without it                 |
///      | 200     | whether it is out                                              |
///      | 201-207 | zero                                                           |
///      | 208-255 | terms: what the agreement keeps of its declaration, as it likes |
type Member is uint256;

using Members for Member global;

/// @title Words of members
library Members {
    uint256 private constant ROUND_AT = 160;
    uint256 private constant MISSES_AT = 192;
    uint256 private constant OUT = 1 << 200;
    uint256 private constant TERMS_AT = 208;

    /// @notice A member that has missed nothing, and is not out.
    function make(address account_, uint32 round_, uint48 terms_) internal pure returns (Member) {
        return Member.wrap(uint160(account_) | uint256(round_) << ROUND_AT | uint256(terms_) << TERMS_AT);
    }

    function account(Member self) internal pure returns (address) {
        return address(uint160(Member.unwrap(self)));
    }

    function round(Member self) internal pure returns (uint32) {
        return uint32(Member.unwrap(self) >> ROUND_AT);
    }

    function misses(Member self) internal pure returns (uint8) {
        return uint8(Member.unwrap(self) >> MISSES_AT);
    }

    function isOut(Member self) internal pure returns (bool) {
        return Member.unwrap(self) & OUT != 0;
    }

    function terms(Member self) internal pure returns (uint48) {
        return uint48(Member.unwrap(self) >> TERMS_AT);
    }

    /// @notice With one miss more. Who has missed so many that they would not fit is out long before.
    function missed(Member self) internal pure returns (Member) {
        unchecked {
            return Member.wrap(Member.unwrap(self) + (1 << MISSES_AT));
        }
    }

    function excluded(Member self) internal pure returns (Member) {
        return Member.wrap(Member.unwrap(self) | OUT);
    }
}
