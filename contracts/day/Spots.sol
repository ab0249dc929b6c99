// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IDayProducts} from "../interfaces/IDayProducts.sol";
import {Product} from "./Product.sol";

/// @title Energy at a posted price, bought or sold at once
/// @notice See IDayProducts.
abstract contract Spots is Product {
    mapping(uint256 id => Spot) private _spots;

    /// @inheritdoc IDayProducts
    function postSpot(uint32 day, uint8 step, bool sells, uint32 energy, int32 price) external returns (uint256 id) {
        _requireOffer(day, step, energy, 0);
        uint8 poster = ledger.partyOf(day, msg.sender);
        int256 payment = _value(energy, price);
        // A price below zero is paid by who sells.
        uint256 lock = sells == (payment < 0) ? SignedMath.abs(payment) : 0;
        id = ++lastId;
        _spots[id] = Spot(day, step, poster, sells, energy, price, uint128(lock));
        emit SpotPosted(id, day, poster, _spots[id]);
        ledger.lockFor(msg.sender, lock);
    }

    /// @inheritdoc IDayProducts
    function takeSpot(uint256 id, uint32 energy) external {
        Spot storage offer = _spots[id];
        if (offer.energy == 0) revert NotOpen(id);
        (uint32 day, uint8 step, bool sells) = (offer.day, offer.step, offer.sells);
        _requireOpen(day, step);
        if (energy == 0) revert NoEnergy();
        if (energy > offer.energy) revert TooMuchEnergy(offer.energy, energy);
        (uint8 poster, uint8 taker) = (offer.poster, ledger.partyOf(day, msg.sender));
        if (poster == taker) revert OwnOffer(id);
        int256 payment = _value(energy, offer.price);
        offer.energy -= energy;
        emit SpotTaken(id, taker, energy, payment);
        _payTaken(offer, ledger.memberOf(day, poster), payment);
        (uint8 seller, uint8 buyer) = sells ? (poster, taker) : (taker, poster);
        ledger.move(day, seller, buyer, step, energy);
    }

    /// @dev Pays a part: from the poster's lock, or from what the taker has. Parts are rounded down, so a lock for the
    ///      whole is enough for all of them; what is left of it when nothing is left of the offer ends with it.
    function _payTaken(Spot storage offer, address poster, int256 payment) private {
        uint256 amount = SignedMath.abs(payment);
        bool byPoster = offer.sells == (payment < 0);
        if (byPoster) offer.lock -= uint128(amount);
        uint256 left = offer.energy == 0 ? offer.lock : 0;
        if (left != 0) offer.lock = 0;
        if (byPoster) ledger.payLocked(poster, msg.sender, amount);
        else ledger.pay(msg.sender, poster, amount);
        ledger.unlockFor(poster, left);
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
