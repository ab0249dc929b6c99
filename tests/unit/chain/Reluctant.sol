// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice A token whose allowance goes only from or to nothing, and which returns nothing, as the oldest dollar token.
contract Reluctant {
    mapping(address => mapping(address => uint256)) public allowance;

    function approve(address spender, uint256 amount) external {
        require(amount == 0 || allowance[msg.sender][spender] == 0, "allowance must be reset");
        allowance[msg.sender][spender] = amount;
    }
}
