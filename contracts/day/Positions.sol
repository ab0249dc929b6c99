// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IDayProducts} from "../interfaces/IDayProducts.sol";
import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {IVirtualAggregator} from "../interfaces/IVirtualAggregator.sol";
import {Nodes} from "../libraries/Nodes.sol";
import {Series} from "../libraries/Series.sol";
import {Trades} from "../libraries/Trades.sol";
import {DayProducts} from "./DayProducts.sol";
import {Days} from "./Days.sol";

/// @title Who takes part in a day, and what positions they have
/// @notice See IDaySettlement.
abstract contract Positions is IDaySettlement, Days {
    using Series for mapping(uint256 word => uint256);

    /// @inheritdoc IDaySettlement
    IDayProducts public immutable products;

    constructor() {
        // Made here, so that nobody has to be trusted to name it.
        products = new DayProducts(this, _currency);
    }

    // ------------------------------------------------------------------ joining

    /// @inheritdoc IDaySettlement
    function join(uint32 day, bytes32 terms_, uint128 lock) external nonReentrant {
        Day storage joined = _opening(day, 0);
        uint8 number = _supplierOf(day, joined, msg.sender);
        Supplier storage supplier_ = joined.suppliers[number];
        if (supplier_.terms != terms_) revert OtherTerms(day, supplier_.terms);
        if (lock < joined.terms.leastLock) revert LockTooSmall(joined.terms.leastLock, lock);
        uint8 node = _aggregator.nodeOf(msg.sender);
        // Neither a place nor an account is in a day twice, whoever is enrolled meanwhile.
        if (joined.standing.members & Nodes.bit(node) != 0 || joined.nodes[msg.sender] != 0) {
            revert JoinedAlready(day, node);
        }
        joined.standing.members |= Nodes.bit(node);
        supplier_.customers |= Nodes.bit(node);
        joined.members[node] = Member(msg.sender, number, supplier_.tradeFee);
        joined.nodes[msg.sender] = uint256(node) + 1;
        _lockFor(joined, node, msg.sender, lock);
        emit Joined(day, node, msg.sender, lock);
    }

    /// @dev The number of an account's supplier in a day.
    function _supplierOf(uint32 day, Day storage day_, address account) private view returns (uint8 number) {
        address supplies_ = _settlement.supplierIn(type(uint32).max, account);
        if (supplies_ == _supplier) return 0;
        number = uint8(day_.numbers[supplies_]);
        if (number == 0) revert NotSupplied(day, supplies_);
    }

    // ------------------------------------------------------------------ positions and nominations

    /// @inheritdoc IDaySettlement
    function bring(uint32 day, uint32 round, uint8 node, ITradeSettlement.Position[] calldata pairs) external {
        Day storage day_ = _day(day);
        uint256 first = _firstOf(day, round, node);
        uint256 open = _firstOpen(day_);
        if (first < open) first = open;
        int256[] memory energies = new int256[](_steps);
        uint256 counted = 0;
        for (uint256 i = 0; i < pairs.length; ++i) {
            uint8 partner = pairs[i].partner;
            _requireNew(round, node, partner, pairs[i].trades);
            if (!_bringOther(day, round, node, partner, first, pairs[i].trades)) continue;
            Trades.addTo(energies, pairs[i].trades, node, partner);
            ++counted;
        }
        _coverBy(day_, node, _coverOfAll(day_, node, first, energies));
        day_.positions[node].addAll64(first, energies);
        // Bringing nothing changes nothing, as often as somebody does it.
        if (counted != 0) _outdate(day_, node);
        emit Brought(day, round, node, counted);
    }

    /// @dev Counts a pair for the other one of it: what one has sold another has bought. A partner that is no member, or
    ///      cannot cover it, leaves the pair as it is, and the others count.
    /// @return whether it counts
    function _bringOther(
        uint32 day, uint32 round, uint8 node, uint8 partner, uint256 first, bytes calldata trades
    ) private returns (bool) {
        Day storage day_ = _days[day];
        int256[] memory energies = new int256[](_steps);
        Trades.addTo(energies, trades, partner, node);
        int256 more = _coverOfAll(day_, partner, first, energies);
        if (!_isMember(day_, round, partner) || more > int256(_spare(day_, partner))) {
            emit NotCovered(day, round, partner, node);
            return false;
        }
        _coverBy(day_, partner, more);
        day_.positions[partner].addAll64(first, energies);
        _outdate(day_, partner);
        _brought[_brings(round, node)] |= Nodes.bit(partner);
        _brought[_brings(round, partner)] |= Nodes.bit(node);
        return true;
    }

    /// @dev Requires that a pair was recorded, and was not brought before.
    function _requireNew(uint32 round, uint8 node, uint8 partner, bytes calldata trades) private view {
        // The settlement is known, and calls nobody.
        // slither-disable-next-line calls-loop
        bytes32 recorded = _settlement.recorded(round, node, partner);
        if (recorded == 0 || recorded != keccak256(trades)) revert NotRecorded(round, node, partner);
        if (_brought[_brings(round, node)] & Nodes.bit(partner) != 0) revert BroughtAlready(round, node, partner);
    }

    /// @dev Where is kept which pairs of a node were brought.
    function _brings(uint32 round, uint8 node) private pure returns (uint256) {
        return uint256(round) << 8 | node;
    }

    /// @dev Whether a node of a round is a member of a day, by the same account. A tariff that its own supplier publishes for
    ///      the round is between the two: else it could take from others what they bought of its customers, and paid.
    function _isMember(Day storage day_, uint32 round, uint8 node) private view returns (bool) {
        address account = day_.members[node].account;
        // The aggregator is known, and calls nobody.
        // slither-disable-next-line calls-loop
        return account != address(0) && _aggregator.accountIn(round, node) == account;
    }

    /// @dev The first step that a round of a day is about, in which a member was as the same node.
    function _firstOf(uint32 day, uint32 round, uint8 node) private view returns (uint256 first) {
        uint32 label = _aggregator.outcome(round).day;
        bool ofDay = _aggregator.agreedIn(label) == round && _settlement.tariffHash(round) == 0;
        if (!ofDay || !_isMember(_days[day], round, node)) revert RoundOfOther(round, day);
        if (label == day) return 0;
        if (label & LABEL == 0 || (label ^ LABEL) >> 8 != _days[day].standing.index) revert RoundOfOther(round, day);
        return label & 0xff;
    }

    /// @dev The first step whose gate is open.
    function _firstOpen(Day storage day_) private view returns (uint256 step) {
        uint256 first = uint256(day_.terms.start) - day_.terms.gateSeconds; // gate
        return block.timestamp < first ? 0 : (block.timestamp - first) / day_.terms.stepSeconds + 1;
    }

    /// @inheritdoc IDaySettlement
    function nominate(uint32 day, uint8 first, bytes calldata energies) external {
        Day storage day_ = _opening(day, first);
        uint8 node = partyOf(day, msg.sender);
        if (node == SUPPLIER) revert NotMember(day, msg.sender);
        uint256 expected = ENERGY * (_steps - first);
        if (energies.length != expected) revert LengthMismatch(expected, energies.length);
        day_.nominated[node].write(first, energies);
        bytes32 hash = keccak256(abi.encodePacked(day, node, first, energies));
        day_.nominations[node] = Nomination(bytes27(hash), uint40(block.timestamp));
        emit Nominated(day, node, first, hash, energies);
    }

    // ------------------------------------------------------------------ products only

    /// @dev Who may move positions and money for others.
    modifier onlyProducts() {
        if (msg.sender != address(products)) revert NotProducts(msg.sender);
        _;
    }

    /// @inheritdoc IDaySettlement
    function lockFor(address account, uint256 amount) external onlyProducts {
        _lock(account, amount);
    }

    /// @inheritdoc IDaySettlement
    function unlockFor(address account, uint256 amount) external onlyProducts {
        _unlock(account, amount, amount);
    }

    /// @inheritdoc IDaySettlement
    function pay(address from, address to, uint256 amount) external onlyProducts {
        _take(from, amount);
        _credit(to, amount);
    }

    /// @inheritdoc IDaySettlement
    function move(uint32 day, uint8 seller, uint8 buyer, uint8 step, uint256 energy) external onlyProducts {
        _moveOne(_days[day], seller, step, int256(energy));
        _moveOne(_days[day], buyer, step, -int256(energy));
    }

    function _moveOne(Day storage day_, uint8 party, uint8 step, int256 energy) private {
        // The supplier's own position is nobody's concern.
        if (party == SUPPLIER) return;
        int256 before = day_.positions[party].at64(step);
        _coverBy(day_, party, int256(_cover(day_, party, step, before + energy)) - int256(_cover(day_, party, step, before)));
        day_.positions[party].add64(step, energy);
        _outdate(day_, party);
    }

    /// @dev A nomination that was made before its member's position changed is of another one.
    function _outdate(Day storage day_, uint8 node) private {
        Nomination storage made = day_.nominations[node];
        if (made.hash != 0) made.hash = 0;
    }

    /// @dev What covers a member's positions with some energies more, beyond what covers them without.
    function _coverOfAll(Day storage day_, uint8 node, uint256 first, int256[] memory energies)
        private
        view
        returns (int256 more)
    {
        for (uint256 step = first; step < energies.length; ++step) {
            if (energies[step] == 0) continue;
            int256 before = day_.positions[node].at64(step);
            more += int256(_cover(day_, node, step, before + energies[step])) - int256(_cover(day_, node, step, before));
        }
    }

    /// @dev What a member can cover more with: its balance of the day beyond the least lock, and its free deposit.
    function _spare(Day storage day_, uint8 node) private view returns (uint256) {
        return _beyondLeast(day_, node) + _accounts[day_.members[node].account].free();
    }

    function _beyondLeast(Day storage day_, uint8 node) private view returns (uint256) {
        return Math.saturatingSub(day_.balances[node], day_.terms.leastLock);
    }

    /// @dev Takes what covers more from a member's balance beyond the least lock, and then from its free deposit; what
    ///      is covered no longer is in its balance.
    function _coverBy(Day storage day_, uint8 node, int256 more) private {
        if (more <= 0) {
            if (more != 0) day_.balances[node] += uint256(-more);
            return;
        }
        uint256 own = Math.min(uint256(more), _beyondLeast(day_, node));
        if (own != 0) day_.balances[node] -= own;
        if (own != uint256(more)) _lock(day_.members[node].account, uint256(more) - own);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IDaySettlement
    function aggregator() external view returns (IVirtualAggregator) {
        return _aggregator;
    }

    /// @inheritdoc IDaySettlement
    function settlement() external view returns (ITradeSettlement) {
        return _settlement;
    }

    /// @inheritdoc IDaySettlement
    function supplier() external view returns (address) {
        return _supplier;
    }

    /// @inheritdoc IDaySettlement
    function steps() external view returns (uint16) {
        return _steps;
    }

    /// @inheritdoc IDaySettlement
    function standing(uint32 day) external view returns (Standing memory) {
        return _days[day].standing;
    }

    /// @inheritdoc IDaySettlement
    function terms(uint32 day) external view returns (Terms memory) {
        return _days[day].terms;
    }

    /// @inheritdoc IDaySettlement
    function termsHash(Terms calldata terms_, bytes calldata tariff, bytes calldata shares)
        public
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(terms_, keccak256(tariff), keccak256(shares)));
    }

    /// @inheritdoc IDaySettlement
    function labelOf(uint32 day, uint8 step) external view returns (uint32) {
        return LABEL | _day(day).standing.index << 8 | step;
    }

    /// @inheritdoc IDaySettlement
    function gateOf(uint32 day, uint8 step) external view returns (uint256) {
        return _gate(_day(day), step);
    }

    /// @inheritdoc IDaySettlement
    function startOf(uint32 day, uint256 step) external view returns (uint256) {
        if (step > _steps) revert NoSuchStep(uint8(step));
        return _start(_day(day), step);
    }

    /// @inheritdoc IDaySettlement
    function memberOf(uint32 day, uint8 node) external view returns (address) {
        return node == SUPPLIER ? _days[day].suppliers[0].account : _days[day].members[node].account;
    }

    /// @inheritdoc IDaySettlement
    function supplierOf(uint32 day, uint8 node) external view returns (address) {
        return _days[day].suppliers[_days[day].members[node].supplier].account;
    }

    /// @inheritdoc IDaySettlement
    function termsFor(uint32 day, address account) external view returns (bytes32) {
        return _day(day).suppliers[_supplierOf(day, _day(day), account)].terms;
    }

    /// @inheritdoc IDaySettlement
    function pricesOf(uint32 day, uint8 node, uint8 step)
        external
        view
        returns (int256 importPrice, int256 feedInPrice, int256 tradeFee)
    {
        Day storage day_ = _days[day];
        Member storage member = day_.members[node];
        (importPrice, feedInPrice) = _prices(day_, member.supplier, step);
        if (member.tradeFee) tradeFee = _tradeFee(day_, member.supplier, step);
    }

    /// @inheritdoc IDaySettlement
    function coverOf(uint32 day, uint8 node, uint8 step, int256 energy) external view returns (uint256) {
        return _cover(_days[day], node, step, energy);
    }

    /// @inheritdoc IDaySettlement
    function position(uint32 day, uint8 node, uint8 step) external view returns (int256) {
        return _days[day].positions[node].at64(step);
    }

    /// @inheritdoc IDaySettlement
    function nominated(uint32 day, uint8 node, uint8 step) external view returns (int256) {
        return _days[day].nominated[node].at32(step);
    }

    /// @inheritdoc IDaySettlement
    function nomination(uint32 day, uint8 node) external view returns (Nomination memory) {
        return _days[day].nominations[node];
    }

    /// @inheritdoc IDaySettlement
    function reading(uint32 day, uint8 step, uint8 node) external view returns (bool isRead, int256 energy) {
        return (_days[day].isRead[step] & Nodes.bit(node) != 0, _days[day].readings[step].at32(node));
    }

    /// @inheritdoc IDaySettlement
    function balance(uint32 day, uint8 node) external view returns (uint256) {
        return _days[day].balances[node];
    }

    /// @inheritdoc IDaySettlement
    function brought(uint32 round, uint8 node) external view returns (uint128) {
        return _brought[_brings(round, node)];
    }

    /// @inheritdoc IDaySettlement
    function partyOf(uint32 day, address account) public view returns (uint8) {
        uint256 known = _days[day].nodes[account];
        if (known != 0) return uint8(known - 1);
        if (account != _supplier) revert NotMember(day, account);
        return SUPPLIER;
    }
}
