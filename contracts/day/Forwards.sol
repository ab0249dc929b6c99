// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDayProducts} from "../interfaces/IDayProducts.sol";
import {Options} from "./Options.sol";
import {SignedData} from "./SignedData.sol";

/// @title Energy at a price that depends on a condition
/// @notice See IDayProducts.
abstract contract Forwards is Options, SignedData {
    struct Report {
        bool reported;
        int64 condition;
    }

    bytes32 private constant CONDITION_TYPEHASH = keccak256("Condition(uint32 day,uint8 step,int64 condition)");
    int256 private constant UNIT = 1000; // of a condition

    mapping(uint256 id => Forward) private _forwards;
    mapping(uint256 oracleDayAndStep => Report) private _reports;

    /// @inheritdoc IDayProducts
    function offerForward(
        uint32 day, uint8 step, bool sells, uint32 energy, Formula calldata formula, uint40 until
    ) external returns (uint256 id) {
        _requireOfferUntil(day, step, energy, until);
        if (formula.floor > formula.base || formula.base > formula.cap) {
            revert InvalidFormula(formula.floor, formula.base, formula.cap);
        }
        uint8 proposer = ledger.partyOf(day, msg.sender);
        id = ++lastId;
        Forward storage offered = _forwards[id];
        (offered.day, offered.step, offered.energy, offered.until) = (day, step, energy, until);
        (offered.proposer, offered.sells, offered.state) = (proposer, sells, State.Offered);
        offered.formula = formula;
        uint256 lock = _side(offered, proposer, sells, _coverOf(day, step, proposer, sells, energy));
        emit ForwardOffered(id, day, proposer, offered);
        ledger.lockFor(msg.sender, lock);
    }

    /// @inheritdoc IDayProducts
    function takeForward(uint256 id) external {
        Forward storage taken = _forwards[id];
        if (taken.state != State.Offered) revert NotOpen(id);
        if (block.timestamp >= taken.until) revert OfferEnded(id, taken.until);
        uint8 taker = ledger.partyOf(taken.day, msg.sender);
        if (taker == taken.proposer) revert OwnOffer(id);
        taken.state = State.Taken;
        uint256 lock = _side(taken, taker, !taken.sells, 0);
        uint256 cover = _uncover(taken);
        emit ForwardTaken(id, taker);
        ledger.lockFor(msg.sender, lock);
        ledger.unlockFor(ledger.memberOf(taken.day, taken.proposer), cover);
        ledger.move(taken.day, taken.seller, taken.buyer, taken.step, taken.energy);
    }

    /// @dev Takes out what a proposer has locked to cover its side, and returns it: from now on its position is covered.
    function _uncover(Forward storage taken) private returns (uint256 cover) {
        bool sells = taken.sells;
        cover = _coverOf(taken.day, taken.step, taken.proposer, sells, taken.energy);
        if (sells) taken.sellerLock -= uint128(cover);
        else taken.buyerLock -= uint128(cover);
    }

    /// @dev A party takes a side. Returns what it locks: the most that it can have to pay, and what covers its side.
    function _side(Forward storage one, uint8 party, bool sells, uint256 cover) private returns (uint256 lock) {
        // Who takes the forward is the other side of the proposer.
        int256 worst = _payment(one.energy, sells ? one.formula.floor : one.formula.cap, one.sells);
        int256 due = sells ? -worst : worst;
        lock = cover + (due > 0 ? uint256(due) : 0);
        if (sells) (one.seller, one.sellerLock) = (party, uint128(lock));
        else (one.buyer, one.buyerLock) = (party, uint128(lock));
    }

    /// @inheritdoc IDayProducts
    function report(address oracle, uint32 day, uint8 step, int64 condition_, bytes32 r, bytes32 vs) external {
        uint256 end = _reportEnd(day, step);
        uint256 start = ledger.startOf(day, step);
        if (block.timestamp < start) revert ReportTooEarly(start);
        if (block.timestamp > end) revert ReportTooLate(end);
        Report storage made = _reports[_reportKey(oracle, day, step)];
        if (made.reported) revert ReportedAlready(oracle, day, step);
        if (msg.sender != oracle) _requireSigned(oracle, conditionDigest(day, step, condition_), r, vs);
        (made.reported, made.condition) = (true, condition_);
        emit ConditionReported(oracle, day, step, condition_);
    }

    /// @inheritdoc IDayProducts
    function settleForward(uint256 id) external {
        Forward storage settled = _forwards[id];
        if (settled.state != State.Taken) revert NotOpen(id);
        Report storage made = _reports[_reportKey(settled.formula.oracle, settled.day, settled.step)];
        bool reported = made.reported;
        if (!reported) {
            uint256 end = _reportEnd(settled.day, settled.step);
            if (block.timestamp <= end) revert NotReported(end);
        }
        int256 price = reported ? _priceAt(settled.formula, made.condition) : settled.formula.base;
        int256 payment = _payment(settled.energy, price, settled.sells);
        (uint256 sellerLock, uint256 buyerLock) = (settled.sellerLock, settled.buyerLock);
        (settled.state, settled.sellerLock, settled.buyerLock) = (State.Ended, 0, 0);
        emit ForwardSettled(id, price, payment, reported);
        address seller = ledger.memberOf(settled.day, settled.seller);
        address buyer = ledger.memberOf(settled.day, settled.buyer);
        ledger.unlockFor(seller, sellerLock);
        ledger.unlockFor(buyer, buyerLock);
        // Locks are enough for all prices between floor and cap.
        _pay(seller, buyer, payment);
    }

    /// @dev Price at a condition. A slope of 32 bits times a difference of 65.
    function _priceAt(Formula storage formula, int64 condition_) private view returns (int256 price) {
        price = formula.base + formula.slope * (int256(condition_) - formula.usual) / UNIT;
        if (price < formula.floor) return formula.floor;
        if (price > formula.cap) return formula.cap;
    }

    /// @inheritdoc IDayProducts
    function endForward(uint256 id) external {
        Forward storage ended = _forwards[id];
        if (ended.state != State.Offered) revert NotOpen(id);
        address proposer = ledger.memberOf(ended.day, ended.proposer);
        _requireEnd(id, proposer, ended.until);
        uint256 lock = uint256(ended.sellerLock) + ended.buyerLock;
        (ended.state, ended.sellerLock, ended.buyerLock) = (State.Ended, 0, 0);
        emit ForwardEnded(id);
        ledger.unlockFor(proposer, lock);
    }

    /// @dev Until when a condition can be reported.
    function _reportEnd(uint32 day, uint8 step) private view returns (uint256) {
        return ledger.startOf(day, uint256(step) + 1) + ledger.terms(day).readingSeconds;
    }

    function _reportKey(address oracle, uint32 day, uint8 step) private pure returns (uint256) {
        return uint256(uint160(oracle)) << 40 | uint256(day) << 8 | step;
    }

    /// @inheritdoc IDayProducts
    function forward(uint256 id) external view returns (Forward memory) {
        return _forwards[id];
    }

    /// @inheritdoc IDayProducts
    function condition(address oracle, uint32 day, uint8 step) external view returns (bool reported, int64 value) {
        Report storage made = _reports[_reportKey(oracle, day, step)];
        return (made.reported, made.condition);
    }

    /// @inheritdoc IDayProducts
    function conditionDigest(uint32 day, uint8 step, int64 condition_) public view returns (bytes32) {
        return _digest(keccak256(abi.encode(CONDITION_TYPEHASH, day, step, condition_)));
    }
}
