// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {Arrears} from "./Arrears.sol";

/// @title Who supplies whom
/// @notice See ITradeSettlement.
///
/// @dev An account's supplier holds from a round on, so that a day is settled with whose customer it was in its round.
abstract contract Supply is Arrears {
    using Checkpoints for Checkpoints.Trace224;

    /// @inheritdoc ITradeSettlement
    IOutcomes public immutable aggregator;
    /// @inheritdoc ITradeSettlement
    address public immutable metering;
    mapping(address account => address) private _wishes;
    mapping(address account => Checkpoints.Trace224 supplierByRound) private _suppliers;

    constructor(IOutcomes aggregator_, address supplier_, address metering_) Arrears(supplier_) {
        aggregator = aggregator_;
        // Zero where nobody meters: then nothing is delivered.
        // slither-disable-next-line missing-zero-check
        metering = metering_;
    }

    /// @inheritdoc ITradeSettlement
    function admitSupplier(address account) external {
        if (msg.sender != metering) revert NotMetering(msg.sender);
        if (arrears(account) != 0) revert OwesOnlyTo(account, creditorOf(account));
        _creditors[account] = account;
        emit SupplierAdmitted(account);
    }

    /// @inheritdoc ITradeSettlement
    function wishSupplier(address supplier_) external {
        _wishes[msg.sender] = supplier_;
        emit SupplierWished(msg.sender, supplier_);
    }

    /// @inheritdoc ITradeSettlement
    function supply(address account) external {
        _requireSupplier();
        if (_wishes[account] != msg.sender) revert NotWished(account, msg.sender);
        delete _wishes[account];
        uint32 from = aggregator.progressOf(0).round + 1;
        // It returns what stood there before.
        // slither-disable-next-line unused-return
        _suppliers[account].push(from, uint160(msg.sender));
        emit Supplied(account, msg.sender, from);
    }

    /// @inheritdoc ITradeSettlement
    function supplierIn(uint32 round, address account) public view returns (address supplier_) {
        supplier_ = address(uint160(_suppliers[account].upperLookupRecent(round)));
        if (supplier_ == address(0)) supplier_ = supplier;
    }
}
