"""Agreement on the network: consensus z and duals y of one node, eqs. (16b), (16c), (23) and (24b).

Two forms (see `NetworkAgreement`), one interface:

- `NeighbourConsensus`, the report's: z is the average of the copies, all nodes solve at the same time.
- `StarMember` and `StarCentre`: the households solve, the grid operator's node hears their sums and answers with the
  nearest injections that the network can carry, and its answer is z. Two blocks that take turns converge in about half
  the iterations of two blocks that are averaged, and z always keeps the network's limits.

Whatever two nodes must know alike is computed from public integers by the same operations in the same order, so it is
bit-identical at both. Arrays over coupling variables have shape (blocks, T).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridpact.admm.parameters import OVER_RELAXATION, Penalties, Resolution
from gridpact.community.model import Array
from gridpact.market.blocks import Kind, blocks
from gridpact.market.scenario import NetworkAgreement
from gridpact.market.view import NodeView

Integers = NDArray[np.int64]


def consensus_of(view: NodeView, penalties: Penalties, resolution: Resolution) -> Consensus:
    """The form of consensus that a node takes part in."""
    if not view.scenario.has_network or view.agreement is NetworkAgreement.NEIGHBOURS:
        return NeighbourConsensus(view, penalties, resolution)
    return (StarCentre if view.is_root else StarMember)(view, penalties, resolution)


class Consensus:
    """What a node and those it shares variables with have agreed on so far.

    Attributes:
        value: z, kW, kvar, or p.u. squared less 1.
        dual: y, currency per unit of z.
    """

    answers_others = False
    """Whether this node waits for the sums of all others before it solves."""

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        self.view = view
        self.blocks = blocks(view.node, view.parent, view.children, view.depth)
        self.rho = penalties.of_blocks(view)[:, None]
        self.unit = np.array([resolution.of(block.kind) for block in self.blocks])[:, None]
        self.value: Array = np.zeros((len(self.blocks), view.steps))
        self.dual: Array = np.zeros((len(self.blocks), view.steps))

    def linear(self) -> Array:
        """Linear term a of the x-step: a . x + rho/2 x . x is y . (x - z) + rho/2 |x - z|^2 up to a constant."""
        return self.dual - self.rho * self.value

    def to_integers(self, copies: Array) -> Integers:
        """Copies in resolution units, rounded to the nearest: what goes on the chain."""
        integers: Integers = np.rint(copies / self.unit).astype(np.int64)
        return integers

    def update(self, own: Integers, sums: Integers, counts: Integers) -> tuple[int, int]:
        """Takes in the sums of a closed iteration.

        Args:
            own: what this node submitted.
            sums: sums of all copies of its blocks, the node's own included.
            counts: how many copies are in each sum, (blocks,).

        Returns:
            The node's partial residuals, sums of squares in resolution units squared: primal sum (x - z)^2 and dual
            sum (z - z_prev)^2 over its copies.
        """
        raise NotImplementedError


class NeighbourConsensus(Consensus):
    """General-form consensus between neighbours, over-relaxed. z stays as it was where no copy arrived.

    In G, y of an active power starts at 0.75 kappa, between feed-in and import: minus at the line's own node, which
    sends it, plus at the parent, which receives it.
    """

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        super().__init__(view, penalties, resolution)
        if not view.scenario.has_contracts:
            worth = 0.75 * view.step_hours * view.prices.import_price
            for row, block in enumerate(self.blocks):
                if block.kind is Kind.P:
                    self.dual[row] = -worth if block.node == view.node else worth

    def update(self, own: Integers, sums: Integers, counts: Integers) -> tuple[int, int]:
        before, some = self.value, counts[:, None] > 0
        mean = np.where(some, sums / np.maximum(counts, 1)[:, None], before / self.unit)
        relaxed = OVER_RELAXATION * (own * self.unit) + (1 - OVER_RELAXATION) * before
        self.value = OVER_RELAXATION * (mean * self.unit) + (1 - OVER_RELAXATION) * before  # (23)
        self.dual = self.dual + np.where(some, self.rho * (relaxed - self.value), 0.0)  # (24b)
        return squares(own - mean), squares((self.value - before) / self.unit)


class _Star(Consensus):
    """What a household and the grid operator's node do alike: y <- y + rho (x_relaxed - z).

    x is the household's wish, z the operator's answer. The dual here is the household's; the operator's is its
    negative. Before the first answer there is no z to relax towards, and y is set by `_first_dual` from x.
    """

    heard = False
    """Whether a first wish has been heard."""

    def _first_dual(self, wishes: Array) -> Array:
        """y to begin with: in G an injection is worth the price that it saves or earns at node 0, else nothing."""
        dual = np.zeros_like(wishes)
        if not self.view.scenario.has_contracts:
            prices = self.view.prices
            worth = np.where(wishes[0::2] < 0, prices.import_price, prices.feed_in_price)
            dual[0::2] = -self.view.step_hours * worth
        return dual

    def _relaxed(self, wishes: Array) -> Array:
        return OVER_RELAXATION * wishes + (1 - OVER_RELAXATION) * self.value if self.heard else wishes

    def _take(self, wishes: Array, answers: Array, both: NDArray[np.bool_]) -> tuple[int, int]:
        """Dual update where both the wish and the answer arrived, `both` (blocks, 1)."""
        before, dual = self.value, self.dual if self.heard else self._first_dual(wishes)
        relaxed = self._relaxed(wishes)
        self.dual = np.where(both, dual + self.rho * (relaxed - answers), self.dual)
        self.value = np.where(both, answers, before)
        self.heard = True
        return squares(np.where(both, wishes - answers, 0.0) / self.unit), squares((self.value - before) / self.unit)


class StarMember(_Star):
    """A household in the star. It starts from what it would do on its own."""

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        super().__init__(view, penalties, resolution)
        assert view.household is not None
        self.value = np.stack([-view.household.net_load_kw, -view.household.load_kvar])
        self.dual = self._first_dual(self.value)

    def update(self, own: Integers, sums: Integers, counts: Integers) -> tuple[int, int]:
        return self._take(own * self.unit, (sums - own) * self.unit, counts[:, None] == 2)


class StarCentre(_Star):
    """The grid operator's node: hears all wishes, then answers."""

    answers_others = True

    def hear(self, wishes: Integers, present: NDArray[np.bool_]) -> None:
        """Takes the households' copies of the open iteration; those of absent ones stay at the last answer.

        Args:
            wishes: sums before this node's own submission, (blocks, T).
            present: whether the copy is there, (blocks,).
        """
        self._wishes = np.where(present[:, None], wishes * self.unit, self.value)

    def linear(self) -> Array:
        """The operator minimises g(z) - y . z + rho/2 |x_relaxed - z|^2."""
        dual = self.dual if self.heard else self._first_dual(self._wishes)
        return -dual - self.rho * self._relaxed(self._wishes)

    def update(self, own: Integers, sums: Integers, counts: Integers) -> tuple[int, int]:
        return self._take((sums - own) * self.unit, own * self.unit, counts[:, None] == 2)


def squares(values: Array | Integers) -> int:
    """Sum of squares, rounded up: no residual is reported smaller than it is."""
    return int(np.ceil(np.sum(np.asarray(values, dtype=float) ** 2)))
