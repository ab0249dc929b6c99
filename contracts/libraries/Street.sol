// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {GRID_CONNECTION, MAX_NODES} from "./Nodes.sol";

/// @title The street with phases that the grid operator's node publishes, and its power flow
/// @notice The book of that node, numbers big-endian:
///
///      | bytes       | field           |                                                          |
///      |-------------|-----------------|----------------------------------------------------------|
///      | 0-3         | zero            | where a balanced feeder has its voltage, see Feeder      |
///      | 4-11        | nominal voltage | uint64, nV, between phase and neutral                    |
///      | 12-15       | lowest voltage  | uint32, 1e-6 p.u., of each phase of each home            |
///      | 16-19       | highest voltage | uint32, 1e-6 p.u.                                        |
///      | 20-23       | source          | uint32, 1e-9 p.u., its voltage                           |
///      | 24          | sections        | uint8, their number                                      |
///      | 10 + 8 k^2  | each section    | above before below                                       |
///      | 3 each      | homes           | up to the end, at least one                              |
///
///      of each section (lines in series, the transformer, or the impedance of the source), where k phases have homes behind it
///
///      | bytes       | field           |                                                          |
///      |-------------|-----------------|----------------------------------------------------------|
///      | 0           | above           | uint8, the section, from 1; 0 is the source              |
///      | 1           | marks           | bits 0 to 2: its phases; bit 3: it is the transformer    |
///      | 2-9         | rating          | uint64, uA of each phase and the neutral, uVA of a       |
///      |             |                 | transformer; 0: none                                     |
///      | 8 each      | impedances      | int32 resistance and int32 reactance, 2^-24 ohm, of each |
///      |             |                 | two of its phases, row by row: what a current in the     |
///      |             |                 | second drops between the first and the neutral           |
///
///      and of each home, whose power its phases share equally
///
///      | bytes       | field           |                                                          |
///      |-------------|-----------------|----------------------------------------------------------|
///      | 0           | node            | uint8                                                    |
///      | 1           | section         | uint8, at whose end it is; 0: at the source              |
///      | 2           | phases          | bits 0 to 2                                              |
///
/// @dev Voltages V = e + j f between phase and neutral and currents I towards the source, by backward and forward sweeps
///      from the voltages of the source:
///        I_home = conj((s + j q) / V) / its phases     I_section = sum of the homes' at its end and of the sections' below
///        V_end = V_above + Z I_section
///      until no voltage moves by more than 2^-27 of the nominal one. What has not settled after MAX_SWEEPS, or leaves 1/8
///      to 2 p.u., the street cannot carry. Flows within the limits settle in about half as many: a sweep brings one nearer
///      by the part that the sum of |Z S| / |V|^2 is of one.
///
///      | symbol | unit   | largest magnitude                                                                   |
///      |--------|--------|-------------------------------------------------------------------------------------|
///      | s, q   | mW     | 2^52                                                                                |
///      | e, f   | nV     | 2 nominal voltages: 2^49; at least an eighth of 2^30 together                       |
///      | I      | nA     | 2^50 2^53 / 2^27 of a phase of a home, 2^86 of all                                  |
///      | Z I    | nV     | 12 2^31 2^86 before the shift: below 2^121, so that its square is below 2^242       |
///      | V I*   | nV nA  | 6 2^49 2^86: below 2^138, so that in units of 2^40 its square is below 2^200        |
///      So all of it is unchecked.
library Street {
    struct Section {
        uint256 above;
        uint256 phases;
        bool transformer;
        uint256 rating;
        int256[18] impedance; // r, x of each two phases; zero of those that it does not have
    }

    struct Home {
        uint256 node;
        uint256 section;
        uint256 phases;
    }

    struct Network {
        uint256 nominal;
        uint256 lowest;
        uint256 highest;
        uint256 source;
        Section[] sections;
        Home[] homes;
        uint256 nodes; // those of the homes, by bits
    }

    uint256 private constant HEADER = 25; // bytes
    uint256 private constant SECTION = 10; // bytes, without impedances
    uint256 private constant IMPEDANCE = 8; // bytes
    uint256 private constant HOME = 3; // bytes
    uint256 private constant ALL = 7; // phases
    uint256 private constant TRANSFORMER = 8; // among the marks

    uint256 private constant LEAST_NOMINAL = 2 ** 30;
    uint256 private constant MOST_NOMINAL = 2 ** 48;
    uint256 private constant LEAST_SOURCE = 125e6;
    uint256 private constant MOST_SOURCE = 2e9;

    uint256 private constant MAX_SWEEPS = 20;
    uint256 private constant SETTLED_BITS = 27;
    uint256 private constant IMPEDANCE_BITS = 24;
    uint256 private constant POWER_BITS = 40;
    uint256 private constant TOLERANCE = 100; // 1e-6 p.u., and 1e-6 of a rating
    int256 private constant CURRENT_UNIT = 1e15; // of mW / nV in nA
    uint256 private constant HALF_ROOT_3 = 866025403784438647; // 1e-18

    /// @notice Whether a book is meant to be a street's.
    function isStreet(bytes calldata book) internal pure returns (bool) {
        return book.length >= HEADER && bytes4(book) == 0;
    }

    // ------------------------------------------------------------------ reading

    /// @notice Reads a book that is meant to be a street's.
    /// @return sound whether it is one
    function read(bytes calldata book) internal pure returns (bool sound, Network memory street) {
        uint256 header = _word(book, 0);
        street.nominal = uint64(header >> 160);
        street.lowest = uint32(header >> 128);
        street.highest = uint32(header >> 96);
        street.source = uint32(header >> 64);
        uint256 count = uint8(header >> 56);
        if (street.nominal < LEAST_NOMINAL || street.nominal >= MOST_NOMINAL) return (false, street);
        if (street.source < LEAST_SOURCE || street.source > MOST_SOURCE) return (false, street);
        street.sections = new Section[](count);
        uint256 at = HEADER;
        for (uint256 k = 0; k < count; ++k) {
            at = _readSection(book, at, street.sections, k);
            if (at == 0) return (false, street);
        }
        return (_readHomes(book, at, street), street);
    }

    /// @return next where the next section begins; 0 where this is none
    function _readSection(bytes calldata book, uint256 at, Section[] memory sections, uint256 k)
        private
        pure
        returns (uint256 next)
    {
        if (at + SECTION > book.length) return 0;
        uint256 word = _word(book, at);
        Section memory section = sections[k];
        (section.above, section.rating) = (word >> 248, uint64(word >> 176));
        uint256 marks = uint8(word >> 240);
        section.phases = marks & ALL;
        section.transformer = marks & TRANSFORMER != 0;
        if (marks > ALL + TRANSFORMER || section.above > k) return 0;
        if (!_within(section.phases, _phasesAt(sections, section.above))) return 0;
        at += SECTION;
        next = at + IMPEDANCE * _count(section.phases) ** 2;
        if (next > book.length) return 0;
        (uint256 phases, int256[18] memory impedance) = (section.phases, section.impedance);
        for (uint256 both = 0; both < 9; ++both) {
            if (phases >> both / 3 & phases >> both % 3 & 1 == 0) continue;
            assembly ("memory-safe") {
                let ohms := calldataload(add(book.offset, at))
                let place := add(impedance, shl(6, both))
                mstore(place, sar(224, ohms))
                mstore(add(place, 32), sar(224, shl(32, ohms)))
                at := add(at, IMPEDANCE)
            }
        }
    }

    function _readHomes(bytes calldata book, uint256 at, Network memory street) private pure returns (bool) {
        if (at == book.length || (book.length - at) % HOME != 0) return false;
        uint256 count = (book.length - at) / HOME;
        if (count >= MAX_NODES) return false;
        street.homes = new Home[](count);
        uint256 known = 1 << GRID_CONNECTION;
        for (uint256 i = 0; i < count; ++i) {
            uint256 word = _word(book, at + HOME * i);
            Home memory home = street.homes[i];
            (home.node, home.section, home.phases) = (word >> 248, uint8(word >> 240), uint8(word >> 232));
            if (home.node >= MAX_NODES || known >> home.node & 1 != 0) return false;
            if (home.section > street.sections.length) return false;
            if (!_within(home.phases, _phasesAt(street.sections, home.section))) return false;
            known |= 1 << home.node;
        }
        street.nodes = known;
        return true;
    }

    function _phasesAt(Section[] memory sections, uint256 end) private pure returns (uint256) {
        return end == 0 ? ALL : sections[end - 1].phases;
    }

    /// @dev Whether phases are some, and none but those that are there.
    function _within(uint256 phases, uint256 there) private pure returns (bool) {
        return phases != 0 && phases & ~there == 0;
    }

    function _count(uint256 phases) private pure returns (uint256) {
        return (phases & 1) + (phases >> 1 & 1) + (phases >> 2 & 1);
    }

    /// @dev 32 bytes from a position on, some of which may be beyond the book.
    function _word(bytes calldata book, uint256 at) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(book.offset, at))
        }
    }

    // ------------------------------------------------------------------ the power flow

    /// @notice Whether a voltage, a current or the transformer's load is more than 1e-4 (p.u., or of its rating) beyond its
    ///         limit, or the street cannot carry the injections, or one is of a node that is not on it.
    /// @param s, q by node, mW and mvar
    function outside(Network memory street, int256[] memory s, int256[] memory q) internal pure returns (bool) {
        unchecked {
            for (uint256 node = 0; node < s.length; ++node) {
                if (street.nodes >> node & 1 == 0 && s[node] | q[node] != 0) return true;
            }
            (bool settled, int256[6][] memory voltages, int256[6][] memory currents) = _flow(street, s, q);
            return !settled || _voltageBeyond(street, voltages) || _currentBeyond(street, voltages, currents);
        }
    }

    /// @dev Voltages at the end of each section, the source first, and currents: e and f of each phase.
    function _flow(Network memory street, int256[] memory s, int256[] memory q)
        private
        pure
        returns (bool settled, int256[6][] memory voltages, int256[6][] memory currents)
    {
        unchecked {
            voltages = new int256[6][](street.sections.length + 1);
            currents = new int256[6][](street.sections.length + 1);
            int256 size = int256(street.nominal * street.source / 1e9);
            int256 rise = int256(uint256(size) * HALF_ROOT_3 / 1e18);
            for (uint256 k = 0; k < voltages.length; ++k) {
                voltages[k] = [size, int256(0), -(size / 2), -rise, -(size / 2), rise];
            }
            for (uint256 sweep = 0; sweep < MAX_SWEEPS; ++sweep) {
                _backward(street, voltages, currents, s, q);
                (bool carried, uint256 moved) = _forward(street, voltages, currents);
                if (!carried) return (false, voltages, currents);
                if (moved <= street.nominal >> SETTLED_BITS) return (true, voltages, currents);
            }
        }
    }

    function _backward(
        Network memory street,
        int256[6][] memory voltages,
        int256[6][] memory currents,
        int256[] memory s,
        int256[] memory q
    ) private pure {
        unchecked {
            for (uint256 k = 0; k < currents.length; ++k) _clear(currents[k]);
            for (uint256 i = 0; i < street.homes.length; ++i) {
                Home memory home = street.homes[i];
                _addHome(home.phases, s[home.node], q[home.node], voltages[home.section], currents[home.section]);
            }
            for (uint256 k = street.sections.length; k != 0; --k) {
                _add(currents[street.sections[k - 1].above], currents[k]);
            }
        }
    }

    /// @dev Adds what each of its phases gives: conj((s + j q) / V), in equal parts.
    function _addHome(uint256 phases, int256 s, int256 q, int256[6] memory voltage, int256[6] memory current)
        private
        pure
    {
        uint256 sharers = _count(phases);
        assembly ("memory-safe") {
            for {} phases { phases := shr(1, phases) } {
                if and(phases, 1) {
                    let e := mload(voltage)
                    let f := mload(add(voltage, 32))
                    let square := mul(sharers, add(mul(e, e), mul(f, f)))
                    let own := sdiv(mul(CURRENT_UNIT, add(mul(s, e), mul(q, f))), square)
                    mstore(current, add(mload(current), own))
                    let at := add(current, 32)
                    own := sdiv(mul(CURRENT_UNIT, sub(mul(s, f), mul(q, e))), square)
                    mstore(at, add(mload(at), own))
                }
                voltage := add(voltage, 64)
                current := add(current, 64)
            }
        }
    }

    /// @return carried whether all voltages are where there may be a plan
    /// @return moved   the largest change of a part of one
    function _forward(Network memory street, int256[6][] memory voltages, int256[6][] memory currents)
        private
        pure
        returns (bool carried, uint256 moved)
    {
        unchecked {
            // 1/8 and 2 p.u.: beyond, there is no plan to look for.
            uint256 most = 4 * street.nominal ** 2;
            uint256 least = most / 256;
            for (uint256 k = 1; k < voltages.length; ++k) {
                Section memory section = street.sections[k - 1];
                (uint256 lowest, uint256 highest, uint256 far) =
                    _move(section, voltages[section.above], voltages[k], currents[k]);
                if (lowest < least || highest > most) return (false, moved);
                if (far > moved) moved = far;
            }
            return (true, moved);
        }
    }

    /// @dev Moves the voltages at the end of a section to V_above + Z I.
    /// @return lowest  the least square of one
    /// @return highest the largest
    /// @return far     the largest change of a part of one
    function _move(Section memory section, int256[6] memory above, int256[6] memory end, int256[6] memory current)
        private
        pure
        returns (uint256 lowest, uint256 highest, uint256 far)
    {
        (uint256 phases, int256[18] memory impedance) = (section.phases, section.impedance);
        assembly ("memory-safe") {
            lowest := not(0)
            let last := add(current, 192)
            for {} phases { phases := shr(1, phases) } {
                if and(phases, 1) {
                    let e := 0
                    let f := 0
                    for { let of := current } lt(of, last) { of := add(of, 64) } {
                        let r := mload(impedance)
                        let x := mload(add(impedance, 32))
                        let real := mload(of)
                        let imaginary := mload(add(of, 32))
                        e := sub(add(e, mul(r, real)), mul(x, imaginary))
                        f := add(add(f, mul(r, imaginary)), mul(x, real))
                        impedance := add(impedance, 64)
                    }
                    e := add(sar(IMPEDANCE_BITS, e), mload(above))
                    f := add(sar(IMPEDANCE_BITS, f), mload(add(above, 32)))
                    let square := add(mul(e, e), mul(f, f))
                    if lt(square, lowest) { lowest := square }
                    if gt(square, highest) { highest := square }
                    let away := sub(e, mload(end))
                    if slt(away, 0) { away := sub(0, away) }
                    if gt(away, far) { far := away }
                    let place := add(end, 32)
                    away := sub(f, mload(place))
                    if slt(away, 0) { away := sub(0, away) }
                    if gt(away, far) { far := away }
                    mstore(end, e)
                    mstore(place, f)
                    impedance := sub(impedance, 192)
                }
                impedance := add(impedance, 192)
                above := add(above, 64)
                end := add(end, 64)
            }
        }
    }

    function _clear(int256[6] memory phasors) private pure {
        assembly ("memory-safe") {
            calldatacopy(phasors, calldatasize(), 192)
        }
    }

    function _add(int256[6] memory to, int256[6] memory phasors) private pure {
        assembly ("memory-safe") {
            mstore(to, add(mload(to), mload(phasors)))
            for { let end := add(to, 160) } lt(to, end) {} {
                to := add(to, 32)
                phasors := add(phasors, 32)
                mstore(to, add(mload(to), mload(phasors)))
            }
        }
    }

    // ------------------------------------------------------------------ limits

    function _voltageBeyond(Network memory street, int256[6][] memory voltages) private pure returns (bool) {
        unchecked {
            uint256 nominal = street.nominal ** 2;
            uint256 low = Math.saturatingSub(street.lowest, TOLERANCE) ** 2 * nominal;
            uint256 high = (street.highest + TOLERANCE) ** 2 * nominal;
            for (uint256 i = 0; i < street.homes.length; ++i) {
                Home memory home = street.homes[i];
                int256[6] memory end = voltages[home.section];
                for (uint256 p = 0; p < 3; ++p) {
                    if (home.phases >> p & 1 == 0) continue;
                    uint256 square = _square(end[2 * p], end[2 * p + 1]) * 1e12;
                    if (square < low || square > high) return true;
                }
            }
            return false;
        }
    }

    function _currentBeyond(Network memory street, int256[6][] memory voltages, int256[6][] memory currents)
        private
        pure
        returns (bool)
    {
        unchecked {
            for (uint256 k = 1; k < currents.length; ++k) {
                Section memory section = street.sections[k - 1];
                if (section.rating == 0) continue;
                uint256 most = section.rating * (1e6 + TOLERANCE); // pA, or pVA
                int256[6] memory i = currents[k];
                if (section.transformer) {
                    most = most * 1e6 >> POWER_BITS;
                    if (_power(voltages[section.above], i) > most ** 2) return true;
                } else {
                    for (uint256 at = 0; at < 6; at += 2) {
                        if (_square(i[at], i[at + 1]) * 1e6 > most ** 2) return true;
                    }
                    if (_square(i[0] + i[2] + i[4], i[1] + i[3] + i[5]) * 1e6 > most ** 2) return true;
                }
            }
            return false;
        }
    }

    /// @dev The square of the apparent power of three phases, in units of 2^40 nVA nV.
    function _power(int256[6] memory v, int256[6] memory i) private pure returns (uint256) {
        unchecked {
            int256 p = 0;
            int256 q = 0;
            for (uint256 at = 0; at < 6; at += 2) {
                p += v[at] * i[at] + v[at + 1] * i[at + 1];
                q += v[at + 1] * i[at] - v[at] * i[at + 1];
            }
            return _square(p >> POWER_BITS, q >> POWER_BITS);
        }
    }

    function _square(int256 e, int256 f) private pure returns (uint256) {
        unchecked {
            return uint256(e * e + f * f);
        }
    }
}
