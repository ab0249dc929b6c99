// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ITied} from "../interfaces/ITied.sol";
import {Round} from "../rounds/Round.sol";
import {Clerk} from "./Clerk.sol";
import {VirtualAggregator} from "./VirtualAggregator.sol";

/// @title A virtual aggregator above or below others
/// @notice See ITied for when its rounds end, IVirtualAggregator for all else.
///
/// @dev Storage, behind that of the virtual aggregator, of which the clerk knows.
///
/// | variable | slots       | written                                                                   |
/// |----------|-------------|---------------------------------------------------------------------------|
/// | _above   | 1           | by the manager                                                            |
/// | _below   | 1 + 2 each  | by the manager                                                            |
/// | _held    | 1           | when an iteration is closed that is within the limits                     |
contract TiedAggregator is VirtualAggregator, ITied {
    using Round for Round.State;

    /// @dev The last iteration that was within the limits.
    struct Held {
        uint32 round;
        uint16 iteration;
    }

    /// @dev For what is asked above, and for all that is asked below.
    uint256 private constant GAS = 3_000_000;

    ITied private _above;
    Branch[] private _below;
    Held private _held;

    constructor(Clerk clerk_) VirtualAggregator(clerk_) {}

    /// @inheritdoc ITied
    function tie(ITied above, Branch[] calldata below) external onlyOwner {
        _requireNoRoundRuns();
        _above = above;
        delete _below;
        uint128 taken = 0;
        for (uint256 i = 0; i < below.length; ++i) {
            Branch calldata branch = below[i];
            if (branch.gateways == 0 || branch.gateways & taken != 0) {
                revert InvalidBranch(branch.level, branch.gateways);
            }
            taken |= branch.gateways;
            _below.push(branch);
        }
        emit Tied(above, below);
    }

    /// @dev TI1: only where the nodes have agreed.
    function _ends(Progress memory progress_, bool agreed) internal override returns (bool) {
        if (!agreed || Round.product(progress_.round) != 0) return agreed;
        _held = Held(progress_.round, progress_.iteration);
        if (progress_.iteration >= _mu) return true;
        uint32 day = _state(0).closed.day;
        bool released = address(_above) == address(0) || _says(_above, abi.encodeCall(ITied.releases, (day)), GAS);
        return released && _areReady(day, progress_.iteration);
    }

    // ------------------------------------------------------------------ what others ask

    /// @inheritdoc ITied
    function isReady(uint32 day) external view returns (bool) {
        Round.State storage state = _state(0);
        Progress memory progress_ = state.progress();
        if (state.closed.day != day || progress_.phase == Phase.Declaring) return false;
        if (progress_.phase != Phase.Iterating) return true;
        uint16 last = state.closed.iteration;
        return last != 0 && _held.round == progress_.round && _held.iteration == last && _areReady(day, last);
    }

    /// @inheritdoc ITied
    function releases(uint32 day) external view returns (bool) {
        Round.State storage state = _state(0);
        Phase phase = state.progress().phase;
        if (state.closed.day != day || phase == Phase.Declaring) return false;
        if (phase != Phase.Iterating) return true;
        uint128 gateways = 0;
        for (uint256 i = 0; i < _below.length; ++i) {
            if (address(_below[i].level) == msg.sender) gateways |= _below[i].gateways;
        }
        return state.active & gateways == 0;
    }

    /// @dev Whether nobody below has to be waited for in an iteration.
    function _areReady(uint32 day, uint16 iteration) private view returns (bool) {
        if (uint256(iteration) * 5 >= uint256(_mu) * 2) return true;
        uint128 active = _state(0).active;
        for (uint256 i = 0; i < _below.length; ++i) {
            if (active & _below[i].gateways == 0) continue;
            if (!_says(_below[i].level, abi.encodeCall(ITied.isReady, (day)), GAS / _below.length)) return false;
        }
        return true;
    }

    /// @dev Asks a contract that the manager has tied, which may be none, or answer nothing. It changes nothing, and costs
    ///      no more than its gas: so no tie keeps an iteration from being closed.
    /// @return yes whether it says so
    function _says(ITied level, bytes memory asked, uint256 most) private view returns (bool yes) {
        assembly ("memory-safe") {
            mstore(0, 0)
            let answered := staticcall(most, level, add(asked, 32), mload(asked), 0, 32)
            yes := and(and(answered, gt(returndatasize(), 31)), eq(mload(0), 1))
        }
    }
}
