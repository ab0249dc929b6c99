"""Agreement on the network: consensus z and duals y of one node, eqs. (16b), (16c), (23) and (24b).

Two forms (see `NetworkAgreement`), one interface:

- `NeighbourConsensus`, the report's: z is the average of the copies, all nodes solve at the same time.
- `StarMember` and `StarCentre`: the households solve, the grid operator's node hears their sums and answers with the
  nearest injections that the network can carry, and its answer is z. Two blocks that take turns converge in about half
  the iterations of two blocks that are averaged, and z always keeps the network's limits.

Whatever two nodes must know alike is computed from public integers by the same operations in the same order, so it is
bit-identical at both, and after a restart. Where a node or its counterpart was absent, z and y stay as they were.
Arrays over coupling variables have shape (blocks, T).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from gridpact.community.model import Array, Feeder
from gridpact.limits import MOST_BID
from gridpact.market.admm.assembly import Integers, Mask
from gridpact.market.admm.parameters import Balancing, Penalties, Resolution
from gridpact.market.admm.reach import Bounds, copies_that_fit
from gridpact.market.admm.voltages import near_limits
from gridpact.problem.blocks import Block, Kind, blocks
from gridpact.problem.scenario import NetworkAgreement
from gridpact.problem.view import NodeView

MOST_CREDIBLE = 3.0
"""A first wish of a household that is out since: up to so many times what the others wish for at most, in the median,
so that few who are out together do not vouch for each other."""

Form = TypeVar("Form", bound="Consensus")
StarForm = TypeVar("StarForm", bound="_Star")


def consensus_of(
    view: NodeView, penalties: Penalties, resolution: Resolution, beyond: Mapping[int, int] | None = None
) -> Consensus:
    """The form of consensus that a node takes part in.

    Args:
        beyond: how many households are at the end of a line and beyond it, by its node; between neighbours.
    """
    if not view.scenario.has_network or view.agreement is NetworkAgreement.NEIGHBOURS:
        return NeighbourConsensus(view, penalties, resolution, beyond)
    return (StarCentre if view.is_root else StarMember)(view, penalties, resolution)


def largest_kw(resolution: Resolution) -> float:
    """What the largest household of a community can take or give, kW, kvar: what a bid carries at most, see
    `Resolution.carrying`. What is wished beyond that moves nobody."""
    return MOST_BID * max(resolution.power_kw, Resolution.power_kw)


class Consensus:
    """What a node and those it shares variables with have agreed on so far.

    Attributes:
        value: z, kW, kvar, or p.u. squared less 1.
        dual: y, currency per unit of z.
        rho: its penalty, currency per unit of z squared.
    """

    answers_others = False
    """Whether this node waits for the sums of all others before it solves."""

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        self.view = view
        self._penalties, self._resolution = penalties, resolution
        self.blocks = blocks(view.node, view.parent, view.children, view.depth)
        self.rho: Array = np.repeat(penalties.of_blocks(view)[:, None], view.steps, axis=1)
        self.unit = np.array([resolution.of(block.kind) for block in self.blocks])[:, None]
        self.value: Array = np.zeros((len(self.blocks), view.steps))
        self.dual: Array = np.zeros((len(self.blocks), view.steps))

    def linear(self, relaxation: float) -> Array:
        """Linear term a of the x-step: a . x + rho/2 x . x is y . (x - z) + rho/2 |x - z|^2 up to a constant.

        Args:
            relaxation: alpha of this iteration, see `relaxation_at`.
        """
        return self.dual - self.rho * self.value

    def to_integers(self, copies: Array, bounds: Bounds | None = None) -> Integers:
        """Copies in resolution units, to the nearest that is within bounds: what goes on the chain.

        Args:
            bounds: what is within reach; without them what fits the lanes.
        """
        return (bounds or copies_that_fit(self.blocks)).nearest(copies / self.unit)

    def update(self, own: Integers, sums: Integers, counts: Integers, relaxation: float) -> None:
        """Takes in the sums of a closed iteration in which this node was present.

        Args:
            own: what this node submitted.
            sums: sums of all copies of its blocks, the node's own included.
            counts: how many copies are in each sum, (blocks,).
            relaxation: alpha of the iteration.
        """
        raise NotImplementedError

    def hear(self, wishes: Integers, present: Mask) -> None:
        """Takes the others' copies of the open iteration, where `answers_others`.

        Args:
            wishes: sums before this node's own submission, (blocks, T).
            present: whether the copy is there, (blocks,).
        """

    def keep_to_needs(self, flow: Callable[[Block], Integers]) -> None:
        """Keeps prices of voltages, between neighbours, to what limits can ask for.

        Args:
            flow: what the two ends of a line say that flows on it, on average, resolution units, (T,).
        """

    def flows_without(self, gone: frozenset[int]) -> dict[Block, Array]:
        """P and Q between this node and nodes that are out, (T,) each: they stay as they were agreed last."""
        return {
            block: self.value[row]
            for row, block in enumerate(self.blocks)
            if block.kind is not Kind.V and block.node in gone
        }

    def anew(self: Form, proved: frozenset[int]) -> Form:
        """The same before anything was agreed, after nodes were proved false."""
        return type(self)(self.view, self._penalties, self._resolution)

    def resume(self: Form, before: Form, first: int) -> None:
        """Goes on where a negotiation stood whose steps from one on are these."""
        self.value, self.dual = before.value[:, first:], before.dual[:, first:]


class NeighbourConsensus(Consensus):
    """General-form consensus between neighbours, over-relaxed.

    In G, y of an active power starts half way between feed-in and import: minus at the line's own node, which
    sends it, plus at the parent, which receives it.

    A copy of a flow counts up to what the largest households could take or give, as many as are beyond the line.

    Args:
        beyond: see `consensus_of`; None: all that fits counts.
    """

    def __init__(
        self,
        view: NodeView,
        penalties: Penalties,
        resolution: Resolution,
        beyond: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__(view, penalties, resolution)
        self._beyond = beyond
        carried = [
            np.iinfo(np.int64).max if block.kind is Kind.V or beyond is None
            else int(beyond[block.node] * largest_kw(resolution) / resolution.power_kw)
            for block in self.blocks
        ]  # fmt: skip
        self._most_units = np.array(carried, dtype=np.int64).reshape(-1, 1)
        if not view.scenario.has_contracts:
            worth = view.step_hours * view.prices.middle
            for row, block in enumerate(self.blocks):
                if block.kind is Kind.P:
                    self.dual[row] = -worth if block.node == view.node else worth

    def anew(self, proved: frozenset[int]) -> NeighbourConsensus:
        return NeighbourConsensus(self.view, self._penalties, self._resolution, self._beyond)

    def update(self, own: Integers, sums: Integers, counts: Integers, relaxation: float) -> None:
        before, counted = self.value, counts[:, None] >= 2
        others = np.clip(sums - own, -self._most_units, self._most_units)  # of a flow one copy
        own = np.clip(own, -self._most_units, self._most_units)
        sums = own + others
        mean = sums / np.maximum(counts, 1)[:, None] * self.unit
        relaxed = relaxation * (own * self.unit) + (1 - relaxation) * before
        value = relaxation * mean + (1 - relaxation) * before  # (23)
        self.dual = np.where(counted, self.dual + self.rho * (relaxed - value), self.dual)  # (24b)
        self.value = np.where(counted, value, before)

    def keep_to_needs(self, flow: Callable[[Block], Integers]) -> None:
        """Who holds its parent's voltage may want it higher where it, or one beneath it, comes near the lower limit,
        and lower near the upper one: so y of that copy has no other sign, and y of the parent's own copy the contrary
        of what its children may want."""
        rows = [row for row, block in enumerate(self.blocks) if block.kind is Kind.V]
        if not rows or not self.view.lines or not isinstance(self.view.feeder, Feeder):
            return
        most = largest_kw(self._resolution)

        def credible_kw(block: Block) -> Array:
            carried = most * (self._beyond or {}).get(block.node, 1)
            return np.clip(flow(block) * self._resolution.power_kw, -carried, carried)

        near = near_limits(replace(self.view.feeder, lines=self.view.lines), credible_kw)
        for row in rows:
            is_own = self.blocks[row].node == self.view.node
            below = self.view.children if is_own else (self.view.node,)
            low, high = (np.any([near[node][side] for node in below], axis=0) for side in (0, 1))
            sign = -1.0 if is_own else 1.0  # of a wish that it be higher
            self.dual[row] = sign * np.clip(
                sign * self.dual[row], np.where(high, -np.inf, 0.0), np.where(low, np.inf, 0.0)
            )


class _Star(Consensus):
    """What a household and the grid operator's node do alike: y <- y + rho (x_relaxed - z).

    x is the household's wish, z the operator's answer. The dual here is the household's; the operator's is its
    negative. Before the first answer there is no z to relax towards, and y is set by `_first_dual` from x.

    Both balance rho, for each household and step, by the residuals of the two between them (see `Balancing`).

    A wish counts up to what the largest household of the community can take or give.
    """

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        super().__init__(view, penalties, resolution)
        self.heard: Mask = np.zeros((len(self.blocks), 1), dtype=bool)  # blocks with a first wish and answer
        self._most = self.rho
        self._largest = largest_kw(resolution)
        self._balancing = Balancing.of(view)
        self.rho = self._balancing.least * self._most
        self._apart: Array = np.zeros_like(self.value)  # x - z, and the change of z, of the iteration before
        self._moved: Array = np.zeros_like(self.value)

    def resume(self: StarForm, before: StarForm, first: int) -> None:
        super().resume(before, first)
        self.rho = (before.rho / before._most)[:, first:] * self._most
        self.heard = before.heard
        self._apart, self._moved = before._apart[:, first:], before._moved[:, first:]

    def _first_dual(self, wishes: Array) -> Array:
        """y to begin with: in G an injection is worth the price that it saves or earns at node 0, else nothing."""
        dual = np.zeros_like(wishes)
        if not self.view.scenario.has_contracts:
            prices = self.view.prices
            worth = np.where(wishes[0::2] < 0, prices.bought_price, prices.feed_in_price)
            dual[0::2] = -self.view.step_hours * worth
        return dual

    def _credible(self, wishes: Array) -> Array:
        return np.minimum(np.maximum(wishes, -self._largest), self._largest)

    def _relaxed(self, wishes: Array, relaxation: float) -> Array:
        return np.where(self.heard, relaxation * wishes + (1 - relaxation) * self.value, wishes)

    def _take(self, wishes: Array, answers: Array, counted: Mask, relaxation: float) -> None:
        """Dual update where both the wish and the answer arrived."""
        dual = np.where(self.heard, self.dual, self._first_dual(wishes))
        relaxed = self._relaxed(wishes, relaxation)
        dual = dual + self.rho * (relaxed - answers)
        self.dual = np.where(counted, dual, self.dual)
        apart = np.where(self._balancing.free, relaxed, wishes) - answers
        moved = answers - self.value
        balanced = self._balanced((apart + self._apart) / 2, (moved + self._moved) / 2)
        self.rho = np.where(counted & self.heard, balanced, self.rho)
        self._apart = np.where(counted & self.heard, apart, self._apart)
        self._moved = np.where(counted & self.heard, moved, self._moved)
        self.value = np.where(counted, answers, self.value)
        self.heard = self.heard | counted

    def _balanced(self, apart: Array, moved: Array) -> Array:
        """rho for the next iteration, from x - z and the change of z."""
        by, level = self._balancing, self.rho / self._most

        def size(change: Array) -> Array:
            """Of P and Q of a household together, resolution units, repeated for both."""
            squares = ((change / self.unit) ** 2).reshape(-1, 2, change.shape[1]).sum(axis=1)
            return np.repeat(np.sqrt(squares), 2, axis=0)

        primal, dual = size(apart), size(moved)
        more = (primal > by.apart * level * dual) & (primal > by.smallest)
        price = self.dual[0::2] / (self.view.step_hours * self.view.prices.mean_import)
        weighted = np.repeat(by.weight(price), 2, axis=0) * level * dual
        less = (weighted > by.apart * primal) & (dual >= by.smallest)
        level = np.where(more, level * by.factor, np.where(less, level / by.factor, level))
        return np.minimum(np.maximum(level, by.least), by.most) * self._most


class StarMember(_Star):
    """A household in the star. It starts from what it would do on its own."""

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        super().__init__(view, penalties, resolution)
        assert view.household is not None
        self.value = np.stack([-view.household.net_load_kw, -view.household.first_kvar])
        self.dual = self._first_dual(self.value)

    def update(self, own: Integers, sums: Integers, counts: Integers, relaxation: float) -> None:
        self._take(self._credible(own * self.unit), (sums - own) * self.unit, counts[:, None] == 2, relaxation)


class StarCentre(_Star):
    """The grid operator's node: hears the wishes, then answers."""

    answers_others = True

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        super().__init__(view, penalties, resolution)
        self._alone: Array = np.zeros((len(self.blocks), view.steps))  # first wishes
        self._known: Mask = np.zeros((len(self.blocks), 1), dtype=bool)

    def resume(self, before: StarCentre, first: int) -> None:
        super().resume(before, first)
        self._alone, self._known = before._alone[:, first:], before._known

    def hear(self, wishes: Integers, present: Mask) -> None:
        """Who is absent is taken to do what was answered to it last."""
        credible = self._credible(wishes * self.unit)
        self.wishes = np.where(present[:, None], credible, self.value)
        self._learn(credible, present[:, None])

    def linear(self, relaxation: float) -> Array:
        """The operator minimises g(z) - y . z + rho/2 |x_relaxed - z|^2."""
        dual = np.where(self.heard, self.dual, self._first_dual(self.wishes))
        return -dual - self.rho * self._relaxed(self.wishes, relaxation)

    def update(self, own: Integers, sums: Integers, counts: Integers, relaxation: float) -> None:
        wishes, both = self._credible((sums - own) * self.unit), counts[:, None] == 2
        self._learn(wishes, both)
        self._take(wishes, own * self.unit, both, relaxation)

    def _learn(self, wishes: Array, present: Mask) -> None:
        """Keeps the first wish of each household: what it would do on its own."""
        self._alone = np.where(present & ~self._known, wishes, self._alone)
        self._known = self._known | present

    def anew(self, proved: frozenset[int]) -> StarCentre:
        """It remembers the first wishes, but those of who was false."""
        fresh = super().anew(proved)
        forgotten = np.array([block.node in proved for block in self.blocks], dtype=bool).reshape(-1, 1)
        fresh._alone, fresh._known = self._alone, self._known & ~forgotten
        return fresh

    def flows_without(self, gone: frozenset[int]) -> dict[Block, Array]:
        """What nodes that are out, and households of the feeder that never were in, are taken to do on their own."""
        assert self.view.feeder is not None
        missing = [block for block in self.blocks if block.node in gone]
        outside = [Block(kind, node) for node in self.view.feeder.nodes for kind in (Kind.P, Kind.Q)]
        missing += [block for block in outside if block not in self.blocks]
        return {block: self.expected(block.node, gone)[block.kind] for block in missing}

    def expected(self, node: int | None, gone: frozenset[int] = frozenset()) -> Array:
        """P and Q, (2, T), that a household without agreement is taken to draw: its first wish, which it made on its
        own. It falls back on a plan that nobody else knows. Of one that was never heard, or whose first wish is not
        credible beside those who are still there, the average of these.

        Args:
            gone: who is out.
        """
        first, known = self._alone.reshape(-1, 2, self.view.steps), self._known[0::2, 0]
        nodes = [block.node for block in self.blocks[0::2]]
        itself = known & np.array([one == node for one in nodes], dtype=bool)
        there = known & np.array([one != node and one not in gone for one in nodes], dtype=bool)
        if not there.any():
            return first[itself][0] if itself.any() else np.zeros((2, self.view.steps))
        largest = np.abs(first).max(axis=(1, 2))
        if itself.any() and largest[itself][0] <= MOST_CREDIBLE * np.median(largest[there]):
            own: Array = first[itself][0]
            return own
        average: Array = np.mean(first[there], axis=0)
        return average
