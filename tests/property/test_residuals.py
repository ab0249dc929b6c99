"""Residuals against a literal reading of `IVirtualAggregator` in fractions: any tree, books, integers and presence."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.market.admm.assembly import Assembly, Book, TreePlace
from gridpact.market.admm.residuals import Residuals, residuals_of

from .rounds import Iteration, books, iteration, places

seeds = st.integers(0, 2**32 - 1)


class Reading:
    """The interface's words, with x, S and c of a block, and d of a pair at a step, looked up by name."""

    def __init__(self, said: Mapping[int, TreePlace], listed: Mapping[int, Book], steps: int) -> None:
        self.said, self.listed, self.steps = said, listed, steps

    def held(self, node: int) -> list[tuple[str, int]]:
        mine = self.said[node]
        result = [("P", node), ("Q", node)] if mine.depth else []
        result += [("V", node)] if mine.depth and mine.children else []
        for child in mine.children:
            result += [("P", child), ("Q", child)]
        return result + ([("V", mine.parent)] if mine.depth > 1 else [])

    def x(self, of: Iteration, node: int, name: tuple[str, int], t: int) -> int:
        return int(of.copies[node][self.held(node).index(name)][t])

    def holders(self, of: Iteration, name: tuple[str, int]) -> list[int]:
        return [node for node in of.copies if name in self.held(node)]

    def s(self, of: Iteration, name: tuple[str, int], t: int) -> int:
        return sum(self.x(of, node, name, t) for node in self.holders(of, name))

    def d(self, of: Iteration, i: int, j: int, step: int) -> int:
        listed = [(partner, t) for partner, steps in self.listed[i].items() for t in steps]
        return int(of.bids[i][listed.index((j, step))])

    def block_counts(self, of: Iteration | None, node: int, name: tuple[str, int]) -> bool:
        return of is not None and node in of.copies and len(self.holders(of, name)) >= 2

    def bid_counts(self, of: Iteration | None, i: int, j: int) -> bool:
        mirrored = self.listed[j].get(i) == self.listed[i][j]
        return of is not None and i in of.copies and j in of.copies and mirrored

    def residuals(self, node: int, now: Iteration, before: Iteration | None) -> Residuals:
        r_grid = s_grid = 0
        for name in self.held(node):
            if not self.block_counts(now, node, name):
                continue
            c = len(self.holders(now, name))
            before_counts = before is not None and self.block_counts(before, node, name)
            c_before = len(self.holders(before, name)) if before_counts else 1
            r, s = Fraction(0), Fraction(0)
            for t in range(self.steps):
                sum_before = self.s(before, name, t) if before_counts else 0
                r += Fraction((c * self.x(now, node, name, t) - self.s(now, name, t)) ** 2, c**2)
                s += Fraction((c_before * self.s(now, name, t) - c * sum_before) ** 2, (c * c_before) ** 2)
            r_grid += ceil(r)
            s_grid += ceil(s)
        r_trade, s_trade = 0, Fraction(0)
        for j, steps in self.listed[node].items():
            for step in steps if self.bid_counts(now, node, j) else ():
                own, their = self.d(now, node, j, step), self.d(now, j, node, step)
                a_before = 0
                if before is not None and self.bid_counts(before, node, j):
                    a_before = self.d(before, node, j, step) - self.d(before, j, node, step)
                r_trade += (own + their) ** 2
                s_trade += Fraction((own - their - a_before) ** 2, 4)
        return Residuals(r_grid, s_grid, r_trade, ceil(s_trade))


@settings(max_examples=200)
@given(said=places(), steps=st.sampled_from([1, 3, 13]), data=st.data(), seed=seeds)
def test_residuals_areThoseOfTheInterface(
    said: dict[int, TreePlace], steps: int, data: st.DataObject, seed: int
) -> None:
    listed = data.draw(books([node for node in said if node], steps)) | {0: {}}
    assembly = Assembly(frozenset(said), said, listed, steps)
    present = st.one_of(st.just(set(said)), st.sets(st.sampled_from(sorted(said))))
    before = data.draw(st.none() | present.map(lambda nodes: iteration(assembly, nodes, seed)))
    now = iteration(assembly, data.draw(present), seed + 1)

    reading = Reading(said, listed, steps)
    closings = now.closing(assembly, 2), before.closing(assembly, 1) if before else None
    for node in said:
        expected = reading.residuals(node, now, before) if node in now.copies else Residuals(0, 0, 0, 0)
        copies = now.copies.get(node)
        if copies is None:  # what it holds does not matter
            copies = iteration(assembly, {node}, seed).copies[node]
        assert residuals_of(assembly, node, copies, *closings) == expected
