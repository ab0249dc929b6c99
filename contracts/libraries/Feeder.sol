// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {MAX_NODES} from "./Nodes.sol";

/// @title The feeder that the grid operator's node publishes, and its power flow
/// @notice The book of that node, numbers big-endian:
///
///      | bytes       | field           |                              |
///      |-------------|-----------------|------------------------------|
///      | 0-3         | nominal voltage | uint32, mV, line to line     |
///      | 4-7         | lowest voltage  | uint32, 1e-6 p.u.            |
///      | 8-11        | highest voltage | uint32, 1e-6 p.u.            |
///      | 10 each     | lines           | parents before children      |
///
///      and of each line
///
///      | bytes       | field           |                              |
///      |-------------|-----------------|------------------------------|
///      | 0           | node            | uint8                        |
///      | 1           | parent          | uint8                        |
///      | 2-5         | resistance r    | uint32, 1e-6 ohm             |
///      | 6-9         | reactance x     | uint32, 1e-6 ohm             |
///
/// @dev Branch flow of a balanced three-phase feeder with a stiff source of 1 p.u. at the root. Flows P, Q point to the
///      root and are measured at the parent's end; s, q are net injections:
///        P_i = s_i + sum of the children's P - r_i l_i      Q_i = q_i + sum of the children's Q - x_i l_i
///        l_i = (P_i^2 + Q_i^2) / v_parent
///        v_i = v_parent + 2 (r_i P_i + x_i Q_i) + (r_i^2 + x_i^2) l_i
///
///      | symbol | unit       | largest magnitude                                                             |
///      |--------|------------|-------------------------------------------------------------------------------|
///      | s, q   | mW, mvar   | 2^51                                                                          |
///      | v      | 1e-9 V^2   | 4 * 2^74                                                                      |
///      | l      | 1e-12 A^2  | 16 v_root / (r^2 + x^2), as a line's drop is at most the sum of its voltages  |
///      | P, Q   | mW, mvar   | 127 lines of an injection and a loss: below 2^86, so P^2 * 1e15 is below 2^223 |
library Feeder {
    struct Line {
        uint8 node;
        uint256 parent; // index of the parent among the lines, from 1; 0 is the root
        int256 r;
        int256 x;
    }

    struct Limits {
        uint256 nominal;
        uint256 lowest;
        uint256 highest;
    }

    uint256 private constant HEADER = 12; // bytes
    uint256 private constant LINE = 10; // bytes
    uint256 private constant TOLERANCE = 100; // 1e-6 p.u.
    uint256 private constant MAX_SWEEPS = 100;
    int256 private constant CURRENT_UNIT = 1e15; // of r l in mW, and of r^2 l in 1e-9 V^2

    /// @notice Reads a book.
    /// @return sound whether it is a feeder with this root
    function read(bytes calldata book, uint8 root)
        internal
        pure
        returns (bool sound, Limits memory limits, Line[] memory lines)
    {
        if (book.length < HEADER + LINE || (book.length - HEADER) % LINE != 0) return (false, limits, lines);
        limits = Limits(_uint32(book, 0), _uint32(book, 4), _uint32(book, 8));
        if (limits.nominal == 0) return (false, limits, lines);
        uint256 count = (book.length - HEADER) / LINE;
        if (count >= MAX_NODES) return (false, limits, lines);
        uint256[256] memory indices; // of lines by node, from 1
        lines = new Line[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 at = HEADER + i * LINE;
            (uint8 node, uint8 parent) = (uint8(book[at]), uint8(book[at + 1]));
            bool parentThere = parent == root || indices[parent] != 0;
            if (node >= MAX_NODES || node == root || indices[node] != 0 || !parentThere) return (false, limits, lines);
            lines[i] = Line(node, indices[parent], int256(_uint32(book, at + 2)), int256(_uint32(book, at + 6)));
            indices[node] = i + 1;
        }
        return (true, limits, lines);
    }

    /// @notice Whether a voltage is more than the tolerance outside its limits, or the feeder cannot carry the
    ///         injections at all.
    /// @param s, q by node, mW and mvar
    function outside(Limits memory limits, Line[] memory lines, int256[] memory s, int256[] memory q)
        internal
        pure
        returns (bool)
    {
        int256[] memory v = new int256[](lines.length + 1); // by index, the root first
        int256[] memory l = new int256[](lines.length + 1);
        int256 root = int256(limits.nominal ** 2 * 1e3);
        for (uint256 i = 0; i < v.length; ++i) v[i] = root;

        int256 change = root;
        for (uint256 sweep = 0; sweep < MAX_SWEEPS && change > root / 1e9; ++sweep) {
            (int256[] memory p_, int256[] memory q_) = _flows(lines, l, s, q);
            change = 0;
            for (uint256 i = 1; i < v.length; ++i) {
                Line memory line = lines[i - 1];
                int256 parent = v[line.parent];
                int256 impedance = line.r ** 2 + line.x ** 2;
                int256 next = parent + 2 * (line.r * p_[i] + line.x * q_[i]);
                if (impedance != 0) {
                    l[i] = (p_[i] ** 2 + q_[i] ** 2) * CURRENT_UNIT / parent;
                    if (l[i] > 16 * root * CURRENT_UNIT / impedance) return true;
                    next += impedance * l[i] / CURRENT_UNIT;
                }
                // 1/8 and 2 p.u.: beyond, there is no plan to look for.
                if (next < root / 64 || next > 4 * root) return true;
                int256 moved = next > v[i] ? next - v[i] : v[i] - next;
                if (moved > change) change = moved;
                v[i] = next;
            }
        }

        uint256 lowest = Math.saturatingSub(limits.lowest, TOLERANCE);
        uint256 highest = limits.highest + TOLERANCE;
        for (uint256 i = 1; i < v.length; ++i) {
            uint256 value = uint256(v[i]) * 1e12;
            if (value < lowest ** 2 * uint256(root) || value > highest ** 2 * uint256(root)) return true;
        }
        return false;
    }

    /// @dev Flows at the parents' ends, by index, for given currents: from the leaves to the root.
    function _flows(Line[] memory lines, int256[] memory l, int256[] memory s, int256[] memory q)
        private
        pure
        returns (int256[] memory p_, int256[] memory q_)
    {
        p_ = new int256[](l.length);
        q_ = new int256[](l.length);
        for (uint256 i = lines.length; i != 0; --i) {
            Line memory line = lines[i - 1];
            p_[i] += s[line.node] - line.r * l[i] / CURRENT_UNIT;
            q_[i] += q[line.node] - line.x * l[i] / CURRENT_UNIT;
            p_[line.parent] += p_[i];
            q_[line.parent] += q_[i];
        }
    }

    function _uint32(bytes calldata book, uint256 at) private pure returns (uint256) {
        return uint32(bytes4(book[at:at + 4]));
    }
}
