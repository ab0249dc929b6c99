"""The grid operator's own problem on a street: the nearest injections that its phases, neutral and transformer carry.

Most of the time no limit binds. Then what is looked for at every step is the least of a quadratic function,

    a . x + 1/2 x . diag(rho) x + lambda (loss(x) - [G] sum s),    loss(x) = |F I|^2,  I = A x + c

with the currents linear in the injections x = (s, q) around the last answer's voltages: one small system of equations
a step. lambda is what a kWh at the grid connection is worth: the price of losses with trades; in G the import price,
the feed-in price, or what is between them where the street takes nothing and gives nothing.

Every answer is looked at by the exact power flow before it is sent, and as the referee would look at it: by the
integers of `PublishedStreet`, and without what absent households are taken to do. Steps at which it breaks a limit are
solved again within the limits, linear around the last answer's flows: a quadratic program each, by PIQP. That is
repeated, around the flows of what was found, until all is inside; what is outside still is scaled towards no injection
at all, where every voltage is that of no load. Limits that were broken once are looked at from the start in iterations
to come: where they bind hard, an answer without them has no power flow, or one that tells nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import piqp
from numpy.typing import NDArray

from gridpact.community.model import Array
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.errors import InfeasibleError, SolverError
from gridpact.grid.street_limits import PublishedStreet
from gridpact.grid.three_phase import PhaseFlow, loading, phase_flow, reduced_of
from gridpact.problem.blocks import Block, Kind, blocks
from gridpact.problem.local import LocalSolution, Point
from gridpact.problem.view import NodeView

TRIES = 4
"""How often an iteration's problem is solved until its answer is inside."""

OUTSIDE_PU = 1e-4
"""By how much a voltage, and a part of a rating, may break its limit; as much as the referee tolerates on a balanced
feeder."""

NEAR = 0.8
"""A conductor or transformer that used less of its rating in the last answer is not looked at."""

SCALES = 16

NOTHING_KW = 1e-7
"""Less than this from the grid is nothing."""

MOST_POSITIONS = 60


