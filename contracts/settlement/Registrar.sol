// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IAgreeing, IAgreement} from "../interfaces/IAgreement.sol";
import {IDeposits} from "../interfaces/IDeposits.sol";
import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {ISupply} from "../interfaces/ISupply.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {MAX_NODES} from "../libraries/Nodes.sol";
import {Tariffs} from "../libraries/Tariffs.sol";
import {Trades} from "../libraries/Trades.sol";
import {Round} from "../rounds/Round.sol";
import {Settling} from "./Settling.sol";

/// @title The half of a settlement that works seldom
/// @notice Who supplies whom and at which tariff, what households limit and suppliers forgive, corrections, and the metering
///         account's word for trades. The settlement creates it, and calls it by `delegatecall`: so all of this happens to
///         the settlement's storage, in its name. What is called here directly happens to the registrar's own storage, of
///         which nobody reads anything.
contract Registrar is Settling {
    using Checkpoints for Checkpoints.Trace224;

    /// @dev What a pair comes to that is vouched for.
    struct Vouching {
        address lower; //  supplier of the lower node,
        address higher; // of the higher one
        address payer;
        address receiver;
        address lender; // supplier of the payer
        int256 payment; // token units, positive from the higher to the lower node
        uint256 payerLocked; // by the payer, for the pair
    }

    uint256 private constant MOST_SUPPLIERS = 64; // beside the community's, ever: so many can somebody owe

    constructor(IAgreeing aggregator_, IERC20Metadata token_, address supplier_, address metering_)
        Settling(aggregator_, token_, supplier_, metering_)
    {}

    // ------------------------------------------------------------------ suppliers

    /// @inheritdoc ISupply
    function admitSupplier(address account) external {
        if (msg.sender != metering) revert NotMetering(msg.sender);
        if (arrears(account) != 0) revert InArrears(account, arrears(account));
        if (_isSupplier(account)) revert AdmittedBefore(account);
        if (_admitted == MOST_SUPPLIERS) revert TooManySuppliers(MOST_SUPPLIERS);
        ++_admitted;
        // It returns what stood there before.
        // slither-disable-next-line unused-return
        _admissions[account].push(0, 1);
        emit SupplierAdmitted(account);
    }

    /// @inheritdoc ISupply
    function dismissSupplier(address account) external {
        bool isManager = msg.sender == Ownable(address(aggregator)).owner();
        if (!isManager && msg.sender != metering) revert NotManager(msg.sender);
        uint32 from = _nextRound();
        if (account == supplier || !supplies(from, account)) revert NotSupplier(account);
        // The same.
        // slither-disable-next-line unused-return
        _admissions[account].push(from, 0);
        emit SupplierDismissed(account, from);
    }

    /// @inheritdoc ISupply
    function wishSupplier(address supplier_) external {
        _wishes[msg.sender] = supplier_;
        emit SupplierWished(msg.sender, supplier_);
    }

    /// @inheritdoc ISupply
    function supply(address account) external {
        uint32 from = _nextRound();
        _requireSupplies(from);
        if (_wishes[account] != msg.sender) revert NotWished(account, msg.sender);
        delete _wishes[account];
        _become(account, msg.sender, from);
    }

    /// @inheritdoc ISupply
    function dismissCustomer(address account) external {
        uint32 from = _nextRound();
        if (msg.sender == supplier || supplierIn(from, account) != msg.sender) {
            revert NotCustomer(account, msg.sender);
        }
        _become(account, supplier, from);
    }

    /// @dev Makes an account a supplier's customer from a round on.
    function _become(address account, address supplier_, uint32 from) private {
        // It returns what stood there before.
        // slither-disable-next-line unused-return
        _suppliers[account].push(from, uint160(supplier_));
        emit Supplied(account, supplier_, from);
    }

    /// @dev The first round that is not open yet.
    function _nextRound() private view returns (uint32) {
        return aggregator.progressOf(0).round + 1;
    }

    function _requireSupplies(uint32 round) private view {
        if (!supplies(round, msg.sender)) revert NotSupplier(msg.sender);
    }

    /// @inheritdoc ISupply
    function forgive(address account, uint256 amount) external {
        if (!_isSupplier(msg.sender)) revert NotSupplier(msg.sender);
        emit ArrearsForgiven(account, _lessen(account, msg.sender, amount));
    }

    /// @dev See ITradeSettlement.
    function publishTariff(uint32 round, bytes calldata tariff) external {
        _requireSupplies(round);
        if (Round.product(round) != 0) revert ITradeSettlement.OtherProduct(round);
        IOutcomes.Progress memory progress = aggregator.progressOf(0);
        bool open = round == progress.round && progress.phase == IOutcomes.Phase.Declaring;
        if (round <= progress.round && !(open && progress.present == 0)) revert ITradeSettlement.TariffTooLate(round);
        if (_tariffs[round][msg.sender] != 0) revert ITradeSettlement.TariffPublishedAlready(round);
        Tariffs.requireValid(tariff, _steps);
        _tariffs[round][msg.sender] = keccak256(tariff);
        emit ITradeSettlement.TariffPublished(round, msg.sender, tariff);
    }

    // ------------------------------------------------------------------ the metering account's word

    /// @dev See ITradeSettlement.
    function vouch(
        uint32 round,
        uint8 node,
        IAgreement.Statement[] calldata statements,
        IAgreement.Opening calldata own,
        ITradeSettlement.Quote[] calldata quotes
    ) external nonReentrant {
        if (msg.sender != metering) revert NotMetering(msg.sender);
        if (statements.length > MAX_NODES) revert ITradeSettlement.LengthMismatch(MAX_NODES, statements.length);
        for (uint256 i = 0; i < quotes.length; ++i) _requireTariff(round, quotes[i].supplier, quotes[i].tariff);
        Stage memory stage = _stage(round);
        _play(stage, node);
        uint256 which = 0;
        for (uint256 i = 0; i < statements.length; ++i) {
            if (_vouchOne(stage, statements[i], quotes)) which |= 1 << i;
        }
        _reckonings[_key(round, node)] = stage.own;
        if (which != 0) _agreement.requireFit(round, node, statements, which, own);
    }

    /// @dev One pair, by its lower node: ends what both sides have locked, and then records it.
    /// @return whether it was recorded
    function _vouchOne(Stage memory stage, IAgreement.Statement calldata said, ITradeSettlement.Quote[] calldata quotes)
        private
        returns (bool)
    {
        _meet(stage, said.partner);
        if (said.partner < stage.node) revert ITradeSettlement.InvalidPartner(stage.node, said.partner);
        if (_cannotVouch(stage)) return false;
        if (said.trades.length == 0) revert ITradeSettlement.InvalidTrades(said.partner, 0);
        Vouching memory pair = _between(stage, _payment(said.partner, said.trades));
        Trades.requireBetween(
            said.trades, _quoted(stage.round, quotes, pair.lower), _quoted(stage.round, quotes, pair.higher), said.partner
        );
        if (_lacks(stage, pair)) return false;
        bytes32 statement = keccak256(said.trades);
        _side(stage.round, stage.lower, stage.higher).statement = statement;
        _side(stage.round, stage.higher, stage.lower).statement = statement;
        emit ITradeSettlement.Vouched(stage.round, stage.node, said.partner, _payVouched(stage, pair));
        emit ITradeSettlement.TradeRecorded(stage.round, stage.node, said.partner, pair.payment, said.trades);
        return true;
    }

    /// @dev Whether a pair is recorded already, or states nothing, or one of it was delivered.
    function _cannotVouch(Stage memory stage) private returns (bool) {
        (uint32 round, uint8 node, uint8 partner) = (stage.round, stage.node, stage.partner);
        bytes32 statement = _side(round, node, partner).statement;
        if (statement == _side(round, partner, node).statement) {
            if (statement != 0) _skipRecorded(stage);
            else _skip(stage, abi.encodeWithSelector(ITradeSettlement.NothingStated.selector, round, node, partner));
            return true;
        }
        bool first = stage.own.isDelivered();
        stage.theirs = _reckonings[_key(round, partner)];
        if (!first && !stage.theirs.isDelivered()) return false;
        uint8 delivered = first ? node : partner;
        _skip(stage, abi.encodeWithSelector(ITradeSettlement.AlreadyDelivered.selector, round, delivered));
        return true;
    }

    /// @dev Who pays whom, and who lays it out.
    function _between(Stage memory stage, int256 payment_) private view returns (Vouching memory pair) {
        // The aggregator is known, and calls nobody.
        // slither-disable-start calls-loop
        address lower = aggregator.accountIn(stage.round, stage.lower);
        address higher = aggregator.accountIn(stage.round, stage.higher);
        // slither-disable-end calls-loop
        (pair.lower, pair.higher) = (supplierIn(stage.round, lower), supplierIn(stage.round, higher));
        bool down = payment_ > 0;
        (pair.payer, pair.receiver) = down ? (higher, lower) : (lower, higher);
        pair.lender = down ? pair.higher : pair.lower;
        (pair.payment, pair.payerLocked) = (payment_, down
            ? _side(stage.round, stage.higher, stage.lower).lock.amount()
            : _side(stage.round, stage.lower, stage.higher).lock.amount());
    }

    /// @dev The tariff of a supplier among those that are told, each of which was published.
    function _quoted(uint32 round, ITradeSettlement.Quote[] calldata quotes, address supplier_)
        private
        pure
        returns (bytes calldata)
    {
        for (uint256 i = 0; i < quotes.length; ++i) {
            if (quotes[i].supplier == supplier_) return quotes[i].tariff;
        }
        revert ITradeSettlement.WrongTariff(round);
    }

    /// @dev Whether what the payer has not cannot be laid out: its supplier has too little, or it supplies itself.
    function _lacks(Stage memory stage, Vouching memory pair) private returns (bool) {
        uint256 due = SignedMath.abs(pair.payment);
        int256 has = _accounts[pair.payer].balance() + int256(pair.payerLocked);
        if (has >= int256(due)) return false;
        uint256 missing = has > 0 ? due - uint256(has) : due;
        uint256 lent = _isSupplier(pair.payer) ? 0 : _accounts[pair.lender].free();
        if (lent >= missing) return false;
        address short = _isSupplier(pair.payer) ? pair.payer : pair.lender;
        _skip(stage, abi.encodeWithSelector(IDeposits.InsufficientDeposit.selector, short, lent, missing));
        return true;
    }

    /// @dev Ends what both sides have locked, pays, and counts the trade. What the payer has not, its supplier lays out.
    /// @return rest what the payer owes that for it
    function _payVouched(Stage memory stage, Vouching memory pair) private returns (uint256 rest) {
        bool down = pair.payment > 0;
        _unlock(_side(stage.round, stage.lower, stage.higher), down ? pair.receiver : pair.payer);
        _unlock(_side(stage.round, stage.higher, stage.lower), down ? pair.payer : pair.receiver);
        uint256 due = SignedMath.abs(pair.payment);
        rest = _charge(pair.payer, pair.lender, due);
        _take(pair.lender, due);
        _credit(pair.receiver, due);
        _countBoth(stage, pair.payment);
    }

    // ------------------------------------------------------------------ corrections and limits

    /// @dev See ITradeSettlement.
    function correct(
        uint32 round, uint8 node, bytes calldata energies, bytes calldata tariff, ITradeSettlement.Position[] calldata positions_
    ) external nonReentrant {
        if (!_isDelivered(round, node)) revert ITradeSettlement.NotDelivered(round, node);
        Parties memory parties = _parties(round, aggregator.outcome(round).day, node);
        if (msg.sender != parties.supplier && msg.sender != parties.account) {
            revert ITradeSettlement.NotConcerned(round, node, msg.sender);
        }
        int256 payment_ = _deviation(parties, energies, tariff, positions_, false);
        if (_agreed(parties, keccak256(energies))) {
            emit ITradeSettlement.Corrected(round, node, payment_, _correct(parties, payment_), energies);
        } else {
            emit ITradeSettlement.CorrectionProposed(round, node, msg.sender, payment_, energies);
        }
    }

    /// @return rest what the household cannot pay yet
    function _correct(Parties memory parties, int256 payment_) private returns (uint256 rest) {
        int256 change = payment_ - _reckonings[_key(parties.round, parties.node)].delivery();
        _book(parties, change);
        if (change < 0) rest = _charge(parties.account, parties.supplier, SignedMath.abs(change));
        else _refund(parties.account, parties.supplier, uint256(change));
    }

    /// @dev Keeps that the caller consents to a reading; whether the other party does too, and then forgets both.
    function _agreed(Parties memory parties, bytes32 reading) private returns (bool both) {
        mapping(address party => bytes32) storage consents = _consents[_key(parties.round, parties.node)];
        consents[msg.sender] = reading;
        both = consents[parties.account] == consents[parties.supplier];
        if (both) (consents[parties.account], consents[parties.supplier]) = (0, 0);
    }

    /// @dev See ITradeSettlement.
    function limitDebit(uint224 most) external {
        IOutcomes.Progress memory progress = aggregator.progressOf(0);
        uint32 from = progress.round;
        if (progress.phase != IOutcomes.Phase.Declaring || _hasSaid(from, msg.sender)) ++from;
        // It returns what stood there before.
        // slither-disable-next-line unused-return
        _limits[msg.sender].push(from, most);
        emit ITradeSettlement.DebitLimited(msg.sender, from, most);
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
}
