// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDayProducts} from "../interfaces/IDayProducts.sol";
import {Spots} from "./Spots.sol";

/// @title The right, not the obligation, to buy energy of a step until its gate closes
/// @notice See IDayProducts.
abstract contract Options is Spots {
    mapping(uint256 id => Option) private _options;

    /// @inheritdoc IDayProducts
    function writeOption(
        uint32 day, uint8 step, uint32 energy, uint32 strike, uint128 premium, uint128 collateral, uint40 until
    ) external returns (uint256 id) {
        _requireOfferUntil(day, step, energy, until);
        uint8 writer = ledger.partyOf(day, msg.sender);
        uint256 least = _coverOf(day, step, writer, true, energy);
        if (collateral < least) revert CollateralTooSmall(least, collateral);
        id = ++lastId;
        _options[id] = Option(day, step, writer, 0, State.Offered, energy, strike, until, premium, collateral);
        emit OptionWritten(id, day, writer, _options[id]);
        ledger.lockFor(msg.sender, collateral);
    }

    /// @inheritdoc IDayProducts
    function takeOption(uint256 id) external {
        Option storage taken = _options[id];
        if (taken.state != State.Offered) revert NotOpen(id);
        if (block.timestamp >= taken.until) revert OfferEnded(id, taken.until);
        uint8 buyer = ledger.partyOf(taken.day, msg.sender);
        if (buyer == taken.writer) revert OwnOffer(id);
        (taken.state, taken.buyer) = (State.Taken, buyer);
        emit OptionTaken(id, buyer);
        ledger.pay(msg.sender, ledger.memberOf(taken.day, taken.writer), taken.premium);
    }

    /// @inheritdoc IDayProducts
    function exercise(uint256 id, uint32 energy) external {
        Option storage held = _options[id];
        if (held.state != State.Taken) revert NotOpen(id);
        (uint32 day, uint8 step, uint8 writer, uint8 buyer) = (held.day, held.step, held.writer, held.buyer);
        _requireOpen(day, step);
        if (msg.sender != ledger.memberOf(day, buyer)) revert NotYours(id, msg.sender);
        if (energy == 0) revert NoEnergy();
        if (energy > held.energy) revert TooMuchEnergy(held.energy, energy);
        uint256 collateral = held.collateral;
        uint256 payment = uint256(_payment(energy, int256(uint256(held.strike)), true));
        (held.state, held.collateral) = (State.Ended, 0);
        emit OptionExercised(id, energy, payment);
        address account = ledger.memberOf(day, writer);
        ledger.pay(msg.sender, account, payment);
        ledger.unlockFor(account, collateral);
        ledger.move(day, writer, buyer, step, energy);
    }

    /// @inheritdoc IDayProducts
    function endOption(uint256 id) external {
        Option storage ended = _options[id];
        address writer = ledger.memberOf(ended.day, ended.writer);
        if (ended.state == State.Offered) {
            _requireEnd(id, writer, ended.until);
        } else if (ended.state == State.Taken) {
            _requireEnd(id, ledger.memberOf(ended.day, ended.buyer), ledger.gateOf(ended.day, ended.step));
        } else {
            revert NotOpen(id);
        }
        uint256 collateral = ended.collateral;
        (ended.state, ended.collateral) = (State.Ended, 0);
        emit OptionEnded(id, collateral);
        ledger.unlockFor(writer, collateral);
    }

    /// @inheritdoc IDayProducts
    function option(uint256 id) external view returns (Option memory) {
        return _options[id];
    }
}
