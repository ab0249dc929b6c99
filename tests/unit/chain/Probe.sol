// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;
/// A contract that fails in every way a node can meet.
contract Probe {
    error WrongIteration(uint16 current, uint16 given);
    error Plain();
    event Set(uint256 indexed value);
    uint256 public value;
    uint256[] private words;
    function set(uint256 v) external { value = v; emit Set(v); }
    function refuse(uint16 given) external { if (given != 4) revert WrongIteration(4, given); value = 1; }
    function plain() external { value = 2; revert Plain(); }
    function text() external { value = 2; require(false, "some text"); }
    function silent() external { value = 2; revert(); }
    function panic(uint256 x) external { value = 1 / x; }
    function burn(uint256 n) external { for (uint256 k = 0; k < n; ++k) words.push(k + 1); }
    function number() external view returns (uint256, uint256) { return (block.number, block.timestamp); }
}
