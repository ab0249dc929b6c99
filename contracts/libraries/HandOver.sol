// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Calls that another contract answers for this one
/// @notice For contracts in two halves: what is called seldom stands in the other, and happens to this one's storage.
library HandOver {
    /// @notice Has the other half do what was called, and ends the call as it does.
    function to(address other) internal {
        assembly ("memory-safe") {
            let start := mload(0x40)
            calldatacopy(start, 0, calldatasize())
            let done := delegatecall(gas(), other, start, calldatasize(), 0, 0)
            let size := returndatasize()
            returndatacopy(start, 0, size)
            if iszero(done) { revert(start, size) }
            return(start, size)
        }
    }
}