@dataclass(frozen=True, eq=False)
class _Terms:
    """What is looked for at T steps, x = (s, q) of the nodes that answer, (T, X); see above for the letters."""

    steps: NDArray[np.intp]
    to_current: Complex  # A, (T, C, X)
    constant: Complex  # c, of absent nodes, (T, C)
    linear: Array  # a, (T, X)
    penalty: Array  # rho
    lost: Complex  # (T, k, X)
    fixed: Complex  # (T, k)
    square: Array  # what losses have of x squared, (T, X, X)
    cross: Array
    absent_kw: Array  # (T,)

    def at(self, rows: NDArray[np.intp]) -> _Terms:
        """At some of the steps."""
        return _Terms(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})

    def copies(self, x: Array) -> Array:
        """As blocks have them."""
        result = np.empty((x.shape[1], len(x)))
        result[Kind.P :: 2], result[Kind.Q :: 2] = np.split(x.T, 2)
        return result

    def taken_kw(self, x: Array) -> Array:
        """From the grid, (T,)."""
        losses = np.sum(np.abs((self.lost @ x[:, :, None])[:, :, 0] + self.fixed) ** 2, axis=1)
        taken: Array = losses - x[:, : x.shape[1] // 2].sum(axis=1) - self.absent_kw
        return taken


class StreetOperatorProblem:
    """The problem of node 0 in the star, on a street.

    Args:
        to_integers: what of an answer goes on the chain, in units
        unit_kw: of this size.
        fixed: flows of absent households, see `LocalProblem`.
    """

    def __init__(
        self,
        view: NodeView,
        to_integers: Callable[[Array], NDArray[np.int64]],
        unit_kw: float,
        fixed: Mapping[Block, Array],
    ) -> None:
        assert isinstance(view.feeder, PhaseFeeder)
        self._view, self._feeder, self._fixed = view, view.feeder, fixed
        self._published = PublishedStreet.of(view.feeder)
        self._units, self._unit_kw = to_integers, unit_kw
        nothing = np.zeros((len(view.feeder.connections), view.steps))
        self._flow = phase_flow(view.feeder, nothing, nothing)  # of the last answer
        self._alone = self._flow if fixed else None  # the same without absent households
        self._bound = np.zeros(view.steps, dtype=bool)  # where limits have been looked at
        self._blocks = blocks(view.node, view.parent, view.children, view.depth)

    def solve(self, at: Point) -> LocalSolution:
        """Solves around a point of the negotiation.

        Raises:
            InfeasibleError: what absent households are taken to do breaks a limit, whatever the others do.
        """
        for _ in range(1 + TRIES):
            solution = self._nearest(at)
            try:
                outside = self._outside(solution.copies)
            except SolverError:
                if self._bound.all():
                    break
                outside = ~self._bound
            if not outside.any():
                return solution
            self._bound |= outside
        return self._scaled(solution)

    carried_out = solve  # there are no devices at node 0

    def _nearest(self, at: Point) -> LocalSolution:
        """The least, within the limits where they are looked at."""
        prices, dt = self._view.prices, self._view.step_hours
        terms = self._terms(at)
        if self._view.scenario.has_contracts:
            x = self._least(terms, dt * prices.loss_price, False)
            return LocalSolution(terms.copies(x), np.zeros(0), dict)
        low, high = dt * prices.feed_in_price, dt * prices.bought_price
        x = self._least(terms, high, True)
        taken = terms.taken_kw(x)
        if (taken < 0).any():
            x = self._between(terms, low, high, x, taken)
            taken = terms.taken_kw(x)
        given = {"import_kw": np.maximum(taken, 0.0), "feed_in_kw": np.maximum(-taken, 0.0)}
        return LocalSolution(terms.copies(x), np.zeros(0), lambda: given)

    def _between(self, terms: _Terms, low: Array, high: Array, x: Array, taken: Array) -> Array:
        """In G, where at the import price the street would feed in: the least at the feed-in price, or at what is
        between the two, where it takes nothing, by false position (Illinois): the more a kWh is worth the more is
        given."""
        x = np.where((taken < 0)[:, None], self._least(terms, low, True), x)
        taken_low = terms.taken_kw(x)
        steps = np.flatnonzero((taken < 0) & (taken_low > 0))
        if not len(steps):
            return x
        some = terms.at(steps)
        below, above = low[steps], high[steps]
        at_low, at_high = taken_low[steps], taken[steps]
        came, between = at_low, x[steps]
        for _ in range(MOST_POSITIONS):
            if not (open_still := np.abs(came) > NOTHING_KW).any():
                break
            price = (above * at_low - below * at_high) / (at_low - at_high)
            tried = self._least(some, price, True)
            between = np.where(open_still[:, None], tried, between)
            came = np.where(open_still, some.taken_kw(tried), came)
            high_side, low_side = open_still & (came < 0), open_still & (came >= 0)
            above, at_high = np.where(high_side, price, above), np.where(high_side, came, at_high)
            at_low = np.where(high_side, at_low / 2, at_low)
            below, at_low = np.where(low_side, price, below), np.where(low_side, came, at_low)
            at_high = np.where(low_side, at_high / 2, at_high)
        x[steps] = between
        return x

    def _terms(self, at: Point) -> _Terms:
        """What is looked for, around a point of the negotiation and the voltages of the last answer."""
        reduced = reduced_of(self._feeder)
        steps = self._view.steps
        slope = 1000 / self._feeder.phase_voltage_v / np.conj(self._flow.voltage_pu).T  # (T, C)
        kw, kvar = self._injections(np.zeros((len(self._blocks), steps)))  # of absent nodes
        rows = [node - 1 for node in self._nodes]
        share = reduced.to_connections
        own = slope[:, :, None] * share[:, rows]
        to_current = np.concatenate([own, -1j * own], axis=2)
        constant = slope * (share @ (kw - 1j * kvar)).T
        # |lost x + fixed|^2 are the losses, kW
        lost = reduced.loss_root @ to_current / np.sqrt(1000)
        fixed = (reduced.loss_root @ constant[:, :, None])[:, :, 0] / np.sqrt(1000)
        stacked = np.concatenate([lost.real, lost.imag], axis=1)
        return _Terms(
            steps=np.arange(steps),
            to_current=to_current,
            constant=constant,
            linear=np.concatenate([at.linear[Kind.P :: 2], at.linear[Kind.Q :: 2]]).T,
            penalty=np.concatenate([at.penalties[Kind.P :: 2], at.penalties[Kind.Q :: 2]]).T,
            lost=lost,
            fixed=fixed,
            square=stacked.transpose(0, 2, 1) @ stacked,
            cross=np.real(np.einsum("tkx,tk->tx", np.conj(lost), fixed)),
            absent_kw=kw.sum(axis=0),
        )

    def _least(self, terms: _Terms, worth: Array, bought: bool) -> Array:
        """The least at given lambda, currency/kW, (T,): x, (T, X).

        Args:
            bought: whether lambda is paid for all that is taken, and not for losses only.
        """
        surcharge = self._view.step_hours * self._view.prices.loss_surcharge[terms.steps] if bought else 0.0
        weight: Array = np.asarray(2 * (worth + surcharge))
        matrix = weight[:, None, None] * terms.square
        diagonal = np.arange(matrix.shape[1])
        matrix[:, diagonal, diagonal] += terms.penalty
        right = -terms.linear - weight[:, None] * terms.cross
        if bought:
            right[:, : right.shape[1] // 2] += worth[:, None]
        x: Array = np.asarray(np.linalg.solve(matrix, right[:, :, None])[:, :, 0], dtype=np.float64)
        for row in np.flatnonzero(self._bound[terms.steps]).tolist():
            x[row] = self._within(
                int(terms.steps[row]), matrix[row], right[row], terms.to_current[row], terms.constant[row], x[row]
            )
        return x

    def _within(
        self, step: int, matrix: Array, right: Array, to_current: Complex, constant: Complex, free: Array
    ) -> Array:
        """The least of a step within its limits, x; where the solver finds none, that without them."""
        around = [limits_around(self._feeder, self._flow, step, to_current, constant)]
        if self._alone is not None:
            ratio = np.conj(self._flow.voltage_pu[:, step] / self._alone.voltage_pu[:, step])
            own = ratio[:, None] * to_current
            around.append(limits_around(self._feeder, self._alone, step, own, np.zeros_like(constant)))
        rows, low, high = (np.concatenate(parts) for parts in zip(*around, strict=True))
        if np.all((rows @ free >= low) & (rows @ free <= high)):
            return free
        solver = piqp.DenseSolver()
        scale = float(np.abs(matrix.diagonal()).max())
        solver.setup(np.asfortranarray(matrix / scale), -right / scale, None, None, np.asfortranarray(rows), low, high)
        if solver.solve() != piqp.PIQP_SOLVED:
            return free
        return np.array(solver.result.x)

    def _outside(self, copies: Array) -> NDArray[np.bool_]:
        """At which steps an answer, as it goes on the chain, breaks a limit, (T,). What is linear is so around its
        flows from now on, but where no limits were looked at and it breaks one: there it may be anywhere.

        Raises:
            SolverError: the feeder cannot carry it.
        """
        units = self._units(copies)
        kw, kvar = self._injections(np.asarray(units * self._unit_kw, dtype=np.float64))
        flow = phase_flow(self._feeder, kw, kvar, self._flow.voltage_pu)
        milliwatts = units * round(self._unit_kw * 1e6)
        proved = self._published.outside_at(tuple(self._nodes), milliwatts[Kind.P :: 2], milliwatts[Kind.Q :: 2])
        outside: NDArray[np.bool_] = broken(self._feeder, flow) | proved
        near = self._bound | ~outside
        self._flow = self._flow.replaced(near, flow)
        if self._alone is not None:
            rows, shape = [node - 1 for node in self._nodes], kw.shape
            own_kw, own_kvar = np.zeros(shape), np.zeros(shape)
            own_kw[rows], own_kvar[rows] = milliwatts[Kind.P :: 2] / 1e6, milliwatts[Kind.Q :: 2] / 1e6
            self._alone = self._alone.replaced(near, phase_flow(self._feeder, own_kw, own_kvar))
        return outside

    def _injections(self, copies: Array) -> tuple[Array, Array]:
        """Of all households, (n, T) each; who is not enrolled gives nothing."""
        none = np.zeros(self._view.steps)
        row = dict(self._fixed) | {block: copies[k] for k, block in enumerate(self._blocks)}
        active, reactive = (
            np.array([row.get(Block(kind, node), none) for node in self._feeder.nodes]) for kind in (Kind.P, Kind.Q)
        )
        return active, reactive

    @property
    def _nodes(self) -> list[int]:
        """Those that it answers, in the order of its blocks."""
        return [block.node for block in self._blocks if block.kind is Kind.P]

    def _scaled(self, solution: LocalSolution) -> LocalSolution:
        """The same with injections scaled down at the steps that are outside."""
        units = wanted = self._units(solution.copies)
        for scale in range(SCALES, -1, -1):
            try:
                outside = self._outside(np.asarray(units * self._unit_kw, dtype=np.float64))
            except SolverError:
                outside = np.ones(self._view.steps, dtype=bool)
            if not outside.any():
                break
            if not scale:
                raise InfeasibleError("what absent households are taken to do breaks the limits of the street")
            units = np.where(outside, np.fix(wanted * (scale - 1) / SCALES).astype(np.int64), units)
        return LocalSolution(np.asarray(units * self._unit_kw, dtype=np.float64), solution.bids_kw, solution.plan)


def limits_around(
    feeder: PhaseFeeder, flow: PhaseFlow, step: int, to_current: Complex, constant: Complex
) -> tuple[Array, Array, Array]:
    """The limits of a step around a power flow, low <= G x <= high, for currents A x + c: all voltages; and of those
    conductors and the transformer that are near their ratings what of a current lies along that of the flow.

    Returns:
        G, low, high.
    """
    reduced, unit = reduced_of(feeder), feeder.phase_voltage_v
    voltage, current = flow.voltage_pu[:, step], flow.current_a[:, step]
    along = np.conj(voltage) / np.abs(voltage)
    through = reduced.shared / unit
    offset = np.real(along * (reduced.no_load + through @ constant))
    rows = [np.real(along[:, None] * (through @ to_current))]
    low, high = [feeder.voltage_min_pu - offset], [feeder.voltage_max_pu - offset]

    def below(carried: Complex | Array, direction: complex, limit: float) -> None:
        rows.append(np.real(direction * (carried @ to_current))[None] / limit)
        high.append(np.array([1 - float(np.real(direction * (carried @ constant))) / limit]))
        low.append(np.array([-np.inf]))

    for carries, rating in zip(reduced.carries, reduced.rating_a, strict=True):
        conductors = [*carries, carries.sum(axis=0)] if np.isfinite(rating) else []
        for carried in conductors:
            if (size := abs(now := carried @ current)) > NEAR * rating:
                below(carried, complex(np.conj(now) / size), rating)
    if (transformer := feeder.transformer) is not None:
        carried = np.conj(reduced.no_load) * unit / 1000  # conj(S) at the source
        if (size := abs(now := carried @ current)) > NEAR * transformer.kva:
            below(carried, complex(np.conj(now) / size), transformer.kva)
    return np.concatenate(rows), np.concatenate(low), np.concatenate(high)


def broken(feeder: PhaseFeeder, flow: PhaseFlow, tolerance: float = OUTSIDE_PU) -> NDArray[np.bool_]:
    """At which steps a power flow breaks a limit of a voltage, a line, its neutral, or the transformer, (T,)."""
    magnitude, used = flow.magnitude_pu, loading(feeder, flow)
    low = magnitude.min(axis=0) < feeder.voltage_min_pu - tolerance
    high = magnitude.max(axis=0) > feeder.voltage_max_pu + tolerance
    lines = np.nan_to_num(used.line).max(axis=0, initial=0.0) > 1 + tolerance
    result: NDArray[np.bool_] = low | high | lines | (used.transformer > 1 + tolerance)
    return result
