// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @title A token that does what tokens should not do
/// @notice For tests only. Its habit concerns transfers, and can be changed at any time, by anybody.
contract OddToken is ERC20 {
    enum Habit {
        None, //         an ordinary token
        TakesFee, //     keeps a tenth of every transfer
        SaysNo, //       moves nothing and returns false
        SaysNothing, //  moves, and returns no data
        Reverts, //      refuses
        CallsBack //     calls whom it is told to, before it moves
    }

    uint8 private immutable _decimals;
    Habit public habit;
    address private _target;
    bytes private _call;

    error Refused();

    constructor(uint8 decimals_) ERC20("Odd", "ODD") {
        _decimals = decimals_;
        _mint(msg.sender, 1e30);
    }

    function setHabit(Habit habit_) external {
        habit = habit_;
    }

    /// @notice What it calls back. A failure of that call is the transfer's.
    function setCall(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (habit == Habit.SaysNo) return false;
        _transfer(msg.sender, to, amount);
        return _answer();
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (habit == Habit.SaysNo) return false;
        _spendAllowance(from, msg.sender, amount);
        _transfer(from, to, amount);
        return _answer();
    }

    function _answer() private view returns (bool) {
        if (habit == Habit.SaysNothing) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        return true;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (habit == Habit.Reverts) revert Refused();
        if (habit == Habit.CallsBack) Address.functionCall(_target, _call);
        uint256 fee = habit == Habit.TakesFee ? amount / 10 : 0;
        super._update(from, to, amount - fee);
        if (fee != 0) super._update(from, address(this), fee);
    }
}
