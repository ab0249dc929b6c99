// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Series} from "contracts/libraries/Series.sol";

/// @notice Words of a series, beside a value at a time.
contract SeriesTest {
    using Series for mapping(uint256 word => uint256);

    mapping(uint256 word => uint256) private _series;
    int32[256] private _plain;

    function _write(uint256 first, bytes calldata energies) private {
        _series.write(first, energies);
        for (uint256 i = 0; i < energies.length / 4; ++i) {
            _plain[first + i] = int32(uint32(bytes4(energies[4 * i:])));
        }
    }

    /// @notice What is written over what was there is read again, and nothing beside it changes.
    function testFuzz_write(uint8 one, uint8 other, bytes calldata before, bytes calldata energies) external {
        _write(one % 64, _whole(before));
        _write(other % 64, _whole(energies));
        for (uint256 i = 0; i < _plain.length; ++i) require(_series.at32(i) == _plain[i]);
    }

    /// @dev At most 192 values, as many as there are.
    function _whole(bytes calldata energies) private pure returns (bytes calldata) {
        uint256 values = energies.length / 4;
        return energies[:4 * (values < 192 ? values : 192)];
    }
}
