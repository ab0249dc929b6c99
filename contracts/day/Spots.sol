// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDayProducts} from "../interfaces/IDayProducts.sol";
import {Product} from "./Product.sol";

/// @title Energy at a posted price, bought or sold at once
/// @notice See IDayProducts.
abstract contract Spots is Product {
    mapping(uint256 id => Spot) private _spots;

    /// @inheritdoc IDayProducts
    function postSpot(uint32 day, uint8 step, bool sells, uint32 energy, int32 price) external returns (uint256 id) {
        _requireOffer(day, step, energy);
        uint8 poster = ledger.partyOf(day, msg.sender);
        id = ++lastId;
        Spot storage offer = _spots[id];
        (offer.day, offer.step, offer.poster, offer.sells) = (day, step, poster, sells);
        (offer.energy, offer.price) = (energy, price);
        uint256 lock = _lockOf(offer);
        offer.lock = uint128(lock);
        emit SpotPosted(id, day, poster, offer);
        ledger.lockFor(msg.sender, lock);
    }

    /// @dev What a poster has to have locked for what is left of its offer: what it would pay, and what covers it.
    ///      Payments for parts are rounded down for it, so that of the whole is enough for all of them.
    function _lockOf(Spot storage offer) private view returns (uint256 lock) {
        if (offer.energy == 0) return 0;
        int256 payment = _payment(offer.energy, offer.price, offer.sells);
        // A price below zero is paid by who sells.
        int256 due = offer.sells ? -payment : payment;
        if (due > 0) lock = uint256(due);
        lock += _coverOf(offer.day, offer.step, offer.poster, offer.sells, offer.energy);
    }

    /// @inheritdoc IDayProducts
    function takeSpot(uint256 id, uint32 energy) external {
        Spot storage offer = _spots[id];
        if (offer.energy == 0) revert NotOpen(id);
        _requireOpen(offer.day, offer.step);
        if (energy == 0) revert NoEnergy();
        if (energy > offer.energy) revert TooMuchEnergy(offer.energy, energy);
        uint8 taker = ledger.partyOf(offer.day, msg.sender);
        if (offer.poster == taker) revert OwnOffer(id);
        int256 payment = _payment(energy, offer.price, offer.sells);
        offer.energy -= energy;
        emit SpotTaken(id, taker, energy, payment);
        _trade(offer, taker, energy, payment);
    }

    /// @dev Pays for a part, and moves it: first what ends of the poster's lock, of which both may take.
    function _trade(Spot storage offer, uint8 taker, uint32 energy, int256 payment) private {
        (uint32 day, uint8 poster) = (offer.day, offer.poster);
        address account = ledger.memberOf(day, poster);
        ledger.unlockFor(account, _unlock(offer));
        if (offer.sells) {
            _pay(account, msg.sender, payment);
            ledger.move(day, poster, taker, offer.step, energy);
        } else {
            _pay(msg.sender, account, payment);
            ledger.move(day, taker, poster, offer.step, energy);
        }
    }

    /// @dev Ends what is locked beyond what is left of an offer. Returns how much that is.
    function _unlock(Spot storage offer) private returns (uint256) {
        (uint128 lock, uint128 left) = (offer.lock, uint128(_lockOf(offer)));
        offer.lock = left;
        return lock - left;
    }

    /// @inheritdoc IDayProducts
    function endSpot(uint256 id) external {
        Spot storage offer = _spots[id];
        if (offer.energy == 0) revert NotOpen(id);
        address poster = ledger.memberOf(offer.day, offer.poster);
        _requireEnd(id, poster, ledger.gateOf(offer.day, offer.step));
        uint256 lock = offer.lock;
        (offer.energy, offer.lock) = (0, 0);
        emit SpotEnded(id, lock);
        ledger.unlockFor(poster, lock);
    }

    /// @inheritdoc IDayProducts
    function spot(uint256 id) external view returns (Spot memory) {
        return _spots[id];
    }
}
