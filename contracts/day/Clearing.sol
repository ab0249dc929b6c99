// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Series} from "../libraries/Series.sol";
import {Steps} from "../libraries/Steps.sol";
import {Tariffs} from "../libraries/Tariffs.sol";
import {Deposits} from "../settlement/Deposits.sol";
import {Days} from "./Days.sol";

/// @title The half of a day's settlement that opens days, settles their steps and closes them
/// @notice The day's settlement calls it by `delegatecall`: so all of this happens to its storage, in its name. What is
///         called here directly happens to this contract's own storage, of which nobody reads anything; but anybody can
///         ask what a step would come to.
contract Clearing is Days {
    using Series for mapping(uint256 word => uint256);

    uint256 private constant ONE = 1e9; // all shares
    uint256 private constant LONGEST = 2 ** 24; // s
    uint256 private constant TRADE_FEE = 4; // bytes a step
    uint256 private constant PEAK_FEE = 6; // bytes
    uint256 private constant PERIOD = 4; // bytes

    constructor(ITradeSettlement settlement_, IERC20Metadata token_, address supplier_)
        Deposits(token_)
        Days(settlement_, supplier_)
    {}

    // ------------------------------------------------------------------ opening

    /// @dev See IDaySettlement.
    function openDay(
        uint32 day,
        IDaySettlement.Terms calldata terms,
        bytes calldata tariff,
        bytes calldata shares,
        uint128 lock
    ) external nonReentrant {
        if (msg.sender != _supplier) revert IDaySettlement.NotSupplier(msg.sender);
        Day storage opened = _days[day];
        if (opened.standing.index != 0) revert IDaySettlement.DayOpenedAlready(day);
        _requireTerms(day, terms, shares);
        bytes32 hash = keccak256(abi.encode(terms, keccak256(tariff), keccak256(shares)));
        opened.standing = IDaySettlement.Standing(++_opened, 0, false, 0, 1, hash);
        opened.terms = terms;
        opened.shares.write(0, shares);
        _supplies(opened, 0, hash, tariff, lock);
        emit IDaySettlement.DayOpened(day, _opened, terms, tariff, shares, lock);
    }

    function _requireTerms(uint32 day, IDaySettlement.Terms calldata terms, bytes calldata shares) private view {
        if (day >= LABEL) revert IDaySettlement.InvalidTerms("day", day);
        if (terms.stepSeconds == 0 || terms.stepSeconds > LONGEST) {
            revert IDaySettlement.InvalidTerms("stepSeconds", terms.stepSeconds);
        }
        if (terms.readingSeconds > LONGEST) revert IDaySettlement.InvalidTerms("readingSeconds", terms.readingSeconds);
        if (terms.start <= block.timestamp + terms.gateSeconds) revert IDaySettlement.InvalidTerms("start", terms.start);
        if (terms.adder > uint32(type(int32).max)) revert IDaySettlement.InvalidTerms("adder", terms.adder);
        uint256 most = terms.key == IDaySettlement.Key.Shares ? ENERGY * MAX_NODES : 0;
        if (shares.length > most || shares.length % ENERGY != 0) {
            revert IDaySettlement.LengthMismatch(most, shares.length);
        }
        uint256 sum = 0;
        for (uint256 at = 0; at < shares.length; at += ENERGY) sum += uint32(bytes4(shares[at:at + ENERGY]));
        if (most != 0 && sum != ONE) revert IDaySettlement.SharesDoNotSumToOne(sum);
    }

    /// @dev See IDaySettlement.
    function supplyDay(uint32 day, bytes32 terms, bytes calldata tariff, uint128 lock) external nonReentrant {
        Day storage day_ = _opening(day, 0);
        if (msg.sender == _supplier || !_settlement.supplies(type(uint32).max, msg.sender)) {
            revert IDaySettlement.NotSupplier(msg.sender);
        }
        if (day_.standing.terms != terms) revert IDaySettlement.OtherTerms(day, day_.standing.terms);
        if (day_.numbers[msg.sender] != 0) revert IDaySettlement.SuppliesAlready(day, msg.sender);
        uint8 number = day_.standing.suppliers;
        if (number == MAX_NODES) revert IDaySettlement.TooManySuppliers(day);
        day_.standing.suppliers = number + 1;
        day_.numbers[msg.sender] = number;
        bytes32 hash = keccak256(abi.encode(terms, keccak256(tariff)));
        _supplies(day_, number, hash, tariff, lock);
        emit IDaySettlement.DaySupplied(day, msg.sender, number, hash, tariff, lock);
    }

    /// @dev The caller is a supplier of a day from now on.
    function _supplies(Day storage day_, uint8 number, bytes32 terms, bytes calldata tariff, uint256 lock) private {
        Supplier storage supplier = day_.suppliers[number];
        (supplier.account, supplier.terms) = (msg.sender, terms);
        uint256 prices = PRICES * _steps;
        uint256 end = prices + TRADE_FEE * _steps;
        // A peak counts over the period that is told, or else over the day.
        bool told = tariff.length == end + PEAK_FEE + PERIOD;
        Tariffs.requireValid(told ? tariff[:end + PEAK_FEE] : tariff, _steps);
        bool fees = tariff.length != prices;
        supplier.tariff.write(0, fees ? tariff[:end] : tariff);
        if (fees) {
            supplier.tradeFee = true;
            supplier.peakFee = uint48(bytes6(tariff[end:]));
            supplier.period = told ? uint32(bytes4(tariff[end + PEAK_FEE:])) : LABEL | day_.standing.index;
        }
        _lockFor(day_, SUPPLIER - number, msg.sender, lock);
    }

    // ------------------------------------------------------------------ settlement

    /// @dev See IDaySettlement.
    function settleStep(uint32 day) external {
        Day storage day_ = _day(day);
        uint16 next = day_.standing.next;
        if (next == _steps) revert IDaySettlement.StepsLeft(day, next);
        uint8 step = uint8(next);
        _requireRead(day, day_, step);
        day_.standing.next = next + 1;
        for (uint8 number = 0; number < day_.standing.suppliers; ++number) _settle(day, day_, number, step);
    }

    /// @dev Requires that a step is over, and that all were read or are not waited for any longer.
    function _requireRead(uint32 day, Day storage day_, uint8 step) private view {
        uint256 until = _requireOver(day, day_, step) + day_.terms.readingSeconds;
        if (block.timestamp <= until && day_.isRead[step] != day_.standing.members) {
            revert IDaySettlement.ReadingsAwaited(day, step, until);
        }
    }

    /// @dev A step of a supplier's customers.
    function _settle(uint32 day, Day storage day_, uint8 number, uint8 step) private {
        Steps.Step memory loaded = _loaded(day_, number, step);
        Steps.Cleared memory result = Steps.cleared(loaded);
        _write(day, day_, number, step, loaded.balances, result);
        emit IDaySettlement.StepSettled(
            day,
            step,
            number,
            day_.suppliers[number].customers,
            result.poolEnergy,
            result.poolPrice,
            result.deviation,
            result.payments
        );
    }

    /// @dev What a supplier's customers had to deliver and did. Counts who delivered its position.
    function _loaded(Day storage day_, uint8 number, uint8 step) private returns (Steps.Step memory all) {
        Supplier storage supplier = day_.suppliers[number];
        uint128 left = supplier.customers;
        uint256 count = Nodes.count(left);
        (all.nets, all.positions, all.deviations) = (new int256[](count), new int256[](count), new int256[](count));
        (all.balances, all.shares, all.peaks) = (new uint256[](count), new uint256[](count), new uint256[](count));
        (all.key, all.pricing) = (day_.terms.key, day_.terms.pricing);
        (all.adder, all.mostAdder) = (day_.terms.adder, day_.terms.mostAdder);
        (all.importPrice, all.feedInPrice) = _prices(day_, number, step);
        all.peakFee = int256(uint256(supplier.peakFee));
        if (supplier.tradeFee) all.tradeFee = _tradeFee(day_, number, step);
        (all.supplierBalance, all.currency) = (day_.balances[SUPPLIER - number], _currency);
        for (uint256 k = 0; k < count; ++k) {
            uint8 node = Nodes.lowest(left);
            left = Nodes.withoutLowest(left);
            _load(day_, supplier, step, node, all, k);
        }
    }

    function _load(
        Day storage day_, Supplier storage supplier, uint8 step, uint8 node, Steps.Step memory all, uint256 k
    ) private {
        int256 sold = day_.positions[node].at64(step);
        all.positions[k] = sold;
        all.balances[k] = day_.balances[node] + _cover(day_, node, step, sold);
        all.shares[k] = uint256(day_.shares.at32(node));
        int256 nominated = day_.nominated[node].at32(step);
        // Who is not read pays for what it nominated to draw and for what it sold, of which nothing was read; and is not
        // paid for what it nominated to have over, or to draw where that is paid: else whoever keeps its meter from
        // being read could ask for all that the supplier has locked, or sell what it does not have.
        if (day_.isRead[step] & Nodes.bit(node) == 0) {
            bool costs = all.importPrice >= 0 && all.feedInPrice >= 0; // nobody is paid for drawing
            all.nets[k] = SignedMath.max(costs ? SignedMath.max(nominated, sold) : sold, 0);
            return;
        }
        int256 read = day_.readings[step].at32(node);
        int256 net = sold - read;
        (all.nets[k], all.deviations[k]) = (net, net - nominated);
        address account = day_.members[node].account;
        if (sold != 0) _remember(account, sold > 0 ? net : -net, day_.terms.tolerance);
        if (all.peakFee != 0 && read < 0) all.peaks[k] = _risen(account, supplier, uint256(-read));
    }

    /// @dev By how much what was drawn in a step is above the most of its period, which it is from now on.
    function _risen(address account, Supplier storage supplier, uint256 drawn) private returns (uint256) {
        uint256 key = uint256(uint160(supplier.account)) << 32 | supplier.period;
        uint256 most = _peaks[account][key];
        if (drawn <= most) return 0;
        _peaks[account][key] = drawn;
        return drawn - most;
    }

    /// @dev Counts a position, what is missing of which is known.
    function _remember(address account, int256 missing, uint256 tolerance) private {
        IDaySettlement.History storage past = _histories[account];
        ++past.had;
        if (missing <= int256(tolerance)) ++past.delivered;
    }

    /// @dev Writes balances that have changed, and what is locked. What is left of covers is in the balances.
    /// @param before balances with covers
    function _write(
        uint32 day,
        Day storage day_,
        uint8 number,
        uint8 step,
        uint256[] memory before,
        Steps.Cleared memory result
    ) private {
        uint128 customers = day_.suppliers[number].customers;
        for (uint256 k = 0; customers != 0; ++k) {
            uint8 node = Nodes.lowest(customers);
            customers = Nodes.withoutLowest(customers);
            int256 payment = result.payments[k];
            uint256 left = uint256(int256(before[k]) + payment);
            if (left != day_.balances[node]) day_.balances[node] = left;
            if (payment != 0) _changeLocked(day_.members[node].account, payment);
            if (result.uncovered[k] != 0) emit IDaySettlement.Uncovered(day, step, node, result.uncovered[k]);
        }
        int256 received = result.payments[result.payments.length - 1];
        if (received == 0) return;
        uint8 party = SUPPLIER - number;
        day_.balances[party] = uint256(int256(day_.balances[party]) + received);
        _changeLocked(day_.suppliers[number].account, received);
    }

    /// @notice What a step of a supplier's customers would come to. All arrays have one length, but for shares, which may be
    ///         none.
    function cleared(Steps.Step memory step) external pure returns (Steps.Cleared memory) {
        return Steps.cleared(step);
    }

    // ------------------------------------------------------------------ closing

    /// @dev See IDaySettlement.
    function closeDay(uint32 day) external {
        Day storage day_ = _day(day);
        IDaySettlement.Standing storage now_ = day_.standing;
        if (now_.next < _steps) revert IDaySettlement.StepsLeft(day, now_.next);
        if (now_.closed) revert IDaySettlement.ClosedAlready(day);
        now_.closed = true;
        for (uint128 left = now_.members; left != 0; left = Nodes.withoutLowest(left)) {
            uint8 node = Nodes.lowest(left);
            _release(day_, node, day_.members[node].account);
        }
        for (uint8 number = 0; number < now_.suppliers; ++number) {
            _release(day_, SUPPLIER - number, day_.suppliers[number].account);
        }
        emit IDaySettlement.DayClosed(day);
    }

    function _release(Day storage day_, uint8 party, address account) private {
        uint256 left = day_.balances[party];
        day_.balances[party] = 0;
        _unlock(account, left, left);
    }
}
