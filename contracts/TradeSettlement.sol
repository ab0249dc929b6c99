// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {ITradeSettlement} from "./interfaces/ITradeSettlement.sol";
import {IVirtualAggregator} from "./interfaces/IVirtualAggregator.sol";
import {MAX_NODES} from "./libraries/Nodes.sol";

/// @title Settlement of bilateral trades
/// @notice See ITradeSettlement for what it does, its units and its invariants. Nobody owns it.
///
/// @dev Storage.
///
/// | variable      | slots   | written                                                                           |
/// |---------------|---------|-----------------------------------------------------------------------------------|
/// | status        | 1       | ReentrancyGuard                                                                   |
/// | totalDeposits | 1       | by deposit, withdraw                                                              |
/// | free, locked  | mapping | 1 each an account                                                                 |
/// | netPayment    | mapping | 1 a round and node, when a trade is recorded                                      |
/// | _pairs        | mapping | 7 a round and pair: 1 for `recorded`, 3 for what each side states (hash; account  |
/// |               |         | and deadline; lock). Emptied when the trade is recorded, but for `recorded`       |
///
/// Who speaks for a node is whoever declared as that node in the round, not who is enrolled now; so the manager cannot
/// take a past round's trades from anybody.
contract TradeSettlement is ITradeSettlement, ReentrancyGuard {
    using SafeERC20 for IERC20Metadata;

    /// @dev What one side states. `statement` is zero where it states nothing (or no longer).
    struct Side {
        bytes32 statement; // keccak256 of the trades
        address account;
        uint40 deadline; //  of the lock
        uint256 amount; //   locked, token units; zero on the side that is to receive
    }

    struct Pair {
        bool recorded;
        Side lower;
        Side higher;
    }

    uint256 private constant ENTRY = 9; // bytes
    uint8 private constant MAX_DECIMALS = 18;

    IVirtualAggregator public immutable aggregator;
    IERC20Metadata public immutable token;
    /// @notice How long a statement holds the payer's money: as long as the aggregator's phases.
    uint32 public immutable lockSeconds;
    uint256 private immutable _steps;
    int256 private immutable _unit; // 10^decimals

    /// @inheritdoc ITradeSettlement
    uint256 public totalDeposits;
    /// @inheritdoc ITradeSettlement
    mapping(address account => uint256) public free;
    /// @inheritdoc ITradeSettlement
    mapping(address account => uint256) public locked;
    /// @inheritdoc ITradeSettlement
    mapping(uint32 round => mapping(uint8 node => int256)) public netPayment;
    mapping(uint256 pairKey => Pair) private _pairs;

    constructor(IVirtualAggregator aggregator_, IERC20Metadata token_) {
        uint8 decimals = token_.decimals();
        if (decimals > MAX_DECIMALS) revert TooManyDecimals(decimals);
        aggregator = aggregator_;
        token = token_;
        IVirtualAggregator.Setting memory setting = aggregator_.setting();
        lockSeconds = setting.phaseSeconds;
        _steps = setting.steps;
        _unit = int256(10 ** uint256(decimals));
    }

    // ------------------------------------------------------------------ deposits

    /// @inheritdoc ITradeSettlement
    function deposit(uint256 amount) external nonReentrant {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert ReceivedOtherAmount(amount, received);
        free[msg.sender] += amount;
        totalDeposits += amount;
        emit Deposited(msg.sender, amount);
    }

    /// @inheritdoc ITradeSettlement
    function withdraw(uint256 amount) external nonReentrant {
        _takeFree(msg.sender, amount);
        totalDeposits -= amount;
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    // ------------------------------------------------------------------ trades

    /// @inheritdoc ITradeSettlement
    function state(uint32 round, Statement[] calldata statements) external nonReentrant {
        if (aggregator.outcome(round).phase != IVirtualAggregator.Phase.Converged) revert NotConverged(round);
        uint8 node = aggregator.nodeIn(round, msg.sender);
        for (uint256 i = 0; i < statements.length; ++i) {
            _stateOne(round, node, statements[i].partner, statements[i].trades);
        }
    }

    function _stateOne(uint32 round, uint8 node, uint8 partner, bytes calldata trades) private {
        // A node of the round has submitted bids, if only an empty list of them.
        if (partner == node || partner >= MAX_NODES || aggregator.bidsHash(round, partner) == 0) {
            revert InvalidPartner(node, partner);
        }
        Pair storage pair = _pair(round, node, partner);
        (uint8 lower, uint8 higher) = _ordered(node, partner);
        if (pair.recorded) revert AlreadyRecorded(round, lower, higher);
        int256 payment_ = _payment(partner, trades);
        (Side storage own, Side storage other) = node == lower ? (pair.lower, pair.higher) : (pair.higher, pair.lower);

        // A positive payment is the higher node's to make.
        bool pays = node == higher ? payment_ > 0 : payment_ < 0;
        uint256 amount = pays ? _magnitude(payment_) : 0;
        bytes32 statement = keccak256(trades);
        _unlock(own);
        _takeFree(msg.sender, amount);
        locked[msg.sender] += amount;
        own.statement = statement;
        own.account = msg.sender;
        own.deadline = uint40(block.timestamp) + lockSeconds;
        own.amount = amount;
        emit Stated(round, node, partner, statement, amount);

        if (other.statement == statement) {
            _record(round, lower, higher, pair, payment_);
            emit TradeRecorded(round, lower, higher, payment_, trades);
        } else if (other.statement != 0) {
            emit StatementsDiffer(round, lower, higher);
        }
    }

    /// @dev Both sides have stated the same, so the payer's side holds exactly the payment.
    function _record(uint32 round, uint8 lower, uint8 higher, Pair storage pair, int256 payment_) private {
        (Side storage payer, Side storage receiver) =
            payment_ > 0 ? (pair.higher, pair.lower) : (pair.lower, pair.higher);
        uint256 amount = payer.amount;
        locked[payer.account] -= amount;
        free[receiver.account] += amount;
        netPayment[round][lower] += payment_;
        netPayment[round][higher] -= payment_;
        pair.recorded = true;
        delete pair.lower;
        delete pair.higher;
    }

    /// @inheritdoc ITradeSettlement
    function release(uint32 round, uint8 partner) external nonReentrant {
        uint8 node = aggregator.nodeIn(round, msg.sender);
        Pair storage pair = _pair(round, node, partner);
        Side storage own = node < partner ? pair.lower : pair.higher;
        uint256 amount = own.amount;
        if (amount == 0) revert NothingLocked(round, node, partner);
        if (block.timestamp <= own.deadline) revert LockedUntil(own.deadline);
        _unlock(own);
        emit Released(round, node, partner, amount);
    }

    /// @dev Takes the side's statement back, and frees its lock.
    function _unlock(Side storage side) private {
        uint256 amount = side.amount;
        if (amount != 0) {
            locked[side.account] -= amount;
            free[side.account] += amount;
        }
        delete side.statement;
        delete side.amount;
    }

    function _takeFree(address account, uint256 amount) private {
        uint256 available = free[account];
        if (amount > available) revert InsufficientDeposit(account, available, amount);
        free[account] = available - amount;
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc ITradeSettlement
    function isRecorded(uint32 round, uint8 one, uint8 other) external view returns (bool) {
        return _pair(round, one, other).recorded;
    }

    /// @inheritdoc ITradeSettlement
    function payment(bytes calldata trades) external view returns (int256) {
        return _payment(0, trades);
    }

    /// @dev Reads and checks the entries; `partner` is for the error only.
    function _payment(uint8 partner, bytes calldata trades) private view returns (int256) {
        int256 sum = 0;
        uint256 next = 0; // the lowest step that may follow
        for (uint256 at = 0; at < trades.length; at += ENTRY) {
            if (at + ENTRY > trades.length) revert InvalidTrades(partner, at / ENTRY);
            bytes9 entry = bytes9(trades[at:at + ENTRY]);
            uint256 step = uint8(entry[0]);
            if (step < next || step >= _steps) revert InvalidTrades(partner, at / ENTRY);
            next = step + 1;
            int256 energy = int32(uint32(uint72(entry) >> 32)); // bytes 1-4
            int256 price = int32(uint32(uint72(entry))); // bytes 5-8
            // Cannot overflow: at most 192 products of two 32-bit numbers.
            unchecked {
                sum += energy * price;
            }
        }
        return sum * _unit / 1e9;
    }

    function _pair(uint32 round, uint8 one, uint8 other) private view returns (Pair storage) {
        (uint8 lower, uint8 higher) = _ordered(one, other);
        return _pairs[uint256(round) << 16 | uint256(lower) << 8 | higher];
    }

    function _ordered(uint8 one, uint8 other) private pure returns (uint8 lower, uint8 higher) {
        return one < other ? (one, other) : (other, one);
    }

    function _magnitude(int256 value) private pure returns (uint256) {
        return uint256(value < 0 ? -value : value);
    }
}
