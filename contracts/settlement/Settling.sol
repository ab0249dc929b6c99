// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IAgreeing, IAgreement} from "../interfaces/IAgreement.sol";
import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {Money} from "../libraries/Money.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Tariffs} from "../libraries/Tariffs.sol";
import {Trades} from "../libraries/Trades.sol";
import {Round} from "../rounds/Round.sol";
import {Deposits} from "./Deposits.sol";
import {Lock} from "./Lock.sol";
import {Reckoning} from "./Reckoning.sol";
import {Supply} from "./Supply.sol";

/// @title What both halves of a settlement know: its storage, pairs, and what is delivered
/// @notice See ITradeSettlement.
///
/// @dev Storage.
///
/// | variable        | slots         | written                                                                         |
/// |-----------------|---------------|---------------------------------------------------------------------------------|
/// | (Supply)        | 1, mappings   | totalDeposits; 1 an account: free, or arrears, and locked; of who owes others   |
/// |                 |               | than the community's supplier 1, and 2 a creditor; 2 or more an account that    |
/// |                 |               | has another supplier, or is one                                                 |
/// | _tariffs        | mapping       | 1 a round and supplier, by that                                                 |
/// | _settled        | mapping       | 1 a day, when its first trade is recorded or its first reading delivered; by    |
/// |                 |               | deliver and correct                                                             |
/// | _limits         | mapping       | 1 or more an account that sets itself a limit                                   |
/// | _consents       | mapping       | 1 a party to a correction, until both have said the same                        |
/// | _reckonings     | mapping       | 1 a round and node, when a trade is recorded, by deliver, and by correct        |
/// | _sides          | mapping       | 2 a round, node and partner: the hash of the statement, which stays when the    |
/// |                 |               | pair is recorded; and the lock of the side that has to pay                      |
///
/// A pair is recorded where both sides hold the same statement: both have made it, or `vouch` has put it there. Who speaks
/// for a node is whoever declared as that node in the round, not who is enrolled now; so the manager cannot take a past
/// round's trades from anybody.
abstract contract Settling is Supply {
    using Checkpoints for Checkpoints.Trace224;

    /// @dev What one side of a pair states.
    struct Side {
        bytes32 statement; // keccak256 of the trades; zero where it states nothing, and then nothing is locked
        Lock lock; //         nothing on the side that is to receive
    }

    /// @dev What a day has come to in a product. One storage slot.
    struct Settled {
        uint32 round; // that settles it; 0: none does yet
        int224 supplierPayment; // token units
    }

    /// @dev Who states about whom, and how the round ended.
    struct Stage {
        IOutcomes.Outcome outcome;
        uint32 round;
        uint8 node;
        uint8 partner;
        uint8 lower;
        uint8 higher;
        Reckoning own; //    of the node, stored at the end of the call
        Reckoning theirs; // of the partner
        bool first; //  whether nothing of the day is settled yet
    }

    /// @dev Whose reading is settled, and with whom.
    struct Parties {
        uint32 round;
        uint32 day;
        uint8 node;
        address account;
        address supplier;
    }

    uint256 private constant READING = 4; // bytes a step
    uint8 private constant ALL = 255; // the partner of who trades with all at once

    IAgreement internal immutable _agreement;
    uint256 internal immutable _steps;
    bool private immutable _isMarket;

    // Written by the registrar.
    // slither-disable-next-line uninitialized-state
    mapping(uint32 round => mapping(address supplier => bytes32 hash)) internal _tariffs;
    mapping(uint256 label => Settled) internal _settled;
    mapping(address account => Checkpoints.Trace224 mostByRound) internal _limits;
    mapping(uint256 roundAndNode => mapping(address party => bytes32 reading)) internal _consents;
    mapping(uint256 roundAndNode => Reckoning) internal _reckonings;
    // Written through storage pointers.
    // slither-disable-next-line uninitialized-state
    mapping(uint256 roundNodeAndPartner => Side) private _sides;

    constructor(IAgreeing aggregator_, IERC20Metadata token_, address supplier_, address metering_)
        Deposits(token_)
        Supply(IOutcomes(address(aggregator_)), supplier_, metering_)
    {
        _agreement = aggregator_.agreement();
        _steps = _agreement.steps();
        _isMarket = _agreement.isMarket();
    }

    // ------------------------------------------------------------------ pairs

    /// @dev A round whose trades can be recorded.
    function _stage(uint32 round) internal view returns (Stage memory stage) {
        stage.outcome = aggregator.outcome(round);
        if (stage.outcome.phase != IOutcomes.Phase.Converged) revert ITradeSettlement.NotConverged(round);
        stage.round = round;
        stage.first = _requireRoundOfDay(round, stage.outcome);
    }

    /// @dev Whose pairs are settled.
    function _play(Stage memory stage, uint8 node) internal view {
        stage.node = node;
        stage.own = _reckonings[_key(stage.round, node)];
    }

    /// @dev Turns to a partner of the stage's node, which was present as it was.
    function _meet(Stage memory stage, uint8 partner) internal pure {
        uint8 node = stage.node;
        uint128 both = Nodes.bit(node) | Nodes.bit(partner);
        if (partner == node || partner >= MAX_NODES || stage.outcome.present & both != both) {
            revert ITradeSettlement.InvalidPartner(node, partner);
        }
        stage.partner = partner;
        (stage.lower, stage.higher) = node < partner ? (node, partner) : (partner, node);
    }

    /// @dev What a partner, or who delivers for it, has done before the call takes nothing from its other statements.
    function _skip(Stage memory stage, bytes memory reason) internal returns (bool) {
        emit ITradeSettlement.Skipped(stage.round, stage.node, stage.partner, reason);
        return false;
    }

    function _skipRecorded(Stage memory stage) internal returns (bool) {
        return
            _skip(stage, abi.encodeWithSelector(ITradeSettlement.AlreadyRecorded.selector, stage.round, stage.lower, stage.higher));
    }

    /// @dev Counts a recorded trade, whose day is settled by this round from now on.
    function _countBoth(Stage memory stage, int256 payment_) internal {
        if (stage.first) _settled[_label(stage.round, stage.outcome.day)].round = stage.round;
        stage.first = false;
        int256 received = stage.node == stage.lower ? payment_ : -payment_;
        stage.own = stage.own.traded(received);
        _reckonings[_key(stage.round, stage.partner)] = stage.theirs.traded(-received);
    }

    /// @dev Ends the lock of an account's side.
    function _unlock(Side storage side, address account) internal {
        uint256 amount = _takeLock(side, account);
        if (amount != 0) _credit(account, amount);
    }

    /// @dev Takes what a side has locked.
    function _takeLock(Side storage side, address account) internal returns (uint256 amount) {
        amount = side.lock.amount();
        if (amount == 0) return 0;
        side.lock = Lock.wrap(0);
        _changeLocked(account, -int256(amount));
    }

    // ------------------------------------------------------------------ delivery

    function _requireTariff(uint32 round, address supplier_, bytes calldata tariff) internal view {
        if (keccak256(tariff) != _tariffs[round][supplier_]) revert ITradeSettlement.WrongTariff(round);
    }

    function _parties(uint32 round, uint32 day, uint8 node) internal view returns (Parties memory) {
        address account = aggregator.accountIn(round, node);
        return Parties(round, day, node, account, supplierIn(round, account));
    }

    /// @dev What the supplier pays for a reading beyond the recorded trades, less fees, token units: a sum below 2^81, times
    ///      10^18 below 2^141. A household that pays does so up to the limit that it had set itself before it said
    ///      anything in the round, and what its meter does not bear out.
    /// @param isLimited whether its limit counts
    function _deviation(
        Parties memory parties,
        bytes calldata energies,
        bytes calldata tariff,
        ITradeSettlement.Position[] calldata positions_,
        bool isLimited
    ) internal returns (int256 payment_) {
        if (energies.length != READING * _steps) revert ITradeSettlement.LengthMismatch(READING * _steps, energies.length);
        _requireTariff(parties.round, parties.supplier, tariff);
        int256[] memory traded = _traded(parties.round, parties.node, positions_);
        payment_ = -Money.dueOf(-Tariffs.worthBeyond(tariff, energies, traded), _currency);
        if (payment_ >= 0 || !isLimited) return payment_;
        uint256 most = _debitLimit(parties.round, parties.account);
        if (most == 0 || SignedMath.abs(payment_) <= most) return payment_;
        int256 missing = Money.dueOf(Tariffs.worthOfMissing(tariff, energies, traded), _currency);
        if (-payment_ <= int256(most) + missing) return payment_;
        emit ITradeSettlement.DebitCut(parties.round, parties.node, payment_, most + uint256(missing));
        return -int256(most) - missing;
    }

    /// @dev What a node has traded by step, Wh, energy sold positive: in recorded pairs, or with all at once.
    function _traded(uint32 round, uint8 node, ITradeSettlement.Position[] calldata positions_)
        internal
        view
        returns (int256[] memory energies)
    {
        energies = new int256[](_steps);
        if (_isMarket) {
            if (positions_.length != 1 || positions_[0].partner != ALL) revert ITradeSettlement.WrongPositions(round, node);
            _agreement.requireTraded(round, node, positions_[0].trades);
            Trades.addTo(energies, positions_[0].trades, node, ALL);
            return energies;
        }
        if (positions_.length != _positions(round, node)) revert ITradeSettlement.WrongPositions(round, node);
        uint256 next = 0; // the lowest partner that may follow
        for (uint256 i = 0; i < positions_.length; ++i) {
            (uint8 partner, bytes calldata trades) = (positions_[i].partner, positions_[i].trades);
            if (partner < next || keccak256(trades) != _recorded(round, node, partner)) {
                revert ITradeSettlement.WrongPositions(round, node);
            }
            next = uint256(partner) + 1;
            Trades.addTo(energies, trades, node, partner);
        }
    }

    /// @dev Counts what the supplier pays a node for what was delivered.
    function _book(Parties memory parties, int256 payment_) internal {
        uint256 key = _key(parties.round, parties.node);
        _reckonings[key] = _reckonings[key].delivered(payment_);
        _settled[_label(parties.round, parties.day)].supplierPayment -= int224(payment_);
    }

    /// @dev Requires that the day of a finished round is settled by no other: by the one in which it was agreed or, where
    ///      it was in none, by the first that is settled. Whether it is the first.
    function _requireRoundOfDay(uint32 round, IOutcomes.Outcome memory outcome) internal view returns (bool) {
        uint32 settled = _settled[_label(round, outcome.day)].round;
        if (settled == round) return false;
        uint32 agreed = aggregator.agreedInOf(Round.product(round), outcome.day);
        bool counts = agreed == (outcome.phase == IOutcomes.Phase.Converged ? round : 0);
        if (settled != 0 || !counts) revert ITradeSettlement.OtherRoundOfDay(outcome.day, settled == 0 ? agreed : settled);
        return true;
    }

    // ------------------------------------------------------------------ what is kept

    /// @dev keccak256 of the recorded trades of a pair; zero where there are none.
    function _recorded(uint32 round, uint8 one, uint8 other) internal view returns (bytes32) {
        bytes32 statement = _side(round, one, other).statement;
        return statement == _side(round, other, one).statement ? statement : bytes32(0);
    }

    /// @dev Number of recorded pairs of a node.
    function _positions(uint32 round, uint8 node) internal view returns (uint256) {
        return _reckonings[_key(round, node)].positions();
    }

    function _isDelivered(uint32 round, uint8 node) internal view returns (bool) {
        return _reckonings[_key(round, node)].isDelivered();
    }

    function _debitLimit(uint32 round, address account) internal view returns (uint256) {
        return _limits[account].upperLookupRecent(round);
    }

    function _payment(uint8 partner, bytes calldata trades) internal view returns (int256) {
        int256 sum = Trades.total(trades, _steps, partner);
        return Money.paymentOf(sum, _currency, sum > 0);
    }

    function _label(uint32 round, uint32 day) internal pure returns (uint256) {
        return Round.label(Round.product(round), day);
    }

    function _key(uint32 round, uint8 node) internal pure returns (uint256) {
        return uint256(round) << 8 | node;
    }

    function _side(uint32 round, uint8 node, uint8 partner) internal view returns (Side storage) {
        return _sides[uint256(round) << 16 | uint256(node) << 8 | partner];
    }
}
