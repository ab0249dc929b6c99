// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {ITradeSettlement} from "../interfaces/ITradeSettlement.sol";
import {HandOver} from "../libraries/HandOver.sol";
import {Nodes} from "../libraries/Nodes.sol";
import {Series} from "../libraries/Series.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Deposits} from "../settlement/Deposits.sol";
import {Clearing} from "./Clearing.sol";
import {Days} from "./Days.sol";
import {Positions} from "./Positions.sol";
import {SignedData} from "./SignedData.sol";

/// @title Readings, pool, supply and imbalance of a day, step by step
/// @notice See IDaySettlement for what it does, its units and its invariants. Nobody owns it.
///
/// @dev This is the half that members call, with all views. What opens, settles and closes days is handed over to the
///      clearing, which stands on the chain before: one contract could not hold both.
contract DaySettlement is Positions, SignedData {
    using Series for mapping(uint256 word => uint256);

    bytes32 private constant READING_TYPEHASH =
        keccak256("Reading(uint32 day,uint8 step,uint128 nodes,bytes energies)");

    /// @inheritdoc IDaySettlement
    address public immutable metering;
    /// @inheritdoc IDaySettlement
    address public immutable clearing;

    /// @param clearing_ created with the same settlement, token and supplier
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
        clearing = address(clearing_);
    }

    // ------------------------------------------------------------------ readings

    /// @inheritdoc IDaySettlement
    function read(uint32 day, uint8 step, uint128 nodes, bytes calldata energies, bytes32 r, bytes32 vs) external {
        Day storage day_ = _day(day);
        if (step >= _steps) revert NoSuchStep(step);
        _requireOver(day, day_, step);
        if (step < day_.standing.next) revert StepSettledAlready(day, step);
        uint128 others = nodes & ~day_.standing.members;
        if (others != 0) revert NotMember(day, day_.members[Nodes.lowest(others)].account);
        uint128 twice = nodes & day_.isRead[step];
        if (twice != 0) revert ReadTwice(day, step, Nodes.lowest(twice));
        if (energies.length != ENERGY * Nodes.count(nodes)) {
            revert LengthMismatch(ENERGY * Nodes.count(nodes), energies.length);
        }
        _requireSigned(metering, readingDigest(day, step, nodes, energies), r, vs);
        day_.isRead[step] |= nodes;
        day_.readings[step].writeAt(nodes, energies);
        emit StepRead(day, step, nodes, energies);
    }

    // ------------------------------------------------------------------ handed over to the clearing

    /// @inheritdoc IDaySettlement
    function openDay(uint32, Terms calldata, bytes calldata, bytes calldata, uint128) external {
        HandOver.to(clearing);
    }

    /// @inheritdoc IDaySettlement
    function supplyDay(uint32, bytes32, bytes calldata, uint128) external {
        HandOver.to(clearing);
    }

    /// @inheritdoc IDaySettlement
    function settleStep(uint32) external {
        HandOver.to(clearing);
    }

    /// @inheritdoc IDaySettlement
    function closeDay(uint32) external {
        HandOver.to(clearing);
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
