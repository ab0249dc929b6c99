// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IOutcomes} from "../interfaces/IOutcomes.sol";
import {ISupply} from "../interfaces/ISupply.sol";
import {Arrears} from "./Arrears.sol";

/// @title Who supplies whom
/// @notice See ISupply.
///
/// @dev An account's supplier holds from a round on, so that a day is settled with whose customer it was in its round.
abstract contract Supply is Arrears {
    using Checkpoints for Checkpoints.Trace224;

    /// @inheritdoc ISupply
    IOutcomes public immutable aggregator;
    /// @inheritdoc ISupply
    address public immutable metering;
    uint256 internal _admitted; // accounts, ever
    mapping(address account => address) internal _wishes;
    mapping(address account => Checkpoints.Trace224 supplierByRound) internal _suppliers;
    mapping(address account => Checkpoints.Trace224 isOneByRound) internal _admissions;

    constructor(IOutcomes aggregator_, address supplier_, address metering_) Arrears(supplier_) {
        aggregator = aggregator_;
        // Zero where nobody meters: then nothing is delivered.
        // slither-disable-next-line missing-zero-check
        metering = metering_;
    }

    /// @inheritdoc ISupply
    function supplierIn(uint32 round, address account) public view returns (address supplier_) {
        supplier_ = address(uint160(_suppliers[account].upperLookupRecent(round)));
        if (supplier_ == address(0) || !supplies(round, supplier_)) supplier_ = supplier;
    }

    /// @inheritdoc ISupply
    function supplies(uint32 round, address account) public view returns (bool) {
        return account == supplier || _admissions[account].upperLookupRecent(round) != 0;
    }

    function _isSupplier(address account) internal view override returns (bool) {
        return account == supplier || _admissions[account].length() != 0;
    }
}
