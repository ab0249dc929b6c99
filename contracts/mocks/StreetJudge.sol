// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Street} from "../libraries/Street.sol";

/// @title What the referee says of a street and of injections on it, without a round
contract StreetJudge {
    /// @param s, q by node, mW and mvar
    /// @return sound   whether the book is a street
    /// @return outside whether injections are outside its limits
    function judge(bytes calldata book, int256[] calldata s, int256[] calldata q)
        external
        pure
        returns (bool sound, bool outside)
    {
        if (!Street.isStreet(book)) return (false, false);
        Street.Network memory street;
        (sound, street) = Street.read(book);
        outside = sound && Street.outside(street, s, q);
    }
}
