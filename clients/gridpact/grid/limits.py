"""The limits that the grid operator's node publishes, and whether injections are within them, as the referee has it.

`PublishedFeeder.outside` repeats the integer arithmetic of `Feeder.sol` to the last bit; `voltages` is the same power
flow in floats, for all steps at a time, to see where it is close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import GRID_CONNECTION, Array, Feeder

Integers = NDArray[np.int64]

TOLERANCE = 100  # 1e-6 p.u.
MAX_SWEEPS = 100
CURRENT_UNIT = 10**15

_CLOSE_PU = 0.5e-4
"""Half of the tolerance: what is less than that outside by the flow in floats is inside by that in integers."""


_BEYOND_PU = 2 * TOLERANCE / 1e6
"""What is further outside than that by floats is outside by the integers."""


@dataclass(frozen=True)
class PublishedLine:
    node: int
    parent: int
    resistance: int  # micro-ohm
    reactance: int


@dataclass(frozen=True)
class PublishedFeeder:
    """The feeder in the integers of the chain, lines from the root outwards."""

    nominal: int  # mV, line to line
    lowest: int  # 1e-6 p.u.
    highest: int
    lines: tuple[PublishedLine, ...]

    @staticmethod
    def of(feeder: Feeder) -> PublishedFeeder:
        lines = sorted(feeder.lines, key=lambda line: feeder.depth[line.node])
        return PublishedFeeder(
            round(feeder.nominal_voltage_v * 1e3),
            round(feeder.voltage_min_pu * 1e6),
            round(feeder.voltage_max_pu * 1e6),
            tuple(
                PublishedLine(line.node, line.parent, round(line.resistance_ohm * 1e6), round(line.reactance_ohm * 1e6))
                for line in lines
            ),
        )

    def outside(self, active: Mapping[int, int], reactive: Mapping[int, int]) -> bool:
        """Whether a voltage is more than the tolerance outside its limits, or the feeder cannot carry the injections.

        Args:
            active, reactive: by node, mW and mvar; nodes that are not there inject nothing.
        """
        root = self.nominal**2 * 1000
        count = len(self.lines)
        v, current = [root] * (count + 1), [0] * (count + 1)
        place = {line.node: i for i, line in enumerate(self.lines, 1)}
        parents = [0, *(place.get(line.parent, 0) for line in self.lines)]
        change = root
        for _ in range(MAX_SWEEPS):
            if change <= root // 10**9:
                break
            p, q = [0] * (count + 1), [0] * (count + 1)
            for i in range(count, 0, -1):
                line = self.lines[i - 1]
                p[i] += active.get(line.node, 0) - line.resistance * current[i] // CURRENT_UNIT
                q[i] += reactive.get(line.node, 0) - line.reactance * current[i] // CURRENT_UNIT
                p[parents[i]] += p[i]
                q[parents[i]] += q[i]
            change = 0
            for i, line in enumerate(self.lines, 1):
                parent = v[parents[i]]
                impedance = line.resistance**2 + line.reactance**2
                after = parent + 2 * (line.resistance * p[i] + line.reactance * q[i])
                if impedance:
                    current[i] = (p[i] ** 2 + q[i] ** 2) * CURRENT_UNIT // parent
                    if current[i] > 16 * root * CURRENT_UNIT // impedance:
                        return True
                    after += impedance * current[i] // CURRENT_UNIT
                if after < root // 64 or after > 4 * root:
                    return True
                change = max(change, abs(after - v[i]))
                v[i] = after
        low, high = max(self.lowest - TOLERANCE, 0) ** 2 * root, (self.highest + TOLERANCE) ** 2 * root
        return any(value * 10**12 < low or value * 10**12 > high for value in v[1:])

    def outside_at(self, nodes: tuple[int, ...], active: Integers, reactive: Integers) -> NDArray[np.bool_]:
        """At which steps injections are outside, (T,).

        Args:
            nodes: whose; other nodes inject nothing, nor do those that are on no line.
            active, reactive: mW and mvar, (nodes, T).
        """
        here = [k for k, node in enumerate(nodes) if node in self._rows]
        rows = [self._rows[nodes[k]] for k in here]
        s, q = (np.zeros((len(self.lines), active.shape[1])) for _ in range(2))
        s[rows], q[rows] = active[here] / 1e6, reactive[here] / 1e6
        voltage = np.sqrt(1 + self.voltages(s, q))
        low, high = self.lowest / 1e6 - _CLOSE_PU, self.highest / 1e6 + _CLOSE_PU
        result: NDArray[np.bool_] = ~np.all((voltage >= low) & (voltage <= high), axis=0)
        for t in np.flatnonzero(result):
            result[t] = self.outside(
                dict(zip(nodes, active[:, t].tolist(), strict=True)),
                dict(zip(nodes, reactive[:, t].tolist(), strict=True)),
            )
        return result

    def impossible_at(self, node: int, active: Integers, reactive: Integers) -> NDArray[np.bool_]:
        """At which steps injections of one node are outside whatever others inject, (T,): where its line leads to
        nobody else, by the voltages that limits leave at its other end.

        Args:
            active, reactive: mW and mvar, (T,).
        """
        never = np.zeros(len(active), dtype=bool)
        if node not in self._rows or node in {line.parent for line in self.lines}:
            return never
        row = self._rows[node]
        r, x = (float(part[row, 0]) for part in self._impedance)
        p, q = active / 1e6 / self._base_kva, reactive / 1e6 / self._base_kva
        least, most = self.lowest / 1e6 - _BEYOND_PU, self.highest / 1e6 + _BEYOND_PU
        at_source = self.lines[row].parent not in self._rows
        ends = [(1.0 if at_source else limit**2) + 2 * (r * p + x * q) for limit in (least, most)]
        # v_i = v_parent + 2 (r p + x q) - (r^2 + x^2) (p^2 + q^2) / v_i, the higher of two
        loss = 4 * (r**2 + x**2) * (p**2 + q**2)
        with np.errstate(invalid="ignore"):
            lowest, highest = ((end + np.sqrt(end**2 - loss)) / 2 for end in ends)
        result: NDArray[np.bool_] = (lowest > most**2) | ~(highest >= least**2)
        return result

    def voltages(self, active_kw: Array, reactive_kvar: Array) -> Array:
        """Squared voltages per unit, less 1, by line, (lines, T); NaN where the feeder cannot carry the injections."""
        paths, r, x = self._paths, *self._impedance
        size, parent = r**2 + x**2, [self._rows.get(line.parent, -1) for line in self.lines]
        v = np.zeros_like(active_kw)
        current = np.zeros_like(active_kw)
        settled = np.zeros(active_kw.shape[1], dtype=bool)
        with np.errstate(all="ignore"):
            for _ in range(MAX_SWEEPS):
                p = paths.T @ (active_kw / self._base_kva - r * current)
                q = paths.T @ (reactive_kvar / self._base_kva - x * current)
                above = 1 + np.vstack([v, np.zeros(v.shape[1])])[parent]
                current = (p**2 + q**2) / above
                after = paths @ (2 * (r * p + x * q) + size * current)
                settled = np.abs(after - v).max(axis=0) < 1e-9
                v = np.where((after > -1 + 1 / 64) & (after < 3), after, np.nan)
                if np.all(settled | np.isnan(v).any(axis=0)):
                    break
        return np.where(settled, v, np.nan)

    def lossless(self, active_kw: Array, reactive_kvar: Array) -> Array:
        """The same without losses, which is never below it where r and x are not negative: linear in the injections."""
        resistance, reactance = self.sensitivity
        result: Array = resistance @ active_kw + reactance @ reactive_kvar
        return result

    @cached_property
    def sensitivity(self) -> tuple[Array, Array]:
        """What a kW and a kvar at each line's node add to the squared voltages without losses, (lines, lines) each."""
        paths, (r, x) = self._paths, self._impedance
        return 2 * paths @ (r * paths.T) / self._base_kva, 2 * paths @ (x * paths.T) / self._base_kva

    @property
    def nodes(self) -> tuple[int, ...]:
        """Of the lines."""
        return tuple(line.node for line in self.lines)

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {line.node: row for row, line in enumerate(self.lines)}

    @property
    def _base_kva(self) -> float:
        return 100.0

    @cached_property
    def _impedance(self) -> tuple[Array, Array]:
        """r and x per unit, (lines, 1) each."""
        ohm = (self.nominal / 1e3) ** 2 / (1e3 * self._base_kva)
        r = np.array([[line.resistance / 1e6 / ohm] for line in self.lines])
        return r, np.array([[line.reactance / 1e6 / ohm] for line in self.lines])

    @cached_property
    def _paths(self) -> Array:
        """Row k: the lines from node k's to the grid connection."""
        paths = np.eye(len(self.lines))
        for row, line in enumerate(self.lines):
            if line.parent != GRID_CONNECTION:
                paths[row] += paths[self._rows[line.parent]]
        return paths
