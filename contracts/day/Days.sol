// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Money} from "../libraries/Money.sol";
import {Series} from "../libraries/Series.sol";
import {Deposits} from "../settlement/Deposits.sol";

/// @title What both halves of a day's settlement know: its storage, when steps begin, and what covers positions
/// @notice See IDaySettlement.
///
/// @dev Storage.
///
/// | variable          | slots         | written                                                                      |
/// |-------------------|---------------|------------------------------------------------------------------------------|
/// | (Deposits)        | 1, mapping    | totalDeposits; 1 an account: free and locked                                 |
/// | _opened, _days    | 1, mapping    | by openDay; a day by all that concerns it                                    |
/// | _brought          | mapping       | 1 a round and node, by bring                                                 |
/// | _histories        | mapping       | 1 an account, by settleStep                                                  |
/// | _peaks            | mapping       | 1 an account, supplier and period, by settleStep                             |
abstract contract Days is Deposits {
    using Series for mapping(uint256 word => uint256);

    /// @dev Who is in a day as a node. One storage slot.
    struct Member {
        address account;
        uint8 supplier; // its number in the day
        bool tradeFee; //  whether that has a fee on what comes from neighbours
    }

    /// @dev Who supplies in a day.
    struct Supplier {
        address account;
        uint48 peakFee; //    1e-6 currency for each kWh in the step in which most is drawn
        uint32 period; //     over which that is
        bool tradeFee; //     whether it has a fee on what comes from neighbours
        uint128 customers; // bitmap of node numbers
        bytes32 terms; //     hash that its customers agree to
        mapping(uint256 word => uint256) tariff; // int32: import and feed-in price of each step, then fees on trades
    }

    struct Day {
        IDaySettlement.Standing standing; //                              3 slots
        IDaySettlement.Terms terms; //                                    2 slots
        mapping(uint256 number => Supplier) suppliers; //                 the community's is 0
        mapping(uint256 word => uint256) shares; //                       int32, by node
        mapping(uint256 node => Member) members;
        mapping(address account => uint256) nodes; //                     of members, and one
        mapping(address account => uint256) numbers; //                   of other suppliers than the community's
        mapping(uint256 party => uint256) balances; //                    token units
        mapping(uint256 node => mapping(uint256 word => uint256)) positions; // int64, by step
        mapping(uint256 node => mapping(uint256 word => uint256)) nominated; // int32, by step
        mapping(uint256 node => IDaySettlement.Nomination) nominations;
        mapping(uint256 step => uint128) isRead; //                       bitmap of nodes
        mapping(uint256 step => mapping(uint256 word => uint256)) readings; // int32, by node
    }

    /// @dev The community's supplier among the parties of a day; others are 254, 253 and so on, members their node numbers.
    uint8 internal constant SUPPLIER = 255;
    uint256 internal constant PRICES = 8; // bytes a step
    uint256 internal constant ENERGY = 4; // bytes a step, or a node
    uint32 internal constant LABEL = 2 ** 31; // of rounds about the rest of a day

    IVirtualAggregator internal immutable _aggregator;
    ITradeSettlement internal immutable _settlement;
    address internal immutable _supplier;
    uint16 internal immutable _steps;

    uint32 internal _opened; // days
    mapping(uint32 day => Day) internal _days;
    // Written through storage pointers, or by the other half.
    // slither-disable-next-line uninitialized-state
    mapping(uint256 roundAndNode => uint128) internal _brought;
    // slither-disable-next-line uninitialized-state
    mapping(address account => IDaySettlement.History) internal _histories;
    // slither-disable-next-line uninitialized-state
    mapping(address account => mapping(uint256 supplierAndPeriod => uint256 energy)) internal _peaks;

    constructor(ITradeSettlement settlement_, address supplier_) {
        _settlement = settlement_;
        _aggregator = IVirtualAggregator(address(settlement_.aggregator()));
        // A day cannot be opened where nobody supplies.
        // slither-disable-next-line missing-zero-check
        _supplier = supplier_;
        _steps = _aggregator.setting().steps;
    }

    // ------------------------------------------------------------------ when

    function _day(uint32 day) internal view returns (Day storage day_) {
        day_ = _days[day];
        if (day_.standing.index == 0) revert IDaySettlement.NoSuchDay(day);
    }

    /// @dev A day, a step's gate in which is open.
    function _opening(uint32 day, uint8 step) internal view returns (Day storage day_) {
        day_ = _day(day);
        uint256 gate = _gate(day_, step);
        if (block.timestamp >= gate) revert IDaySettlement.GateClosed(day, step, gate);
    }

    function _gate(Day storage day_, uint8 step) internal view returns (uint256) {
        if (step >= _steps) revert IDaySettlement.NoSuchStep(step);
        return _start(day_, step) - day_.terms.gateSeconds;
    }

    /// @dev When a step begins. The step after the last begins when the day is over.
    function _start(Day storage day_, uint256 step) internal view returns (uint256) {
        return day_.terms.start + step * day_.terms.stepSeconds;
    }

    /// @dev Requires that a step is over. Returns since when it is.
    function _requireOver(uint32 day, Day storage day_, uint8 step) internal view returns (uint256 end) {
        end = _start(day_, uint256(step) + 1);
        if (block.timestamp < end) revert IDaySettlement.StepNotOver(day, step, end);
    }

    // ------------------------------------------------------------------ at what price

    /// @dev Of a supplier, by its number.
    function _prices(Day storage day_, uint256 number, uint256 step)
        internal
        view
        returns (int256 importPrice, int256 feedInPrice)
    {
        mapping(uint256 word => uint256) storage tariff = day_.suppliers[number].tariff;
        return (tariff.at32(2 * step), tariff.at32(2 * step + 1));
    }

    /// @dev A supplier's fee on what comes from neighbours.
    function _tradeFee(Day storage day_, uint256 number, uint256 step) internal view returns (int256) {
        return day_.suppliers[number].tariff.at32(2 * uint256(_steps) + step);
    }

    /// @dev What a position costs if nothing of it is fed in or drawn, token units: what was bought costs its fee in any
    ///      case. It is convex and none for none: what covers two covers both together.
    function _cover(Day storage day_, uint8 node, uint256 step, int256 energy) internal view returns (uint256) {
        if (energy == 0) return 0;
        Member storage member = day_.members[node];
        (int256 importPrice, int256 feedInPrice) = _prices(day_, member.supplier, step);
        int256 adder = int256(uint256(day_.terms.adder));
        int256 price = 0;
        if (energy > 0) {
            price = SignedMath.max(importPrice, feedInPrice) + adder;
        } else {
            price = SignedMath.min(SignedMath.min(importPrice, feedInPrice) - adder, 0);
            if (member.tradeFee) price -= _tradeFee(day_, member.supplier, step);
        }
        int256 due = Money.dueOf(energy * price, _currency);
        return due > 0 ? uint256(due) : 0;
    }

    // ------------------------------------------------------------------ whose

    function _lockFor(Day storage day_, uint8 party, address account, uint256 amount) internal {
        _lock(account, amount);
        day_.balances[party] += amount;
    }
}
