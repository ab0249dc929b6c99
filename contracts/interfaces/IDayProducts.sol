// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDaySettlement} from "./IDaySettlement.sol";

/// @title What members of a day, and their supplier, agree on in pairs: spot, options, forwards
/// @notice All of it makes positions on the day's settlement, before the gate of their step closes, and is paid from
///         deposits there. Parties are node numbers, or SUPPLIER, 255. Units are those of IDaySettlement.
///
/// @dev Invariants. Tests bear these numbers.
///   DP1  What is locked for products is the sum of the locks of what is open here.
///   DP2  Every lock ends, and anybody can end it: of an offer at its end, of an option at its gate, of a forward at its
///        report's deadline.
///   DP3  Nothing here changes a position whose gate has closed.
///   DP4  Nothing here leaves anybody in debt: what is paid at once comes from free deposits, what is paid later from
///        locks, and what a party owes its supplier if it cannot deliver (IDaySettlement, DS10) was locked with its offer,
///        or is when it takes one.
///   DP6  What is taken in parts costs who takes at least what it is worth: money is rounded against who takes (Money).
///   DP5  A forward costs no less than its floor and no more than its cap, whatever its oracle says, or if it is silent.
interface IDayProducts {
    enum State {
        None,
        Offered,
        Taken,
        Ended
    }

    /// @notice An offer of energy at a posted price.
    struct Spot {
        uint32 day;
        uint8 step;
        uint8 poster; //  node, or SUPPLIER
        bool sells;
        uint32 energy; // left of it
        int32 price;
        uint128 lock; //  of the poster, for what is left, token units
    }

    /// @notice The right, not the obligation, to buy energy of a step until its gate closes.
    struct Option {
        uint32 day;
        uint8 step;
        uint8 writer;
        uint8 buyer;
        State state;
        uint32 energy; //      Wh, at most
        uint32 strike;
        uint40 until; //       it can be taken
        uint128 premium; //    token units
        uint128 collateral; // locked by the writer, token units
    }

    /// @notice What a forward costs: base + slope * (condition - usual) / 1000, between floor and cap.
    struct Formula {
        int32 base;
        int32 slope; //       1e-6 currency/kWh for each whole unit of the condition
        int32 floor;
        int32 cap;
        int64 usual; //       1/1000 of a unit of the condition, as it is reported
        address oracle; //    whose report counts
    }

    /// @notice Energy of a step, sold at a price that depends on a condition.
    struct Forward {
        uint32 day;
        uint8 step;
        uint8 seller;
        uint8 buyer;
        uint8 proposer;
        bool sells; //        the proposer
        State state;
        uint32 energy;
        uint40 until; //      it can be taken
        uint128 sellerLock; // token units
        uint128 buyerLock;
        Formula formula;
    }

    event SpotPosted(uint256 indexed id, uint32 indexed day, uint8 indexed poster, Spot spot);
    /// @param payment token units, from the buyer to the seller
    event SpotTaken(uint256 indexed id, uint8 indexed taker, uint32 energy, int256 payment);
    event SpotEnded(uint256 indexed id, uint256 unlocked);
    event OptionWritten(uint256 indexed id, uint32 indexed day, uint8 indexed writer, Option option);
    event OptionTaken(uint256 indexed id, uint8 indexed buyer);
    event OptionExercised(uint256 indexed id, uint32 energy, uint256 payment);
    /// @notice It lapsed, was not taken, or was given up.
    event OptionEnded(uint256 indexed id, uint256 unlocked);
    event ForwardOffered(uint256 indexed id, uint32 indexed day, uint8 indexed proposer, Forward terms);
    event ForwardTaken(uint256 indexed id, uint8 indexed taker);
    /// @param payment token units, from the buyer to the seller
    event ForwardSettled(uint256 indexed id, int256 price, int256 payment, bool reported);
    event ForwardEnded(uint256 indexed id);
    event ConditionReported(address indexed oracle, uint32 indexed day, uint8 indexed step, int64 condition);

    error NoEnergy();
    error TooMuchEnergy(uint256 most, uint256 given);
    error NotOpen(uint256 id);
    error OwnOffer(uint256 id);
    error NotYours(uint256 id, address account);
    error OfferEnded(uint256 id, uint256 until);
    error UntilAfterGate(uint256 gate, uint256 until);
    error UntilOver(uint256 until);
    error CollateralTooSmall(uint256 least, uint256 given);
    error InvalidFormula(int256 floor, int256 base, int256 cap);
    error ReportTooEarly(uint256 from);
    error ReportTooLate(uint256 until);
    error ReportedAlready(address oracle, uint32 day, uint8 step);
    error NotReported(uint256 until);

    // ------------------------------------------------------------------ spot

    /// @notice Offers energy of a step at a price. The poster locks what it would have to pay, and what covers the energy
    ///         (IDaySettlement, `coverOf`).
    function postSpot(uint32 day, uint8 step, bool sells, uint32 energy, int32 price) external returns (uint256 id);

    /// @notice Takes some of an offer, and pays or is paid at once.
    function takeSpot(uint256 id, uint32 energy) external;

    /// @notice Ends an offer: its poster at any time, anybody after the gate.
    function endSpot(uint256 id) external;

    // ------------------------------------------------------------------ options

    /// @notice Offers an option.
    /// @param collateral at least what covers the energy (IDaySettlement, `coverOf`)
    /// @param until      it can be taken; to come, and not after the gate
    function writeOption(
        uint32 day, uint8 step, uint32 energy, uint32 strike, uint128 premium, uint128 collateral, uint40 until
    ) external returns (uint256 id);

    /// @notice Pays the premium and has the option.
    function takeOption(uint256 id) external;

    /// @notice Buys up to the option's energy, and pays the strike at once. The collateral is free again, and the writer's
    ///         position covered.
    function exercise(uint256 id, uint32 energy) external;

    /// @notice Ends an option that was not exercised: before it was taken its writer at any time, anybody after `until`;
    ///         then its buyer at any time, anybody after the gate.
    function endOption(uint256 id) external;

    // ------------------------------------------------------------------ forwards

    /// @notice Offers a forward. The buyer locks what it costs at the cap, the seller what it costs at a negative floor; and
    ///         the proposer what covers its side.
    function offerForward(
        uint32 day, uint8 step, bool sells, uint32 energy, Formula calldata formula, uint40 until
    ) external returns (uint256 id);

    /// @notice Takes the other side, and covers it.
    function takeForward(uint256 id) external;

    /// @notice A condition in a step: once, between its beginning and readingSeconds after its end, by the oracle or with
    ///         its signature, EIP-712 Condition(uint32 day,uint8 step,int64 condition) of domain ("gridpact products", "1").
    function report(address oracle, uint32 day, uint8 step, int64 condition, bytes32 r, bytes32 vs) external;

    /// @notice Pays a forward by its formula, once the condition was reported; by its base, once that is too late.
    function settleForward(uint256 id) external;

    /// @notice Ends a forward that was not taken: its proposer at any time, anybody after `until`.
    function endForward(uint256 id) external;

    // ------------------------------------------------------------------ views

    function ledger() external view returns (IDaySettlement);
    function spot(uint256 id) external view returns (Spot memory);
    function option(uint256 id) external view returns (Option memory);
    function forward(uint256 id) external view returns (Forward memory);
    /// @notice Offers, options and forwards are numbered together, from 1 on.
    function lastId() external view returns (uint256);
    function condition(address oracle, uint32 day, uint8 step) external view returns (bool reported, int64 value);
    function conditionDigest(uint32 day, uint8 step, int64 condition_) external view returns (bytes32);
}
