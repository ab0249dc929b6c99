// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {Nodes} from "../libraries/Nodes.sol";
import {Series} from "../libraries/Series.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Deposits} from "../settlement/Deposits.sol";
import {Clearing} from "./Clearing.sol";
import {Days} from "./Days.sol";
import {SignedData} from "./SignedData.sol";

/// @title Readings, pool, supply and imbalance of a day, step by step
/// @notice See IDaySettlement for what it does, its units and its invariants. Nobody owns it.
///
/// @dev Storage.
///
/// | variable          | slots         | written                                                                      |
/// |-------------------|---------------|------------------------------------------------------------------------------|
/// | (Deposits)        | 1, mapping    | totalDeposits; 1 an account: free and locked                                 |
/// | _opened, _days    | 1, mapping    | by openDay; a day by all that concerns it                                    |
/// | _brought          | mapping       | 1 a round and node, by bring                                                 |
/// | _histories        | mapping       | 1 an account, by settleStep                                                  |
contract DaySettlement is Days, SignedData {
    using Series for mapping(uint256 word => uint256);

    bytes32 private constant READING_TYPEHASH =
        keccak256("Reading(uint32 day,uint8 step,uint128 nodes,bytes energies)");
    uint256 private constant READING = 4; // bytes a node

    /// @inheritdoc IDaySettlement
    address public immutable metering;
    /// @dev It stands on the chain before: what this contract is created with has a limit.
    Clearing public immutable clearing;

    mapping(address account => History) private _histories;

    constructor(
        ITradeSettlement settlement_, IERC20Metadata token_, address supplier_, address metering_, Clearing clearing_
    )
        Deposits(token_)
        Days(settlement_, supplier_)
        TypedData("gridpact day", "1")
    {
        // Where nobody meters, each step counts as it was nominated.
        // slither-disable-next-line missing-zero-check
        metering = metering_;
        clearing = clearing_;
    }

    // ------------------------------------------------------------------ readings

    /// @inheritdoc IDaySettlement
    function read(uint32 day, uint8 step, uint128 nodes, bytes calldata energies, bytes32 r, bytes32 vs) external {
        Day storage day_ = _day(day);
        if (step >= steps) revert NoSuchStep(step);
        _requireOver(day, day_, step);
        if (step < day_.standing.next) revert StepSettledAlready(day, step);
        uint128 others = nodes & ~day_.standing.members;
        if (others != 0) revert NotMember(day, day_.accounts[Nodes.lowest(others)]);
        uint128 twice = nodes & day_.isRead[step];
        if (twice != 0) revert ReadTwice(day, step, Nodes.lowest(twice));
        if (energies.length != READING * Nodes.count(nodes)) {
            revert LengthMismatch(READING * Nodes.count(nodes), energies.length);
        }
        _requireSigned(metering, readingDigest(day, step, nodes, energies), r, vs);
        day_.isRead[step] |= nodes;
        day_.readings[step].writeAt(nodes, energies);
        emit StepRead(day, step, nodes, energies);
    }

    /// @dev Requires that a step is over. Returns since when it is.
    function _requireOver(uint32 day, Day storage day_, uint8 step) private view returns (uint256 end) {
        end = _start(day_, uint256(step) + 1);
        if (block.timestamp < end) revert StepNotOver(day, step, end);
    }

    // ------------------------------------------------------------------ settlement

    /// @inheritdoc IDaySettlement
    function settleStep(uint32 day) external {
        Day storage day_ = _day(day);
        uint16 next = day_.standing.next;
        if (next == steps) revert StepsLeft(day, next);
        uint8 step = uint8(next);
        _requireRead(day, day_, step);
        day_.standing.next = next + 1;
        Clearing.Step memory loaded = _loaded(day_, step);
        // It has no state, and calls nobody.
        Clearing.Cleared memory result = clearing.cleared(loaded);
        _write(day, day_, step, loaded.balances, result);
        emit StepSettled(day, step, result.poolEnergy, result.poolPrice, result.deviation, result.payments);
    }

    /// @dev Requires that a step is over, and that all were read or are not waited for any longer.
    function _requireRead(uint32 day, Day storage day_, uint8 step) private view {
        uint256 until = _requireOver(day, day_, step) + day_.terms.readingSeconds;
        if (block.timestamp <= until && day_.isRead[step] != day_.standing.members) {
            revert ReadingsAwaited(day, step, until);
        }
    }

    /// @dev What members had to deliver and did. Counts who delivered its position.
    function _loaded(Day storage day_, uint8 step) private returns (Clearing.Step memory all) {
        uint128 members = day_.standing.members;
        uint256 count = Nodes.count(members);
        (all.nets, all.positions, all.deviations) = (new int256[](count), new int256[](count), new int256[](count));
        (all.balances, all.shares) = (new uint256[](count), new uint256[](count));
        (all.key, all.pricing) = (day_.terms.key, day_.terms.pricing);
        (all.adder, all.mostAdder) = (day_.terms.adder, day_.terms.mostAdder);
        (all.importPrice, all.feedInPrice) = _prices(day_, step);
        (all.supplierBalance, all.currency) = (day_.balances[SUPPLIER], _currency);
        bool costs = all.importPrice >= 0 && all.feedInPrice >= 0;
        for (uint256 k = 0; k < count; ++k) {
            uint8 node = Nodes.lowest(members);
            members = Nodes.withoutLowest(members);
            int256 sold = day_.positions[node].at64(step);
            all.positions[k] = sold;
            (all.nets[k], all.deviations[k]) = _load(day_, step, node, sold, costs);
            all.balances[k] = day_.balances[node] + _cover(day_, step, sold);
            all.shares[k] = uint256(day_.shares.at32(node));
        }
    }

    /// @param costs      whether nobody is paid for drawing
    /// @return net       g_i, Wh
    /// @return deviation g_i - n_i, Wh
    function _load(Day storage day_, uint8 step, uint8 node, int256 sold, bool costs)
        private
        returns (int256 net, int256 deviation)
    {
        int256 nominated_ = day_.nominated[node].at32(step);
        // Who is not read pays for what it nominated to draw and for what it sold, of which nothing was read; and is not
        // paid for what it nominated to have over, or to draw where that is paid: else whoever keeps its meter from
        // being read could ask for all that the supplier has locked, or sell what it does not have.
        if (day_.isRead[step] & Nodes.bit(node) == 0) {
            return (SignedMath.max(costs ? SignedMath.max(nominated_, sold) : sold, 0), 0);
        }
        net = sold - day_.readings[step].at32(node);
        if (sold != 0) _remember(day_.accounts[node], sold > 0 ? net : -net, day_.terms.tolerance);
        return (net, net - nominated_);
    }

    /// @dev Counts a position, what is missing of which is known.
    function _remember(address account, int256 missing, uint256 tolerance) private {
        History storage past = _histories[account];
        ++past.had;
        if (missing <= int256(tolerance)) ++past.delivered;
    }

    /// @dev Writes balances that have changed, and what is locked. What is left of covers is in the balances.
    /// @param before balances with covers
    function _write(
        uint32 day, Day storage day_, uint8 step, uint256[] memory before, Clearing.Cleared memory result
    ) private {
        uint128 members = day_.standing.members;
        for (uint256 k = 0; members != 0; ++k) {
            uint8 node = Nodes.lowest(members);
            members = Nodes.withoutLowest(members);
            int256 payment = result.payments[k];
            uint256 left = uint256(int256(before[k]) + payment);
            if (left != day_.balances[node]) day_.balances[node] = left;
            if (payment != 0) _changeLocked(day_.accounts[node], payment);
            if (result.uncovered[k] != 0) emit Uncovered(day, step, node, result.uncovered[k]);
        }
        int256 received = result.payments[result.payments.length - 1];
        if (received == 0) return;
        day_.balances[SUPPLIER] = uint256(int256(day_.balances[SUPPLIER]) + received);
        _changeLocked(supplier, received);
    }

    /// @inheritdoc IDaySettlement
    function closeDay(uint32 day) external {
        Day storage day_ = _day(day);
        Standing storage now_ = day_.standing;
        if (now_.next < steps) revert StepsLeft(day, now_.next);
        if (now_.closed) revert ClosedAlready(day);
        now_.closed = true;
        for (uint128 left = now_.members; left != 0; left = Nodes.withoutLowest(left)) {
            _release(day_, Nodes.lowest(left));
        }
        _release(day_, SUPPLIER);
        emit DayClosed(day);
    }

    function _release(Day storage day_, uint8 party) private {
        uint256 left = day_.balances[party];
        day_.balances[party] = 0;
        _unlock(day_.accounts[party], left, left);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IDaySettlement
    function history(address account) external view returns (History memory) {
        return _histories[account];
    }

    /// @inheritdoc IDaySettlement
    function readingDigest(uint32 day, uint8 step, uint128 nodes, bytes calldata energies)
        public
        view
        returns (bytes32)
    {
        return _digest(keccak256(abi.encode(READING_TYPEHASH, day, step, nodes, keccak256(energies))));
    }
}
