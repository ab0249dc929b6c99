// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

/// @title Deposits in an ERC-20 token
/// @notice What a settlement contract holds for accounts: free, or locked for something that its own interface names.
///         Free and locked deposits of all accounts together equal the contract's token balance (tokens that somebody
///         sends past `deposit` stay in the contract and belong to nobody).
interface IDeposits {
    event Deposited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, uint256 amount);

    error TooManyDecimals(uint8 decimals);
    error InsufficientDeposit(address account, uint256 available, uint256 needed);
    error DepositsTooLarge(uint256 most);
    error ReceivedOtherAmount(uint256 expected, uint256 received);

    /// @notice Moves tokens from the caller into its deposit. The token must deliver exactly that amount. All deposits
    ///         together stay below 2^127 token units.
    function deposit(uint256 amount) external;

    /// @notice Moves free deposit back to the caller.
    function withdraw(uint256 amount) external;

    function token() external view returns (IERC20Metadata);
    function free(address account) external view returns (uint256);
    function locked(address account) external view returns (uint256);
    /// @notice Free and locked deposits of all accounts.
    function totalDeposits() external view returns (uint256);
}
