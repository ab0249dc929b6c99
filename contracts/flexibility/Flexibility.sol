// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {IFlexibility} from "../interfaces/IFlexibility.sol";
import {Money} from "../libraries/Money.sol";
import {Series} from "../libraries/Series.sol";
import {Deposits} from "../settlement/Deposits.sol";

/// @title Offers of members, calls of aggregators, and what they come to
/// @notice See IFlexibility. Nobody owns it. The ledger is known, and calls nobody.
///
/// @dev Storage.
///
/// | variable    | slots      | written                                                    |
/// |-------------|------------|------------------------------------------------------------|
/// | (Deposits)  | 1, mapping | totalDeposits; 1 an account: free and locked               |
/// | last*       | 2          | by optIn, call                                             |
/// | _offers     | mapping    | 5 an offer                                                 |
/// | offered     | mapping    | 1 a member and device                                      |
/// | energyOf    | mapping    | 1 an offer and day                                         |
/// | called      | mapping    | 1 a day and node                                           |
/// | _calls      | mapping    | 1 a call                                                   |
/// | _energies   | mapping    | 1 a call and 8 steps, int32                                |
/// | _baselines  | mapping    | the same                                                   |
contract Flexibility is IFlexibility, Deposits {
    using Series for mapping(uint256 word => uint256);

    uint256 private constant ENERGY = 4; // bytes a step
    uint256 private constant HOUR = 3600; // s
    uint8 private constant SUPPLIER = 255;

    /// @inheritdoc IFlexibility
    IDaySettlement public immutable ledger;
    uint256 private immutable _steps; // of a day

    /// @inheritdoc IFlexibility
    uint256 public lastOffer;
    /// @inheritdoc IFlexibility
    uint256 public lastCall;
    mapping(uint256 id => Offer) private _offers;
    /// @inheritdoc IFlexibility
    mapping(address member => mapping(bytes16 device => uint256 id)) public offered;
    /// @inheritdoc IFlexibility
    mapping(uint256 id => mapping(uint32 day => uint256)) public energyOf;
    /// @inheritdoc IFlexibility
    mapping(uint32 day => mapping(uint8 node => uint256 steps)) public called;
    mapping(uint256 id => Call) private _calls;
    mapping(uint256 id => mapping(uint256 word => uint256)) private _energies;
    mapping(uint256 id => mapping(uint256 word => uint256)) private _baselines;

    /// @dev What a call comes to.
    struct Sums {
        int256 worth; // Wh * 1e-6 currency/kWh
        uint256 delivered;
        uint256 otherwise;
        uint256 kept;
    }

    constructor(IDaySettlement ledger_) Deposits(ledger_.token()) {
        ledger = ledger_;
        _steps = ledger_.steps();
    }

    // ------------------------------------------------------------------ offers

    /// @inheritdoc IFlexibility
    function optIn(Terms calldata terms) external returns (uint256 id) {
        if (terms.aggregator == address(0)) revert InvalidOffer("aggregator", 0);
        if (terms.from >= terms.until || terms.until <= block.timestamp) revert InvalidOffer("until", terms.until);
        if (terms.up == 0 && terms.down == 0) revert InvalidOffer("up", 0);
        if (terms.energy == 0) revert InvalidOffer("energy", 0);
        uint256 before = offered[msg.sender][terms.device];
        if (before != 0 && block.timestamp < _offers[before].terms.until) revert DeviceOffered(before);
        id = ++lastOffer;
        Offer storage made = _offers[id];
        (made.terms, made.member) = (terms, msg.sender);
        offered[msg.sender][terms.device] = id;
        emit OptedIn(id, msg.sender, terms.aggregator, terms);
        _lock(msg.sender, terms.bond);
    }

    /// @inheritdoc IFlexibility
    function endOffer(uint256 id) external {
        Offer storage ended = _offer(id);
        if (ended.ended) revert OfferOver(id);
        (address member, bytes16 device) = (ended.member, ended.terms.device);
        if (msg.sender != member && block.timestamp < ended.terms.until) revert NotOwner(id, msg.sender);
        ended.ended = true;
        if (offered[member][device] == id) delete offered[member][device];
        emit OfferEnded(id);
        if (ended.open == 0) _freeBond(id, ended);
    }

    function _freeBond(uint256 id, Offer storage ended) private {
        uint128 bond = ended.terms.bond;
        ended.terms.bond = 0;
        emit BondFreed(id, bond);
        _unlock(ended.member, bond, bond);
    }

    // ------------------------------------------------------------------ calls

    /// @inheritdoc IFlexibility
    function call(uint256 offer_, uint32 day, uint8 first, bytes calldata energies, bytes calldata baselines)
        external
        returns (uint256 id)
    {
        Offer storage of_ = _offer(offer_);
        uint256 count = energies.length / ENERGY;
        if (
            count == 0 || energies.length % ENERGY != 0 || baselines.length != energies.length
                || first + count > _steps
        ) revert InvalidCall(_steps, energies.length, baselines.length);
        uint8 node = _requireCallable(offer_, of_, day, first, count);
        _requireBaselines(day, node, first, baselines);
        uint256 reserve = _reserve(offer_, of_, day, first, energies);
        id = ++lastCall;
        ++of_.open;
        _lock(msg.sender, reserve);
        _calls[id] = Call(uint64(offer_), day, node, first, uint8(count), false, uint128(reserve));
        _energies[id].write(0, energies);
        _baselines[id].write(0, baselines);
        emit Called(id, offer_, day, node, first, energies, baselines, reserve);
    }

    /// @dev Requires that the caller may call for these steps now, and that nobody has. Notes that it does.
    /// @return node of the member
    function _requireCallable(uint256 id, Offer storage of_, uint32 day, uint8 first, uint256 count)
        private
        returns (uint8 node)
    {
        Terms storage terms = of_.terms;
        if (msg.sender != terms.aggregator) revert NotAggregator(id, msg.sender);
        if (of_.ended) revert OfferOver(id);
        node = ledger.partyOf(day, of_.member);
        // The supplier has no meter.
        if (node == SUPPLIER) revert IDaySettlement.NotMember(day, of_.member);
        uint256 gate = ledger.gateOf(day, first);
        if (block.timestamp + terms.notice >= gate) revert CallTooLate(gate > terms.notice ? gate - terms.notice : 0);
        if (ledger.startOf(day, first) < terms.from || ledger.startOf(day, first + count) > terms.until) {
            revert OutsideSpan(terms.from, terms.until);
        }
        uint256 steps = (1 << count) - 1 << first;
        uint256 before = called[day][node];
        if (before & steps != 0) revert CalledAlready(day, node, before & steps);
        called[day][node] = before | steps;
    }

    /// @dev Requires that these are the baselines that stand.
    function _requireBaselines(uint32 day, uint8 node, uint8 first, bytes calldata baselines) private view {
        // Who has told nothing, or nothing since its position changed, has no baseline: else somebody else could bring what
        // it traded, and call before it has nominated accordingly.
        if (ledger.nomination(day, node).hash == 0) revert NotNominated(day, node);
        for (uint256 at = 0; at < baselines.length; at += ENERGY) {
            uint8 step = uint8(first + at / ENERGY);
            (int256 baseline, int256 given) = (baselineOf(day, node, step), _at(baselines, at));
            if (baseline != given) revert OtherBaseline(step, baseline, given);
        }
    }

    /// @dev Requires that energies are within what was offered, and notes them. Returns the most that they can cost.
    function _reserve(uint256 id, Offer storage of_, uint32 day, uint8 first, bytes calldata energies)
        private
        returns (uint256)
    {
        Terms memory terms = of_.terms;
        uint256 seconds_ = ledger.terms(day).stepSeconds;
        (uint256 sum, uint256 fees) = (0, 0);
        for (uint256 at = 0; at < energies.length; at += ENERGY) {
            int256 energy = _at(energies, at);
            uint256 most = uint256(energy < 0 ? terms.down : terms.up) * seconds_ / HOUR;
            uint256 size = SignedMath.abs(energy);
            if (size > most) revert BeyondPower(uint8(first + at / ENERGY), most, size);
            (sum, fees) = (sum + size, fees + terms.fee);
        }
        uint256 inDay = energyOf[id][day] + sum;
        if (inDay > terms.energy) revert BeyondEnergy(terms.energy, inDay);
        energyOf[id][day] = inDay;
        return uint256(Money.dueOf(int256(sum * terms.price), _currency)) + fees;
    }

    function _at(bytes calldata energies, uint256 at) private pure returns (int256) {
        return int32(uint32(bytes4(energies[at:at + ENERGY])));
    }

    // ------------------------------------------------------------------ settlement

    /// @inheritdoc IFlexibility
    function settle(uint256 id) external {
        Call memory settled = _call(id);
        if (settled.settled) revert CallSettledAlready(id);
        uint256 end = uint256(settled.first) + settled.count;
        uint256 next = ledger.standing(settled.day).next;
        if (next < end) revert StepsAwaited(settled.day, next);
        _calls[id].settled = true;
        Offer storage of_ = _offers[settled.offer];
        Terms memory terms = of_.terms;
        Sums memory sums = _sums(id, settled, terms);
        int256 payment = Money.dueOf(sums.worth, _currency) + int256(sums.kept * terms.fee);
        if (payment < -int256(uint256(terms.bond))) payment = -int256(uint256(terms.bond));
        emit CallSettled(id, payment, sums.delivered, sums.otherwise, sums.kept);
        _pay(of_, terms.aggregator, settled.reserve, payment);
        if (--of_.open == 0 && of_.ended) _freeBond(settled.offer, of_);
    }

    function _sums(uint256 id, Call memory settled, Terms memory terms) private view returns (Sums memory sums) {
        for (uint256 k = 0; k < settled.count; ++k) {
            // The ledger is known, and calls nobody.
            // slither-disable-next-line calls-loop
            (bool isRead, int256 read) = ledger.reading(settled.day, uint8(settled.first + k), settled.node);
            if (!isRead) continue;
            int256 energy = _energies[id].at32(k);
            int256 moved = read - _baselines[id].at32(k);
            sums.delivered += SignedMath.abs(
                energy > 0
                    ? SignedMath.max(SignedMath.min(moved, energy), 0)
                    : SignedMath.min(SignedMath.max(moved, energy), 0)
            );
            uint256 otherwise = SignedMath.abs(moved - energy);
            if (otherwise <= terms.tolerance) ++sums.kept;
            else sums.otherwise += otherwise - terms.tolerance;
        }
        sums.worth = int256(sums.delivered * terms.price) - int256(sums.otherwise * terms.fine);
    }

    /// @dev Ends a reserve, and pays of it; below zero, of the member's bond.
    function _pay(Offer storage of_, address aggregator, uint256 reserve, int256 payment) private {
        if (payment >= 0) {
            _unlock(aggregator, reserve, reserve - uint256(payment));
            _credit(of_.member, uint256(payment));
            return;
        }
        uint256 fine = uint256(-payment);
        of_.terms.bond -= uint128(fine);
        _unlock(of_.member, fine, 0);
        _unlock(aggregator, reserve, reserve + fine);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IFlexibility
    function offer(uint256 id) external view returns (Offer memory) {
        return _offers[id];
    }

    /// @inheritdoc IFlexibility
    function callOf(uint256 id) external view returns (Call memory) {
        return _calls[id];
    }

    /// @inheritdoc IFlexibility
    function asked(uint256 id, uint8 step) external view returns (int256 energy, int256 baseline) {
        Call storage of_ = _call(id);
        if (step < of_.first || step >= uint256(of_.first) + of_.count) return (0, 0);
        return (_energies[id].at32(step - of_.first), _baselines[id].at32(step - of_.first));
    }

    /// @inheritdoc IFlexibility
    function baselineOf(uint32 day, uint8 node, uint8 step) public view returns (int256) {
        // The ledger is known, and calls nobody.
        // slither-disable-next-line calls-loop
        return ledger.position(day, node, step) - ledger.nominated(day, node, step);
    }

    function _offer(uint256 id) private view returns (Offer storage of_) {
        of_ = _offers[id];
        if (of_.member == address(0)) revert NoSuchOffer(id);
    }

    function _call(uint256 id) private view returns (Call storage of_) {
        of_ = _calls[id];
        if (of_.count == 0) revert NoSuchCall(id);
    }
}
