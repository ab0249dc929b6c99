// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IAgreeing, IAgreement} from "../interfaces/IAgreement.sol";
import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {Money} from "../libraries/Money.sol";
import {MAX_NODES, Nodes} from "../libraries/Nodes.sol";
import {Tariffs} from "../libraries/Tariffs.sol";
import {Trades} from "../libraries/Trades.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Round} from "../rounds/Round.sol";
import {Deposits} from "./Deposits.sol";
import {Lock, Locks} from "./Lock.sol";
import {Reckoning} from "./Reckoning.sol";
import {Supply} from "./Supply.sol";

/// @title Settlement of bilateral trades and of what is delivered
/// @notice See ITradeSettlement for what it does, its units and its invariants. Nobody owns it.
///
/// @dev Storage.
///
/// | variable        | slots         | written                                                                         |
/// |-----------------|---------------|---------------------------------------------------------------------------------|
/// | (Supply)        | 1, mappings   | totalDeposits; 1 an account: free, or arrears, and locked; 1 an account that    |
/// |                 |               | owes another than the community's supplier; 2 or more one that has another      |
/// | _tariffs        | mapping       | 1 a round and supplier, by that                                                 |
/// | _settled        | mapping       | 1 a day, when its first trade is recorded or its first reading delivered; by    |
/// |                 |               | deliver and correct                                                             |
/// | _limits         | mapping       | 1 or more an account that sets itself a limit                                   |
/// | _consents       | mapping       | 1 a party to a correction, until both have said the same                        |
/// | _reckonings     | mapping       | 1 a round and node, when a trade is recorded, by deliver, and by correct        |
/// | _sides          | mapping       | 2 a round, node and partner: the hash of the statement, which stays when the    |
/// |                 |               | pair is recorded; and the lock of the side that has to pay                      |
///
/// A pair is recorded where both sides hold the same statement: both have made it, or `vouch` has put it there. Who speaks for a node is whoever declared as that node
/// in the round, not who is enrolled now; so the manager cannot take a past round's trades from anybody.
contract TradeSettlement is Supply, TypedData {
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

    bytes32 private constant READING_TYPEHASH = keccak256("Reading(uint32 round,uint8 node,bytes energies)");
    uint256 private constant READING = 4; // bytes a step
    uint8 private constant ALL = 255; // the partner of who trades with all at once

    /// @inheritdoc ITradeSettlement
    IAgreement public immutable agreement;
    /// @inheritdoc ITradeSettlement
    uint32 public immutable lockSeconds;
    uint256 private immutable _steps;
    bool private immutable _isMarket;

    mapping(uint32 round => mapping(address supplier => bytes32 hash)) private _tariffs;
    mapping(uint256 label => Settled) private _settled;
    mapping(address account => Checkpoints.Trace224 mostByRound) private _limits;
    mapping(uint256 roundAndNode => mapping(address party => bytes32 reading)) private _consents;
    mapping(uint256 roundAndNode => Reckoning) private _reckonings;
    // Written through storage pointers.
    // slither-disable-next-line uninitialized-state
    mapping(uint256 roundNodeAndPartner => Side) private _sides;

    constructor(IAgreeing aggregator_, IERC20Metadata token_, address supplier_, address metering_)
        Deposits(token_)
        Supply(IOutcomes(address(aggregator_)), supplier_, metering_)
        TypedData("gridpact settlement", "1")
    {
        agreement = aggregator_.agreement();
        lockSeconds = aggregator.phaseSeconds();
        _steps = agreement.steps();
        _isMarket = agreement.isMarket();
    }

    // ------------------------------------------------------------------ trades

    /// @inheritdoc ITradeSettlement
    function state(uint32 round, IAgreement.Statement[] calldata statements, IAgreement.Opening calldata own)
        external
        nonReentrant
    {
        if (statements.length > MAX_NODES) revert LengthMismatch(MAX_NODES, statements.length);
        Stage memory stage = _stage(round);
        _play(stage, aggregator.nodeIn(round, msg.sender));
        uint256 which = 0; // have to fit what was agreed
        for (uint256 i = 0; i < statements.length; ++i) {
            if (_stateOne(stage, statements[i].partner, statements[i].trades)) which |= 1 << i;
        }
        _reckonings[_key(round, stage.node)] = stage.own;
        if (which != 0) agreement.requireFit(round, stage.node, statements, which, own);
    }

    /// @dev A round whose trades can be recorded.
    function _stage(uint32 round) private view returns (Stage memory stage) {
        stage.outcome = aggregator.outcome(round);
        if (stage.outcome.phase != IOutcomes.Phase.Converged) revert NotConverged(round);
        stage.round = round;
        stage.first = _requireRoundOfDay(round, stage.outcome);
    }

    /// @dev Whose pairs are settled.
    function _play(Stage memory stage, uint8 node) private view {
        stage.node = node;
        stage.own = _reckonings[_key(stage.round, node)];
    }

    /// @dev Turns to a partner of the stage's node, which was present as it was.
    function _meet(Stage memory stage, uint8 partner) private pure {
        uint8 node = stage.node;
        uint128 both = Nodes.bit(node) | Nodes.bit(partner);
        if (partner == node || partner >= MAX_NODES || stage.outcome.present & both != both) {
            revert InvalidPartner(node, partner);
        }
        stage.partner = partner;
        (stage.lower, stage.higher) = node < partner ? (node, partner) : (partner, node);
    }

    /// @dev One statement: ends the lock of the last one, and then records the pair, or locks what it has to pay.
    /// @return whether it has to fit what was agreed: the lower node of a pair shows that
    function _stateOne(Stage memory stage, uint8 partner, bytes calldata trades) private returns (bool) {
        uint8 node = stage.node;
        _meet(stage, partner);
        Side storage side = _side(stage.round, node, partner);
        bytes32 other = _side(stage.round, partner, node).statement;
        if (other != 0 && other == side.statement) return _skipRecorded(stage);
        if (side.statement != 0) _unlock(side, msg.sender);
        if (trades.length == 0) {
            delete side.statement;
            emit Stated(stage.round, node, partner, 0, 0);
            return false;
        }

        if (stage.own.isDelivered()) revert AlreadyDelivered(stage.round, node);
        stage.theirs = _reckonings[_key(stage.round, partner)];
        if (stage.theirs.isDelivered()) {
            delete side.statement;
            return _skip(stage, abi.encodeWithSelector(AlreadyDelivered.selector, stage.round, partner));
        }
        int256 payment_ = _payment(partner, trades);
        // A positive payment is the higher node's to make.
        uint256 due = (payment_ > 0) == (node == stage.higher) ? SignedMath.abs(payment_) : 0;
        bytes32 statement = keccak256(trades);
        side.statement = statement;
        if (other == statement) {
            if (due != 0) _take(msg.sender, due);
            emit Stated(stage.round, node, partner, statement, 0);
            _record(stage, payment_, due);
            emit TradeRecorded(stage.round, stage.lower, stage.higher, payment_, trades);
        } else {
            _lockFor(side, due);
            emit Stated(stage.round, node, partner, statement, due);
            if (other != 0) emit StatementsDiffer(stage.round, stage.lower, stage.higher);
        }
        return node == stage.lower;
    }

    /// @dev What a partner, or who delivers for it, has done before the call takes nothing from its other statements.
    function _skip(Stage memory stage, bytes memory reason) private returns (bool) {
        emit Skipped(stage.round, stage.node, stage.partner, reason);
        return false;
    }

    function _skipRecorded(Stage memory stage) private returns (bool) {
        return
            _skip(stage, abi.encodeWithSelector(AlreadyRecorded.selector, stage.round, stage.lower, stage.higher));
    }

    /// @dev Pays for a trade that both sides have stated, and counts it: with what was due from the caller, which was
    ///      taken from its free deposit; or with what the partner has locked.
    function _record(Stage memory stage, int256 payment_, uint256 due) private {
        // The aggregator is known, and calls nobody.
        // slither-disable-next-line calls-loop
        address partner = aggregator.accountIn(stage.round, stage.partner);
        if (due != 0) {
            _credit(partner, due);
        } else if (payment_ != 0) {
            uint256 amount = _takeLock(_side(stage.round, stage.partner, stage.node), partner);
            _credit(msg.sender, amount);
        }
        _countBoth(stage, payment_);
    }

    /// @dev Counts a recorded trade, whose day is settled by this round from now on.
    function _countBoth(Stage memory stage, int256 payment_) private {
        if (stage.first) _settled[_label(stage.round, stage.outcome.day)].round = stage.round;
        stage.first = false;
        int256 received = stage.node == stage.lower ? payment_ : -payment_;
        stage.own = stage.own.traded(received);
        _reckonings[_key(stage.round, stage.partner)] = stage.theirs.traded(-received);
    }

    /// @inheritdoc ITradeSettlement
    function vouch(
        uint32 round,
        uint8 node,
        IAgreement.Statement[] calldata statements,
        IAgreement.Opening calldata own,
        Quote[] calldata quotes
    ) external nonReentrant {
        if (msg.sender != metering) revert NotMetering(msg.sender);
        if (statements.length > MAX_NODES) revert LengthMismatch(MAX_NODES, statements.length);
        if (quotes.length == 0) revert WrongTariff(round);
        for (uint256 i = 0; i < quotes.length; ++i) _requireTariff(round, quotes[i].supplier, quotes[i].tariff);
        Stage memory stage = _stage(round);
        _play(stage, node);
        uint256 which = 0;
        for (uint256 i = 0; i < statements.length; ++i) {
            if (_vouchOne(stage, statements[i], quotes)) which |= 1 << i;
        }
        _reckonings[_key(round, node)] = stage.own;
        if (which != 0) agreement.requireFit(round, node, statements, which, own);
    }

    /// @dev One pair, by its lower node: ends what both sides have locked, and then records it.
    /// @return whether it was recorded
    function _vouchOne(Stage memory stage, IAgreement.Statement calldata said, Quote[] calldata quotes)
        private
        returns (bool)
    {
        (uint8 node, uint8 partner) = (stage.node, said.partner);
        _meet(stage, partner);
        if (partner < node) revert InvalidPartner(node, partner);
        Side storage side = _side(stage.round, node, partner);
        Side storage other = _side(stage.round, partner, node);
        if (side.statement == other.statement) {
            if (side.statement != 0) return _skipRecorded(stage);
            return _skip(stage, abi.encodeWithSelector(NothingStated.selector, stage.round, node, partner));
        }
        bool first = stage.own.isDelivered();
        stage.theirs = _reckonings[_key(stage.round, partner)];
        if (first || stage.theirs.isDelivered()) {
            return _skip(
                stage, abi.encodeWithSelector(AlreadyDelivered.selector, stage.round, first ? node : partner)
            );
        }
        if (said.trades.length == 0) revert InvalidTrades(partner, 0);
        int256 payment_ = _payment(partner, said.trades);
        Trades.requireWithin(said.trades, quotes, partner);
        side.statement = other.statement = keccak256(said.trades);
        emit Vouched(stage.round, node, partner, _payVouched(stage, payment_));
        emit TradeRecorded(stage.round, node, partner, payment_, said.trades);
        return true;
    }

    /// @dev Ends what both sides have locked, pays, and counts the trade.
    /// @return owed what the payer owes its supplier for that
    function _payVouched(Stage memory stage, int256 payment_) private returns (uint256 owed) {
        // The aggregator is known, and calls nobody.
        // slither-disable-start calls-loop
        address lower = aggregator.accountIn(stage.round, stage.lower);
        address higher = aggregator.accountIn(stage.round, stage.higher);
        // slither-disable-end calls-loop
        _unlock(_side(stage.round, stage.lower, stage.higher), lower);
        _unlock(_side(stage.round, stage.higher, stage.lower), higher);
        (address payer, address receiver) = payment_ > 0 ? (higher, lower) : (lower, higher);
        owed = _clear(payer, receiver, supplierIn(stage.round, payer), SignedMath.abs(payment_));
        _countBoth(stage, payment_);
    }

    /// @dev Moves money from free deposit to free deposit. What the payer has not, its supplier lays out.
    /// @return owed what the payer owes that for it
    function _clear(address payer, address receiver, address lender, uint256 amount) private returns (uint256 owed) {
        owed = _charge(payer, lender, amount);
        _take(lender, amount);
        _credit(receiver, amount);
    }

    /// @inheritdoc ITradeSettlement
    function release(uint32 round, uint8 partner) external nonReentrant {
        uint8 node = aggregator.nodeIn(round, msg.sender);
        Side storage side = _side(round, node, partner);
        Lock lock = side.lock;
        uint256 amount = lock.amount();
        if (amount == 0) revert NothingLocked(round, node, partner);
        if (block.timestamp <= lock.deadline()) revert LockedUntil(lock.deadline());
        _unlock(side, msg.sender);
        delete side.statement;
        emit Released(round, node, partner, amount);
    }

    /// @dev Locks some of the caller's free deposit.
    function _lockFor(Side storage side, uint256 amount) private {
        if (amount == 0) return;
        _lock(msg.sender, amount);
        side.lock = Locks.make(amount, uint40(block.timestamp) + lockSeconds);
    }

    /// @dev Ends the lock of an account's side.
    function _unlock(Side storage side, address account) private {
        uint256 amount = _takeLock(side, account);
        if (amount != 0) _credit(account, amount);
    }

    /// @dev Takes what a side has locked.
    function _takeLock(Side storage side, address account) private returns (uint256 amount) {
        amount = side.lock.amount();
        if (amount == 0) return 0;
        side.lock = Lock.wrap(0);
        _changeLocked(account, -int256(amount));
    }

    // ------------------------------------------------------------------ delivery

    /// @inheritdoc ITradeSettlement
    function publishTariff(uint32 round, bytes calldata tariff) external {
        _requireSupplier();
        if (Round.product(round) != 0) revert OtherProduct(round);
        IOutcomes.Progress memory progress = aggregator.progressOf(0);
        bool open = round == progress.round && progress.phase == IOutcomes.Phase.Declaring;
        if (round <= progress.round && !(open && progress.present == 0)) revert TariffTooLate(round);
        if (_tariffs[round][msg.sender] != 0) revert TariffPublishedAlready(round);
        Tariffs.requireValid(tariff, _steps);
        _tariffs[round][msg.sender] = keccak256(tariff);
        emit TariffPublished(round, msg.sender, tariff);
    }

    function _requireTariff(uint32 round, address supplier_, bytes calldata tariff) private view {
        if (keccak256(tariff) != _tariffs[round][supplier_]) revert WrongTariff(round);
    }

    /// @inheritdoc ITradeSettlement
    function deliver(
        uint32 round,
        uint8 node,
        bytes calldata energies,
        bytes calldata tariff,
        Position[] calldata positions_,
        bytes32 r,
        bytes32 vs
    ) external nonReentrant {
        uint32 day = _requireReading(round, node, energies, r, vs);
        Parties memory parties = _parties(round, day, node);
        if (parties.account == address(0)) revert WrongReading(round, node);
        _deliver(parties, _deviation(parties, energies, tariff, positions_, true), energies);
    }

    function _parties(uint32 round, uint32 day, uint8 node) private view returns (Parties memory) {
        address account = aggregator.accountIn(round, node);
        return Parties(round, day, node, account, supplierIn(round, account));
    }

    function _deliver(Parties memory parties, int256 payment_, bytes calldata energies) private {
        uint256 owed = 0;
        if (payment_ < 0) {
            owed = _charge(parties.account, parties.supplier, SignedMath.abs(payment_));
        } else {
            _take(parties.supplier, uint256(payment_));
            _credit(parties.account, uint256(payment_));
        }
        _book(parties, payment_);
        emit Delivered(parties.round, parties.node, payment_, owed, energies);
    }

    /// @inheritdoc ITradeSettlement
    function correct(
        uint32 round, uint8 node, bytes calldata energies, bytes calldata tariff, Position[] calldata positions_
    ) external nonReentrant {
        if (!delivered(round, node)) revert NotDelivered(round, node);
        Parties memory parties = _parties(round, aggregator.outcome(round).day, node);
        if (msg.sender != parties.supplier && msg.sender != parties.account) {
            revert NotConcerned(round, node, msg.sender);
        }
        int256 payment_ = _deviation(parties, energies, tariff, positions_, false);
        if (_agreed(parties, keccak256(energies))) {
            emit Corrected(round, node, payment_, _correct(parties, payment_), energies);
        } else {
            emit CorrectionProposed(round, node, msg.sender, payment_, energies);
        }
    }

    /// @return owed what the household cannot pay yet
    function _correct(Parties memory parties, int256 payment_) private returns (uint256 owed) {
        int256 change = payment_ - _reckonings[_key(parties.round, parties.node)].delivery();
        _book(parties, change);
        if (change < 0) owed = _charge(parties.account, parties.supplier, SignedMath.abs(change));
        else _refund(parties.account, parties.supplier, uint256(change));
    }

    /// @dev Keeps that the caller consents to a reading; whether the other party does too, and then forgets both.
    function _agreed(Parties memory parties, bytes32 reading) private returns (bool both) {
        mapping(address party => bytes32) storage consents = _consents[_key(parties.round, parties.node)];
        consents[msg.sender] = reading;
        both = consents[parties.account] == consents[parties.supplier];
        if (both) (consents[parties.account], consents[parties.supplier]) = (0, 0);
    }

    /// @inheritdoc ITradeSettlement
    function limitDebit(uint224 most) external {
        IOutcomes.Progress memory progress = aggregator.progressOf(0);
        uint32 from = progress.round;
        if (progress.phase != IOutcomes.Phase.Declaring || _hasSaid(from, msg.sender)) ++from;
        // It returns what stood there before.
        // slither-disable-next-line unused-return
        _limits[msg.sender].push(from, most);
        emit DebitLimited(msg.sender, from, most);
    }

    /// @dev Whether an account has declared in a round, or abstained.
    function _hasSaid(uint32 round, address account) private view returns (bool) {
        // The number does not matter.
        // slither-disable-next-line unused-return
        try aggregator.nodeIn(round, account) returns (uint8) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev Counts what the supplier pays a node for what was delivered.
    function _book(Parties memory parties, int256 payment_) private {
        uint256 key = _key(parties.round, parties.node);
        _reckonings[key] = _reckonings[key].delivered(payment_);
        _settled[_label(parties.round, parties.day)].supplierPayment -= int224(payment_);
    }

    /// @dev Requires that the day of a finished round is settled by no other: by the one in which it was agreed or, where
    ///      it was in none, by the first that is settled. Whether it is the first.
    function _requireRoundOfDay(uint32 round, IOutcomes.Outcome memory outcome) private view returns (bool) {
        uint32 settled = _settled[_label(round, outcome.day)].round;
        if (settled == round) return false;
        uint32 agreed = aggregator.agreedInOf(Round.product(round), outcome.day);
        bool counts = agreed == (outcome.phase == IOutcomes.Phase.Converged ? round : 0);
        if (settled != 0 || !counts) revert OtherRoundOfDay(outcome.day, settled == 0 ? agreed : settled);
        return true;
    }

    function _label(uint32 round, uint32 day) private pure returns (uint256) {
        return Round.label(Round.product(round), day);
    }

    /// @dev Requires a signed reading of a finished round that was not settled before.
    /// @return the day of the round
    function _requireReading(uint32 round, uint8 node, bytes calldata energies, bytes32 r, bytes32 vs)
        private
        returns (uint32)
    {
        IOutcomes.Outcome memory outcome = aggregator.outcome(round);
        if (outcome.phase < IOutcomes.Phase.Converged) revert NotFinished(round);
        if (delivered(round, node)) revert AlreadyDelivered(round, node);
        if (_requireRoundOfDay(round, outcome)) _settled[_label(round, outcome.day)].round = round;
        // The third value says more about the flaw.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError flaw,) = ECDSA.tryRecover(readingDigest(round, node, energies), r, vs);
        if (flaw != ECDSA.RecoverError.NoError || signer != metering) revert WrongReading(round, node);
        return outcome.day;
    }

    /// @dev What a node has traded by step, Wh, energy sold positive: in recorded pairs, or with all at once.
    function _traded(uint32 round, uint8 node, Position[] calldata positions_)
        private
        view
        returns (int256[] memory energies)
    {
        energies = new int256[](_steps);
        if (_isMarket) {
            if (positions_.length != 1 || positions_[0].partner != ALL) revert WrongPositions(round, node);
            agreement.requireTraded(round, node, positions_[0].trades);
            Trades.addTo(energies, positions_[0].trades, node, ALL);
            return energies;
        }
        if (positions_.length != positions(round, node)) revert WrongPositions(round, node);
        uint256 next = 0; // the lowest partner that may follow
        for (uint256 i = 0; i < positions_.length; ++i) {
            (uint8 partner, bytes calldata trades) = (positions_[i].partner, positions_[i].trades);
            if (partner < next || keccak256(trades) != recorded(round, node, partner)) {
                revert WrongPositions(round, node);
            }
            next = uint256(partner) + 1;
            Trades.addTo(energies, trades, node, partner);
        }
    }

    /// @dev What the supplier pays for a reading beyond the recorded trades, less fees, token units: a sum below 2^81, times
    ///      10^18 below 2^141. A household that pays does so up to the limit that it had set itself before it said
    ///      anything in the round, and what its meter does not bear out.
    /// @param isLimited whether its limit counts
    function _deviation(
        Parties memory parties,
        bytes calldata energies,
        bytes calldata tariff,
        Position[] calldata positions_,
        bool isLimited
    ) private returns (int256 payment_) {
        if (energies.length != READING * _steps) revert LengthMismatch(READING * _steps, energies.length);
        _requireTariff(parties.round, parties.supplier, tariff);
        int256[] memory traded = _traded(parties.round, parties.node, positions_);
        payment_ = -Money.dueOf(-Tariffs.worthBeyond(tariff, energies, traded), _currency);
        if (payment_ >= 0 || !isLimited) return payment_;
        uint256 most = debitLimit(parties.round, parties.account);
        if (most == 0 || SignedMath.abs(payment_) <= most) return payment_;
        int256 missing = Money.dueOf(Tariffs.worthOfMissing(tariff, energies, traded), _currency);
        if (-payment_ <= int256(most) + missing) return payment_;
        emit DebitCut(parties.round, parties.node, payment_, most + uint256(missing));
        return -int256(most) - missing;
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc ITradeSettlement
    function tariffHash(uint32 round) external view returns (bytes32) {
        return _tariffs[round][supplier];
    }

    /// @inheritdoc ITradeSettlement
    function tariffHashOf(uint32 round, address supplier_) external view returns (bytes32) {
        return _tariffs[round][supplier_];
    }

    /// @inheritdoc ITradeSettlement
    function supplierOf(uint32 round, uint8 node) external view returns (address) {
        return supplierIn(round, aggregator.accountIn(round, node));
    }

    /// @inheritdoc ITradeSettlement
    function recorded(uint32 round, uint8 one, uint8 other) public view returns (bytes32) {
        bytes32 statement = _side(round, one, other).statement;
        return statement == _side(round, other, one).statement ? statement : bytes32(0);
    }

    /// @inheritdoc ITradeSettlement
    function stated(uint32 round, uint8 node, uint8 partner)
        external
        view
        returns (bytes32 statement, uint256 amount, uint40 deadline)
    {
        Side storage side = _side(round, node, partner);
        return (side.statement, side.lock.amount(), side.lock.deadline());
    }

    /// @inheritdoc ITradeSettlement
    function positions(uint32 round, uint8 node) public view returns (uint256) {
        return _reckonings[_key(round, node)].positions();
    }

    /// @inheritdoc ITradeSettlement
    function delivered(uint32 round, uint8 node) public view returns (bool) {
        return _reckonings[_key(round, node)].isDelivered();
    }

    /// @inheritdoc ITradeSettlement
    function settledIn(uint32 day) external view returns (uint32) {
        return _settled[Round.label(0, day)].round;
    }

    /// @inheritdoc ITradeSettlement
    function settledInOf(uint8 product, uint32 day) external view returns (uint32) {
        return _settled[Round.label(product, day)].round;
    }

    /// @inheritdoc ITradeSettlement
    function netPayment(uint32 round, uint8 node) external view returns (int256) {
        return _reckonings[_key(round, node)].net();
    }

    /// @inheritdoc ITradeSettlement
    function supplierPayment(uint32 round) external view returns (int256) {
        Settled memory settled = _settled[_label(round, aggregator.outcome(round).day)];
        return settled.round == round ? settled.supplierPayment : int256(0);
    }

    /// @inheritdoc ITradeSettlement
    function debitLimit(uint32 round, address account) public view returns (uint256) {
        return _limits[account].upperLookupRecent(round);
    }

    /// @inheritdoc ITradeSettlement
    function payment(bytes calldata trades) external view returns (int256) {
        return _payment(0, trades);
    }

    /// @inheritdoc ITradeSettlement
    function readingDigest(uint32 round, uint8 node, bytes calldata energies) public view returns (bytes32) {
        return _digest(keccak256(abi.encode(READING_TYPEHASH, round, node, keccak256(energies))));
    }

    function _payment(uint8 partner, bytes calldata trades) private view returns (int256) {
        int256 sum = Trades.total(trades, _steps, partner);
        return Money.paymentOf(sum, _currency, sum > 0);
    }

    function _key(uint32 round, uint8 node) private pure returns (uint256) {
        return uint256(round) << 8 | node;
    }

    function _side(uint32 round, uint8 node, uint8 partner) private view returns (Side storage) {
        return _sides[uint256(round) << 16 | uint256(node) << 8 | partner];
    }
}
