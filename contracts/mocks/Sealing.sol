// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IReferee} from "../interfaces/IReferee.sol";
import {Answers} from "../libraries/Answers.sol";
import {Curve} from "../libraries/Curve.sol";
import {Seals} from "../libraries/Seals.sol";

/// @title What the libraries of sealed rounds work out, without a round
contract Sealing {
    /// @notice The point of a compressed key.
    function opened(bytes calldata key) external view returns (uint256 x, uint256 y) {
        Curve.Point memory point = Curve.opened(key);
        return (point.x, point.y);
    }

    /// @notice a A + b B, and whether that is on the curve.
    function combined(uint256 a, Curve.Point calldata one, uint256 b, Curve.Point calldata other)
        external
        view
        returns (uint256 x, uint256 y, bool isOn)
    {
        Curve.Point memory point = Curve.combined(a, one, b, other);
        return (point.x, point.y, Curve.isOn(point));
    }

    function isOn(Curve.Point calldata point) external pure returns (bool) {
        return Curve.isOn(point);
    }

    /// @notice What two have in common, by the books that they declared.
    function secret(bytes calldata accused, bytes calldata accuser, IReferee.Proof calldata proof)
        external
        view
        returns (bytes32)
    {
        return Seals.secret(accused, accuser, proof);
    }

    function bids(bytes32 key, uint8 author, bytes calldata said, uint256 first, uint256 count)
        external
        pure
        returns (int256[] memory)
    {
        return Seals.opened(key, author, said, first, count);
    }

    function word(bytes32 key, uint8 author, uint256 number, uint256 said, uint256 lanes)
        external
        pure
        returns (uint256)
    {
        return Seals.openedWord(key, author, number, said, lanes);
    }

    function share(bytes32 key, bool lower, int256 bid, uint256 step) external pure returns (uint256) {
        return Seals.share(key, lower, bid, step);
    }

    /// @notice Where the part of a partner is in an answer, and the first two numbers of it.
    function part(bytes calldata answer, bytes calldata book, uint8 partner)
        external
        pure
        returns (bool there, uint256 at, uint256 primal, uint256 dual)
    {
        (there, at) = Answers.find(answer, book, partner);
        primal = Answers.number(answer, at, Answers.SQUARE);
        dual = Answers.number(answer, at + Answers.SQUARE, Answers.SQUARE);
    }
}
