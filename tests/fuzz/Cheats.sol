// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What a contract has announced.
struct Log {
    bytes32[] topics;
    bytes data;
    address emitter;
}

/// @title What the fuzzer offers, as far as it is needed
interface Cheats {
    function warp(uint256 time) external;
    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
}

Cheats constant VM = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));
