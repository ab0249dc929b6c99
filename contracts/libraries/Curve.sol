// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Points of secp256k1, as far as a proof about a common secret needs them
/// @notice Points are affine, (0, 0) is the one at infinity. A multiplication takes some 200,000 gas.
library Curve {
    uint256 internal constant P = 2 ** 256 - 2 ** 32 - 977;
    uint256 internal constant N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    struct Point {
        uint256 x;
        uint256 y;
    }

    function generator() internal pure returns (Point memory) {
        return Point(
            0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
            0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8
        );
    }

    /// @notice The point of a compressed key, 33 bytes; infinity where there is none.
    function opened(bytes memory key) internal view returns (Point memory point) {
        if (key.length != 33 || (key[0] != 0x02 && key[0] != 0x03)) return point;
        uint256 x;
        assembly ("memory-safe") {
            x := mload(add(key, 33))
        }
        if (x >= P) return point;
        uint256 square = addmod(mulmod(mulmod(x, x, P), x, P), 7, P);
        uint256 y = _power(square, (P + 1) / 4);
        if (mulmod(y, y, P) != square) return point;
        return Point(x, y & 1 == uint8(key[0]) & 1 ? y : P - y);
    }

    function compressed(Point memory point) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(2 + point.y % 2), point.x);
    }

    function isOn(Point memory point) internal pure returns (bool) {
        if (point.x >= P || point.y >= P) return false;
        uint256 square = addmod(mulmod(mulmod(point.x, point.x, P), point.x, P), 7, P);
        return mulmod(point.y, point.y, P) == square;
    }

    /// @notice a A + b B.
    function combined(uint256 a, Point memory one, uint256 b, Point memory other)
        internal
        view
        returns (Point memory)
    {
        unchecked {
            uint256[3] memory sum; // Jacobian
            uint256[3] memory first = [one.x, one.y, uint256(1)];
            uint256[3] memory second = [other.x, other.y, uint256(1)];
            for (uint256 bit = 1 << 255; bit != 0; bit >>= 1) {
                sum = _doubled(sum);
                if (a & bit != 0) sum = _added(sum, first);
                if (b & bit != 0) sum = _added(sum, second);
            }
            if (sum[2] == 0) return Point(0, 0);
            uint256 inverse = _power(sum[2], P - 2);
            uint256 square = mulmod(inverse, inverse, P);
            return Point(mulmod(sum[0], square, P), mulmod(sum[1], mulmod(square, inverse, P), P));
        }
    }

    function _doubled(uint256[3] memory p) private pure returns (uint256[3] memory q) {
        unchecked {
            (uint256 x, uint256 y) = (p[0], p[1]);
            uint256 yy = mulmod(y, y, P);
            uint256 s = mulmod(4, mulmod(x, yy, P), P);
            uint256 m = mulmod(3, mulmod(x, x, P), P);
            q[0] = addmod(mulmod(m, m, P), P - mulmod(2, s, P), P);
            q[1] = addmod(mulmod(m, addmod(s, P - q[0], P), P), P - mulmod(8, mulmod(yy, yy, P), P), P);
            q[2] = mulmod(2, mulmod(y, p[2], P), P);
        }
    }

    /// @dev The second has z = 1.
    function _added(uint256[3] memory p, uint256[3] memory affine) private pure returns (uint256[3] memory q) {
        unchecked {
            if (p[2] == 0) return affine;
            uint256 zz = mulmod(p[2], p[2], P);
            uint256 u = mulmod(affine[0], zz, P);
            uint256 s = mulmod(affine[1], mulmod(zz, p[2], P), P);
            if (u == p[0]) {
                if (s == p[1]) return _doubled(p);
                return q;
            }
            uint256 h = addmod(u, P - p[0], P);
            uint256 r = addmod(s, P - p[1], P);
            uint256 hh = mulmod(h, h, P);
            uint256 hhh = mulmod(hh, h, P);
            uint256 v = mulmod(p[0], hh, P);
            q[0] = addmod(addmod(mulmod(r, r, P), P - hhh, P), P - mulmod(2, v, P), P);
            q[1] = addmod(mulmod(r, addmod(v, P - q[0], P), P), P - mulmod(p[1], hhh, P), P);
            q[2] = mulmod(p[2], h, P);
        }
    }

    function _power(uint256 base, uint256 exponent) private view returns (uint256) {
        // It answers 32 bytes or runs out of gas; less cannot be decoded.
        // slither-disable-next-line unchecked-lowlevel
        (, bytes memory answer) =
            address(5).staticcall(abi.encode(uint256(32), uint256(32), uint256(32), base, exponent, P));
        return abi.decode(answer, (uint256));
    }
}
