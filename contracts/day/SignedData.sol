// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {TypedData} from "../libraries/TypedData.sol";

error NotSignedBy(address account);

/// @title What accounts sign outside of transactions
abstract contract SignedData is TypedData {
    /// @dev Requires an account's signature of a digest, EIP-2098 form.
    function _requireSigned(address account, bytes32 digest, bytes32 r, bytes32 vs) internal pure {
        // The third value says more about the flaw.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError flaw,) = ECDSA.tryRecover(digest, r, vs);
        if (flaw != ECDSA.RecoverError.NoError || signer != account) revert NotSignedBy(account);
    }
}
