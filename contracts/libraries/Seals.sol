// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IReferee} from "../interfaces/IReferee.sol";
import {Books} from "./Books.sol";
import {Curve} from "./Curve.sol";
import {Lanes} from "./Lanes.sol";

/// @title Pads of sealed submissions
/// @notice Where a round is sealed, two nodes have a secret in common, and from it a key for each iteration. Pads are made
///         from that, 32 bytes at a time:
///
///             key = sha256(secret, iteration: 2 bytes)
///             pad = sha256(key, author: 1 byte, kind: 1 byte, number: 2 bytes)
///
///         | kind | of                                             | submitted is                     |
///         |------|------------------------------------------------|----------------------------------|
///         | 0    | a word of copies: words of P, then of Q        | copy + pad modulo 2^20, by lanes |
///         | 1    | 16 bids of the author to the other             | bid + pad modulo 2^16            |
///         | 2    | sums of 8 steps, which the lower adds and the higher takes off | modulo 2^24      |
///
///         Behind its bids a household submits what they come to at each step at which there are any that count, 3 bytes
///         each, under the pads of the third kind with the partners that they are to: over all households these cancel.
library Seals {
    uint256 internal constant KEY = 32; // bytes
    uint256 internal constant SUM = 3; // bytes a step

    bytes2 private constant HEADER = 0xff21; // of the entry with a node's key at the end of its book
    uint256 private constant ENTRY = 2 + 33; // bytes
    uint8 private constant COPIES = 0; // kinds
    uint8 private constant BIDS = 1;
    uint8 private constant POOL = 2;
    uint256 private constant IN_A_PAD = 16; // bids
    uint256 private constant SUMS_IN_A_PAD = 8; // of 4 bytes

    /// @notice What a node bids to another, resolution units, with its pads taken off.
    /// @param first index of the first of these bids among all that were submitted
    function opened(bytes32 key_, uint8 author, bytes calldata bids, uint256 first, uint256 count)
        internal
        pure
        returns (int256[] memory said)
    {
        said = new int256[](count);
        uint256 pads = 0;
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                uint256 place = i % IN_A_PAD;
                if (place == 0) pads = uint256(pad(key_, author, BIDS, i / IN_A_PAD));
                uint16 bid = uint16(uint256(Books.bidAt(bids, first + i)));
                said[i] = int16(bid - uint16(pads >> 16 * (IN_A_PAD - 1 - place)));
            }
        }
    }

    /// @notice What a bid is in the sums of a node, for the pool: under the pad of its step, modulo 2^24.
    /// @param lower whether the node is the lower one of the pair
    function share(bytes32 key_, bool lower, int256 bid, uint256 step) internal pure returns (uint256) {
        uint256 pads = uint256(pad(key_, 0, POOL, step / SUMS_IN_A_PAD));
        int256 mask = int256(uint256(uint24(pads >> 32 * (SUMS_IN_A_PAD - 1 - step % SUMS_IN_A_PAD))));
        return uint24(uint256(lower ? bid + mask : bid - mask));
    }

    /// @notice A word of copies with its pads taken off the first lanes, each modulo 2^20.
    /// @param number of the word among those of P, then of Q
    function openedWord(bytes32 key_, uint8 author, uint256 number, uint256 word, uint256 lanes)
        internal
        pure
        returns (uint256)
    {
        unchecked {
            uint256 used = (1 << Lanes.LANE_BITS * lanes) - 1;
            uint256 payload = Lanes.inEach(2 ** 20 - 1) & used;
            uint256 pads = uint256(pad(key_, author, COPIES, number));
            return (word & payload) + (Lanes.inEach(2 ** 20) & used) - (pads & payload) & payload;
        }
    }

    /// @notice What two nodes have in common in a round: nothing, where one has declared no key.
    /// @param accused  its book as it declared it, with the key at its end
    /// @param accuser  the same
    function secret(bytes calldata accused, bytes calldata accuser, IReferee.Proof calldata proof)
        internal
        view
        returns (bytes32)
    {
        Curve.Point memory one = Curve.opened(_declared(accused));
        Curve.Point memory other = Curve.opened(_declared(accuser));
        if (one.y == 0 || other.y == 0) return 0;
        Curve.Point memory common = Curve.Point(proof.x, proof.y);
        if (!Curve.isOn(common)) revert IReferee.NotProved("secret");
        bytes32 challenge = _challenge(one, other, common, proof);
        if (uint256(challenge) != proof.challenge) revert IReferee.NotProved("secret");
        return sha256(Curve.compressed(common));
    }

    function _challenge(
        Curve.Point memory one, Curve.Point memory other, Curve.Point memory common, IReferee.Proof calldata proof
    ) private view returns (bytes32) {
        (uint256 c, uint256 r) = (proof.challenge, proof.response);
        Curve.Point memory first = Curve.combined(r, Curve.generator(), c, other);
        Curve.Point memory second = Curve.combined(r, one, c, common);
        return keccak256(abi.encode(one, other, common, first, second));
    }

    /// @notice Whether the key that a node declared has signed a digest, EIP-2098 form.
    /// @param book as it declared it, with the key at its end
    function isSigned(bytes calldata book, bytes32 digest, bytes32 r, bytes32 vs) internal view returns (bool) {
        Curve.Point memory declared = Curve.opened(_declared(book));
        // The third value says more about the flaw.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError flaw,) = ECDSA.tryRecover(digest, r, vs);
        return flaw == ECDSA.RecoverError.NoError && declared.y != 0
            && signer == address(uint160(uint256(keccak256(abi.encode(declared)))));
    }

    /// @notice What a node declared that has declared a key, without that.
    function withoutKey(bytes calldata book) internal pure returns (bytes calldata) {
        return book[:book.length - ENTRY];
    }

    /// @dev The key at the end of a book.
    function _declared(bytes calldata book) private pure returns (bytes memory) {
        bool there = book.length >= ENTRY && bytes2(book[book.length - ENTRY:]) == HEADER;
        return there ? book[book.length - ENTRY + 2:] : book[:0];
    }

    /// @notice The key of an iteration.
    function key(bytes32 secret_, uint16 iteration) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(secret_, iteration));
    }

    /// @notice Takes the numbers of one list off those of another, as long.
    function take(int256[] memory from, int256[] memory numbers) internal pure {
        for (uint256 i = 0; i < from.length; ++i) from[i] -= numbers[i];
    }

    function pad(bytes32 key_, uint8 author, uint8 kind, uint256 number) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(key_, author, kind, uint16(number)));
    }
}
