// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IAgreeing, IAgreement} from "../interfaces/IAgreement.sol";
import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {ISupply} from "../interfaces/ISupply.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {HandOver} from "../libraries/HandOver.sol";
import {MAX_NODES} from "../libraries/Nodes.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Round} from "../rounds/Round.sol";
import {Lock, Locks} from "./Lock.sol";
import {Registrar} from "./Registrar.sol";
import {Settling} from "./Settling.sol";

/// @title Settlement of bilateral trades and of what is delivered
/// @notice See ITradeSettlement for what it does, its units and its invariants. Nobody owns it.
///
/// @dev This is the half that nodes and meters call in every round, with all views. What is called seldom is handed over to
///      the registrar, which it creates: one contract could not hold both.
contract TradeSettlement is Settling, TypedData, ITradeSettlement {
    bytes32 private constant READING_TYPEHASH = keccak256("Reading(uint32 round,uint8 node,bytes energies)");

    /// @inheritdoc ITradeSettlement
    address public immutable registrar;
    /// @inheritdoc ITradeSettlement
    uint32 public immutable lockSeconds;

    constructor(IAgreeing aggregator_, IERC20Metadata token_, address supplier_, address metering_)
        Settling(aggregator_, token_, supplier_, metering_)
        TypedData("gridpact settlement", "1")
    {
        // Who may be zero is checked, or not, where it is kept.
        // slither-disable-next-line missing-zero-check
        registrar = address(new Registrar(aggregator_, token_, supplier_, metering_));
        lockSeconds = aggregator.phaseSeconds();
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
        if (which != 0) _agreement.requireFit(round, stage.node, statements, which, own);
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

    // ------------------------------------------------------------------ delivery

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

    function _deliver(Parties memory parties, int256 payment_, bytes calldata energies) private {
        uint256 rest = 0;
        if (payment_ < 0) {
            rest = _charge(parties.account, parties.supplier, SignedMath.abs(payment_));
        } else {
            _take(parties.supplier, uint256(payment_));
            _credit(parties.account, uint256(payment_));
        }
        _book(parties, payment_);
        emit Delivered(parties.round, parties.node, payment_, rest, energies);
    }

    /// @dev Requires a signed reading of a finished round that was not settled before.
    /// @return the day of the round
    function _requireReading(uint32 round, uint8 node, bytes calldata energies, bytes32 r, bytes32 vs)
        private
        returns (uint32)
    {
        IOutcomes.Outcome memory outcome = aggregator.outcome(round);
        if (outcome.phase < IOutcomes.Phase.Converged) revert NotFinished(round);
        if (_isDelivered(round, node)) revert AlreadyDelivered(round, node);
        if (_requireRoundOfDay(round, outcome)) _settled[_label(round, outcome.day)].round = round;
        // The third value says more about the flaw.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError flaw,) = ECDSA.tryRecover(readingDigest(round, node, energies), r, vs);
        if (flaw != ECDSA.RecoverError.NoError || signer != metering) revert WrongReading(round, node);
        return outcome.day;
    }

    // ------------------------------------------------------------------ handed over to the registrar

    /// @inheritdoc ITradeSettlement
    function vouch(
        uint32,
        uint8,
        IAgreement.Statement[] calldata,
        IAgreement.Opening calldata,
        Quote[] calldata
    ) external {
        _handOver();
    }

    /// @inheritdoc ITradeSettlement
    function correct(uint32, uint8, bytes calldata, bytes calldata, Position[] calldata) external {
        _handOver();
    }

    /// @inheritdoc ITradeSettlement
    function publishTariff(uint32, bytes calldata) external {
        _handOver();
    }

    /// @inheritdoc ITradeSettlement
    function limitDebit(uint224) external {
        _handOver();
    }

    /// @inheritdoc ISupply
    function forgive(address, uint256) external {
        _handOver();
    }

    /// @inheritdoc ISupply
    function admitSupplier(address) external {
        _handOver();
    }

    /// @inheritdoc ISupply
    function dismissSupplier(address) external {
        _handOver();
    }

    /// @inheritdoc ISupply
    function wishSupplier(address) external {
        _handOver();
    }

    /// @inheritdoc ISupply
    function supply(address) external {
        _handOver();
    }

    /// @inheritdoc ISupply
    function dismissCustomer(address) external {
        _handOver();
    }

    function _handOver() private {
        HandOver.to(registrar);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc ITradeSettlement
    function agreement() external view returns (IAgreement) {
        return _agreement;
    }

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
    function recorded(uint32 round, uint8 one, uint8 other) external view returns (bytes32) {
        return _recorded(round, one, other);
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
    function positions(uint32 round, uint8 node) external view returns (uint256) {
        return _positions(round, node);
    }

    /// @inheritdoc ITradeSettlement
    function delivered(uint32 round, uint8 node) external view returns (bool) {
        return _isDelivered(round, node);
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
    function debitLimit(uint32 round, address account) external view returns (uint256) {
        return _debitLimit(round, account);
    }

    /// @inheritdoc ITradeSettlement
    function payment(bytes calldata trades) external view returns (int256) {
        return _payment(0, trades);
    }

    /// @inheritdoc ITradeSettlement
    function readingDigest(uint32 round, uint8 node, bytes calldata energies) public view returns (bytes32) {
        return _digest(keccak256(abi.encode(READING_TYPEHASH, round, node, keccak256(energies))));
    }
}
