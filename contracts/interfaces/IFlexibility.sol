// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDaySettlement} from "./IDaySettlement.sol";
import {IDeposits} from "./IDeposits.sol";

/// @title What an aggregator may call members for, what it called, and what it pays for that
/// @notice A member opts in: for a device, a span of time and limits, at a price, to one aggregator. The aggregator calls for
///         steps of a day, before their gates. What was delivered is what the day's meter read otherwise than the member's
///         baseline, and is paid from what the aggregator had to lock when it called.
///
/// @dev Units. Energy Wh, power W, prices 1e-6 currency/kWh, money token units.
///
/// No energy is traded here. What a member draws less or feeds in more by a call is settled with pool and supplier on the
/// day's settlement, as read; it may nominate that before the gate, as anything else. Who wants the energy itself buys it
/// there, by spot or option.
///
/// Energies of a call are what the meter is to read otherwise than the baseline in each step: positive (up), fed in more or
/// drawn less; negative (down), drawn more. Zero asks for the baseline itself.
///
/// Baseline b of a step is what the member has told everybody that its meter will read: position - nomination on the day's
/// settlement, at the moment of the call. The contract reads it there itself and keeps it, so neither what the member
/// nominates afterwards nor what the aggregator says moves it; and the aggregator names it with its call, which is refused
/// where the member has changed it meanwhile, or has not nominated since its position changed: anybody may bring a trade of
/// it, take its offer or exercise its option, and what its meter will read then follows only from what it nominates next.
/// That a member nominates falsely before any call nobody sees, and it costs it nothing, called or not, if it nominates the
/// truth before the gate. What an aggregator can do is to call for the baseline (energy 0), which a member then has to keep.
///
/// A call is settled once the day's settlement has settled its steps, as no reading changes any longer. Of a step that was
/// read r, with energy e, x = r - b:
///   paid    price * what is between 0 and e of x
///   kept    |x - e| <= tolerance: the fee
///   fined   fine * (|x - e| - tolerance), where that is positive: too little and too much
/// A step that nobody read is neither paid nor fined. Sums are rounded against who takes, the aggregator. What a call costs is
/// never above what was locked for it; what a member pays, never above what is left of its bond.
///
/// Series of energies are int32, big-endian, one a step.
///
/// Invariants. Tests bear these numbers.
///   FX1  Free and locked deposits of all accounts together are totalDeposits, and the contract has as many tokens.
///   FX2  What is locked is the reserves of calls that are not settled, and the bonds of offers that are not free.
///   FX3  What a call pays one it takes from the other: from 0 up to its reserve, or from 0 up to what is left of the bond.
///   FX4  Once its steps are settled on the day's settlement, anybody can settle a call, once, whatever its two parties
///        did meanwhile.
///   FX5  A member is called at most once in a step, by whom it opted in to, within span, power and energy of its offer, and
///        before the notice that it asked for.
///   FX6  What a call is measured by does not change once it is recorded.
///   FX7  A member ends its offer at any time: it is not called any more, which is for all steps whose gates are open. What
///        was called before stands. Its bond is free once that is settled.
///   FX8  No call needs more than 2^24 gas, with up to 192 steps.
interface IFlexibility is IDeposits {
    /// @notice What a member opts in to.
    struct Terms {
        address aggregator;
        uint96 fee; //       a step that is kept, token units
        bytes16 device; //   its name
        uint128 bond; //     of the member, token units: what it can be fined
        uint40 from; //      unix time, of steps that it can be called for
        uint40 until;
        uint32 up; //        W, at most
        uint32 down; //      W, at most
        uint32 energy; //    Wh in a day, at most, up and down together
        uint32 price; //     of what is delivered
        uint32 fine; //      of what is delivered otherwise than called
        uint32 tolerance; // Wh in a step
        uint32 notice; //    s, that a call comes before the gate of its first step
    }

    /// @notice An offer.
    struct Offer {
        Terms terms; //   what is left of the bond is in it
        address member;
        uint32 open; //   calls that are not settled
        bool ended;
    }

    /// @notice A call.
    struct Call {
        uint64 offer;
        uint32 day;
        uint8 node; //     of the member, on that day
        uint8 first; //    step
        uint8 count; //    of steps
        bool settled;
        uint128 reserve; // locked for it, token units
    }

    event OptedIn(uint256 indexed id, address indexed member, address indexed aggregator, Terms terms);
    /// @notice No call comes any more.
    event OfferEnded(uint256 indexed id);
    /// @notice What was left of the bond is free again.
    event BondFreed(uint256 indexed id, uint256 amount);
    /// @param id of the call
    event Called(
        uint256 indexed id, uint256 indexed offer, uint32 indexed day, uint8 node, uint8 first, bytes energies,
        bytes baselines, uint256 reserve
    );
    /// @param payment   token units, from the aggregator to the member
    /// @param delivered Wh that are paid
    /// @param otherwise Wh that are fined
    /// @param kept      steps
    event CallSettled(uint256 indexed id, int256 payment, uint256 delivered, uint256 otherwise, uint256 kept);

    error InvalidOffer(string what, uint256 value);
    error DeviceOffered(uint256 id);
    error NoSuchOffer(uint256 id);
    error OfferOver(uint256 id);
    error NotAggregator(uint256 id, address account);
    error NotOwner(uint256 id, address account);
    error InvalidCall(uint256 steps, uint256 energies, uint256 baselines);
    error CallTooLate(uint256 until);
    error OutsideSpan(uint256 from, uint256 until);
    error CalledAlready(uint32 day, uint8 node, uint256 steps);
    error BeyondPower(uint8 step, uint256 most, uint256 given);
    error BeyondEnergy(uint256 most, uint256 given);
    error NotNominated(uint32 day, uint8 node);
    error OtherBaseline(uint8 step, int256 baseline, int256 given);
    error NoSuchCall(uint256 id);
    error CallSettledAlready(uint256 id);
    error StepsAwaited(uint32 day, uint256 step);

    /// @notice The caller can be called on these terms from now on, and locks the bond. A device is in one offer at a time.
    function optIn(Terms calldata terms) external returns (uint256 id);

    /// @notice Ends an offer: its member at any time, anybody after its span.
    function endOffer(uint256 id) external;

    /// @notice The offer's aggregator calls for steps of a day, and locks the most that this can cost.
    /// @param energies  of the steps from `first` on
    /// @param baselines of the same steps, as the aggregator has read them
    function call(uint256 offer_, uint32 day, uint8 first, bytes calldata energies, bytes calldata baselines)
        external
        returns (uint256 id);

    /// @notice Pays a call. Anybody may.
    function settle(uint256 id) external;

    function ledger() external view returns (IDaySettlement);
    /// @notice Offers are numbered from 1 on, and calls.
    function lastOffer() external view returns (uint256);
    function lastCall() external view returns (uint256);
    function offer(uint256 id) external view returns (Offer memory);
    function callOf(uint256 id) external view returns (Call memory);
    /// @notice What a call asks for in a step of its day, and its baseline there.
    function asked(uint256 id, uint8 step) external view returns (int256 energy, int256 baseline);
    /// @notice The offer that a device is in, 0 where it is in none.
    function offered(address member, bytes16 device) external view returns (uint256 id);
    /// @notice Steps of a day that a node is called in, as a bitmap.
    function called(uint32 day, uint8 node) external view returns (uint256 steps);
    /// @notice Wh that an offer is called for in a day.
    function energyOf(uint256 id, uint32 day) external view returns (uint256);
    /// @notice What a meter will read in a step by what the member has told the day's settlement so far.
    function baselineOf(uint32 day, uint8 node, uint8 step) external view returns (int256);
}
