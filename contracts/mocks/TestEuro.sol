// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A euro for test chains
/// @notice Stands in for a euro stablecoin where there is none. Its owner mints what it likes: worth nothing.
contract TestEuro is ERC20, Ownable {
    constructor() ERC20("Test Euro", "tEUR") Ownable(msg.sender) {}

    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }

    /// @dev As the euro stablecoins of real networks have it.
    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
