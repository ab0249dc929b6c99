// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Digests of EIP-712 structured data
/// @notice The domain is this contract on this chain, so what was signed for another one is worth nothing here.
/// @dev OpenZeppelin's EIP712 does not compile for Shanghai (mcopy). The separator is computed again where the chain id
///      is no longer that of the deployment: a fork of the chain does not take the other's signatures.
abstract contract TypedData {
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    bytes32 private immutable _name; // hashes
    bytes32 private immutable _version;
    uint256 private immutable _chainId;
    bytes32 private immutable _separator;

    constructor(string memory name, string memory version) {
        _name = keccak256(bytes(name));
        _version = keccak256(bytes(version));
        _chainId = block.chainid;
        _separator = keccak256(abi.encode(DOMAIN_TYPEHASH, _name, _version, block.chainid, address(this)));
    }

    /// @dev The digest that is signed, of the hash of a struct.
    function _digest(bytes32 structHash) internal view returns (bytes32 digest) {
        bytes32 separator = block.chainid == _chainId
            ? _separator
            : keccak256(abi.encode(DOMAIN_TYPEHASH, _name, _version, block.chainid, address(this)));
        // 0x1901, separator, hash, packed in memory that stays free.
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, hex"1901")
            mstore(add(free, 2), separator)
            mstore(add(free, 34), structHash)
            digest := keccak256(free, 66)
        }
    }
}
