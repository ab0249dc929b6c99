"""What adversaries do in a round: what they submit, claim and declare, alone and in league."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridpact.community.model import Array, Prices
from gridpact.errors import GridpactError
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.assembly import Closing, Integers
from gridpact.market.admm.reach import BIAS, Reach, agreed_bids, centre_of_copies
from gridpact.market.admm.residuals import Residuals
from gridpact.market.admm.trades import bid_steps
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.coefficients import Partner
from gridpact.problem.view import NodeView

Random = np.random.Generator


@dataclass(frozen=True)
class Moment:
    """What an adversary knows when it acts: all that is public, and what an honest node in its place would say."""

    milliwatt: int  # resolution
    agent: Agent
    honest: IntegerSubmission
    before: Closing | None
    iteration: int
    random: Random
    league: frozenset[int] = frozenset()  # adversaries that know of each other, this one among them


Act = Callable[[Moment], IntegerSubmission | None]
"""What an adversary submits; None where it is silent."""


def _lanes(agent: Agent, value: Callable[[Integers], Integers | Array]) -> Integers:
    """Copies from the highest number that fits each lane, (blocks, 1)."""
    top = np.array([BIAS[block.kind] - 1 for block in agent.blocks], dtype=np.int64).reshape(-1, 1)
    return np.broadcast_to(value(top), (len(agent.blocks), agent.view.steps)).astype(np.int64)


def _with(now: Moment, copies: Integers | None = None, bids: Integers | None = None) -> IntegerSubmission:
    return IntegerSubmission(now.honest.copies if copies is None else copies, now.honest.bids if bids is None else bids)


def _all_bids(now: Moment, value: int) -> Integers:
    return np.full(len(now.honest.bids), value, dtype=np.int64)


def _random_bids(now: Moment) -> Integers:
    return now.random.integers(-(2**15), 2**15, len(now.honest.bids))


def _random_copies(now: Moment) -> Integers:
    top = _lanes(now.agent, lambda top: top)
    return now.random.integers(-top - 1, top + 1)


def _one_partner(now: Moment) -> IntegerSubmission:
    """Anything to one partner, honest to the others."""
    bids = now.honest.bids.copy()
    if now.agent.view.partners:
        count = len(now.agent.view.partners[0].steps)
        bids[:count] = now.random.integers(-(2**15), 2**15, count)
    return _with(now, bids=bids)


def _greedy(sign: int) -> Act:
    """As far from what was agreed as reach allows, always to the same side."""

    def act(now: Moment) -> IntegerSubmission:
        if now.before is None:
            return now.honest
        agent, closing = now.agent, now.before
        reach, age = Reach(now.milliwatt), max(agent.iteration + 1 - agent.disturbed, 1)
        copies, bids = now.honest.copies, now.honest.bids
        if (far := reach.of_copies(age)) is not None and len(agent.blocks):
            centre, counted = centre_of_copies(agent.assembly, agent.view.node, closing)
            copies = np.where(counted, centre + sign * far, copies)
            copies = np.clip(copies, _lanes(agent, lambda top: -top - 1), _lanes(agent, lambda top: top))
        if (far := reach.of_bids(age)) is not None and len(bids):
            centre, counted = agreed_bids(agent.assembly, agent.view.node, closing)
            bids = np.clip(np.where(counted, centre + sign * far, bids), -(2**15) + 1, 2**15 - 1)
        return IntegerSubmission(copies, bids)

    return act


def _voltage(sign: int) -> Act:
    """Wants the voltages that it shares ever higher or lower, as far as reach allows, and is honest otherwise."""
    greedy = _greedy(sign)

    def act(now: Moment) -> IntegerSubmission:
        voltages = np.array([block.kind is Kind.V for block in now.agent.blocks], dtype=bool).reshape(-1, 1)
        extreme = greedy(now)
        assert extreme is not None
        return _with(now, np.where(voltages, extreme.copies, now.honest.copies))

    return act


def _contrary(now: Moment) -> IntegerSubmission:
    """Wants of every partner what that partner wants of it."""
    if now.before is None or not len(now.honest.bids):
        return now.honest
    return _with(now, bids=now.agent.assembly.bids(now.before, now.agent.view.node).theirs)


def _agreeable(now: Moment) -> IntegerSubmission:
    """Takes whatever its partners offer, at any price, and wishes for nothing itself."""
    if now.before is None or not len(now.honest.bids):
        return now.honest
    return _with(now, bids=-now.agent.assembly.bids(now.before, now.agent.view.node).theirs)


def _insisting(kw: float) -> Act:
    """The same power at every step, whatever the price, from all partners together and from the network."""

    def act(now: Moment) -> IntegerSubmission:
        agent, units = now.agent, round(kw * 1e6 / now.milliwatt)
        own = [block.kind is Kind.P and block.node == agent.view.node for block in agent.blocks]
        copies = np.where(np.array(own, dtype=bool).reshape(-1, 1), units, now.honest.copies)
        partners = max(len(agent.view.partners), 1)
        return IntegerSubmission(copies.astype(np.int64), _all_bids(now, units // partners))

    return act


def _half_insisting(kw: float) -> Act:
    """Half of what it would honestly say, and half of that: it seems to come to terms, and never does."""

    def act(now: Moment) -> IntegerSubmission:
        extreme = _insisting(kw)(now)
        assert extreme is not None
        return IntegerSubmission((now.honest.copies + extreme.copies) // 2, (now.honest.bids + extreme.bids) // 2)

    return act


def _changed(change: Callable[[Integers, Moment], Integers]) -> Act:
    """What it would honestly say, changed, as far as that fits."""

    def act(now: Moment) -> IntegerSubmission:
        low, high = _lanes(now.agent, lambda top: -top - 1), _lanes(now.agent, lambda top: top)
        copies = np.clip(change(now.honest.copies, now), low, high)
        return IntegerSubmission(copies, np.clip(change(now.honest.bids, now), -(2**15), 2**15 - 1))

    return act


def _first_step_only(now: Moment) -> IntegerSubmission:
    """As much as fits at one step, honest at all others."""
    copies, bids = now.honest.copies.copy(), now.honest.bids.copy()
    copies[:, :1] = _lanes(now.agent, lambda top: top)[:, :1]
    bids[bid_steps(now.agent.view) == now.agent.view.steps // 2] = 2**15 - 1
    return IntegerSubmission(copies, bids)


def _reactive(now: Moment) -> IntegerSubmission:
    """As much reactive power as fits."""
    reactive = np.array([block.kind is Kind.Q for block in now.agent.blocks], dtype=bool).reshape(-1, 1)
    return _with(now, np.where(reactive, _lanes(now.agent, lambda top: top), now.honest.copies))


def _stubborn(now: Moment) -> IntegerSubmission:
    """Repeats the bids that it made first."""
    if now.before is None or not len(now.honest.bids):
        return now.honest
    return _with(now, bids=now.agent.assembly.bids(now.before, now.agent.view.node).own)


LEAST_DRAG = 160
"""Units by which bids of a league do not meet: as much as it takes, and no more, lasts longest."""


def _drags_on(now: Moment) -> IntegerSubmission:
    """Two agree with each other on as much as fits, and take it back as slowly as holds the round up: within their
    reach as long as there is any, then one of them by less and less at one step after the other."""
    agent, partners = now.agent, sorted(now.league & now.agent.assembly.book(now.agent.view.node).keys())
    if now.before is None or not partners or not len(now.honest.bids):
        return now.honest
    node, bids, assembly = agent.view.node, now.honest.bids.copy(), agent.assembly
    far = Reach(now.milliwatt).of_bids(max(agent.iteration + 1 - agent.disturbed, 1))
    agreed, counted = agreed_bids(assembly, node, now.before)
    for partner in partners:
        part = assembly.part(node, partner)
        sign, centre = (1 if node < partner else -1), np.where(counted, agreed, 0)[part]
        if far is None or far >= LEAST_DRAG:
            said = centre + sign * (far or 0) if far is None or now.iteration % 2 == (sign > 0) else centre
        else:
            said = centre.copy()
            left = np.flatnonzero(np.abs(said) > LEAST_DRAG)
            if sign < 0 and len(left):
                said[left[0]] += LEAST_DRAG
        bids[part] = np.clip(said, -(2**15) + 1, 2**15 - 1)
    return _with(now, bids=bids)


def _noise(values: Integers, now: Moment) -> Integers:
    return values + now.random.integers(-round(5e4 / now.milliwatt), round(5e4 / now.milliwatt) + 1, values.shape)


def _whole_kilowatts(values: Integers, now: Moment) -> Integers:
    unit = round(1e6 / now.milliwatt)
    return (values + unit // 2) // unit * unit


def _silent_from(first: int) -> Act:
    return lambda now: None if now.iteration >= first else now.honest


def _rude_then_silent(now: Moment) -> IntegerSubmission | None:
    return IntegerSubmission(_random_copies(now), _random_bids(now)) if now.iteration == 1 else None


SUBMISSIONS: dict[str, Act] = {
    "honest": lambda now: now.honest,
    "copies as high as fits": lambda now: _with(now, _lanes(now.agent, lambda top: top)),
    "copies as low as fits": lambda now: _with(now, _lanes(now.agent, lambda top: -top - 1)),
    "copies that swing": lambda now: _with(now, _lanes(now.agent, lambda top: top * (-1) ** now.iteration)),
    "random copies": lambda now: _with(now, _random_copies(now)),
    "copies of 30 kW": lambda now: _with(now, _lanes(now.agent, lambda top: np.minimum(60_000, top))),
    "bids as high as fits": lambda now: _with(now, bids=_all_bids(now, 2**15 - 1)),
    "bids as low as fits": lambda now: _with(now, bids=_all_bids(now, -(2**15))),
    "bids that swing": lambda now: _with(now, bids=_all_bids(now, (2**15 - 1) * (-1) ** now.iteration)),
    "random bids": lambda now: _with(now, bids=_random_bids(now)),
    "random bids to one partner": _one_partner,
    "bids that contradict": _contrary,
    "random copies and bids": lambda now: IntegerSubmission(_random_copies(now), _random_bids(now)),
    "greedy, giving": _greedy(1),
    "greedy, taking": _greedy(-1),
    "wants voltages higher": _voltage(1),
    "wants voltages lower": _voltage(-1),
    "agrees to anything": _agreeable,
    "insists on taking 3 kW": _insisting(-3.0),
    "insists on giving 3 kW": _insisting(3.0),
    "half insists on taking 6 kW": _half_insisting(-6.0),
    "half insists on giving 6 kW": _half_insisting(6.0),
    "silent": _silent_from(1),
    "silent after a while": _silent_from(4),
    "random, then silent": _rude_then_silent,
    "misses one": lambda now: None if now.iteration == 5 else now.honest,
    "sign turned": _changed(lambda values, now: -values),
    "three times as much": _changed(lambda values, now: 3 * values),
    "a kilowatt more": _changed(lambda values, now: values + round(1e6 / now.milliwatt)),
    "50 W of noise": _changed(_noise),
    "whole kilowatts": _changed(_whole_kilowatts),
    "as high as fits at one step": _first_step_only,
    "reactive power as high as fits": _reactive,
    "the first bids for ever": _stubborn,
    "misses every third": lambda now: None if now.iteration % 3 == 0 else now.honest,
    "random every fifth": lambda now: (
        now.honest if now.iteration % 5 else IntegerSubmission(_random_copies(now), _random_bids(now))
    ),
    "honest, then random": lambda now: (
        now.honest if now.iteration < 12 else IntegerSubmission(_random_copies(now), _random_bids(now))
    ),
}


def _most_with_a_partner(now: Moment) -> IntegerSubmission:
    """Two sell each other as much as fits, which neither has."""
    agent, bids = now.agent, now.honest.bids.copy()
    book = agent.assembly.book(agent.view.node)
    for partner in now.league & book.keys():
        bids[agent.assembly.part(agent.view.node, partner)] = (2**15 - 1) * (1 if agent.view.node < partner else -1)
    return _with(now, bids=bids[: len(now.honest.bids)])


NO_REACH = 137
"""An iteration from which on it can be proved that bids reach nothing, where nobody was missing before."""

LEAGUE: dict[str, Act] = {
    "beyond reach where there is none": lambda now: (
        now.honest if now.iteration < NO_REACH else _with(now, bids=_random_bids(now))
    ),
    "drags on with a partner": _drags_on,
    "sells a partner all that fits": _most_with_a_partner,
}
"""What two do together, who know of each other."""

ACTS = {**SUBMISSIONS, **LEAGUE}


class HostileAgent(Agent):
    """Says what its kind says.

    Attributes:
        silent: whether it says nothing in this iteration, whatever `solve` returns.
    """

    kind = "honest"
    league: frozenset[int] = frozenset()
    random = np.random.default_rng(0)
    silent = False

    def solve(self, running: Mapping[Block, Integers] | None = None) -> IntegerSubmission:
        try:
            honest = super().solve(running)
        except GridpactError:
            shape = len(self.blocks), self.view.steps
            honest = IntegerSubmission(np.zeros(shape, np.int64), np.zeros(self.view.bid_count, np.int64))
        milliwatt = self._resolution.on_chain()[0]
        sent = ACTS[self.kind](
            Moment(milliwatt, self, honest, self._before, self.iteration + 1, self.random, self.league)
        )
        self.silent = sent is None
        return honest if sent is None else sent


CLAIMS: dict[str, Callable[[Residuals, Random], Residuals]] = {
    "true claims": lambda true, random: true,
    "claims nothing": lambda true, random: Residuals(0, 0, 0, 0),
    "claims one more": lambda true, random: replace(true, primal_trade=true.primal_trade + 1),
    "claims anything": lambda true, random: Residuals(*random.integers(0, 2**50, 4).tolist()),
}

Supplies = Callable[[Prices], Prices | None]
"""The tariff of an adversary's own supplier, of the community's; None where it publishes none."""


def _asks(prices: Callable[[Array, Array], tuple[Array, Array]]) -> Supplies:
    """Import and feed-in price, of the community's."""

    def supplies(usual: Prices) -> Prices:
        imported, fed_in = prices(usual.import_price, usual.feed_in_price)
        return replace(usual, import_price=imported, own_feed_in_price=fed_in)

    return supplies


def _every_second(price: Array, other: Array) -> Array:
    return np.where(np.arange(len(price)) % 2, price, other)


ABSURD = 2000.0
"""Currency/kWh: next to the most that a tariff can say."""
USUAL_SUPPLIER = "the community's supplier"
SUPPLIERS: dict[str, Supplies] = {
    "its supplier asks 2,000": _asks(lambda buy, sell: (buy + ABSURD, sell)),
    "its supplier pays and asks 2,000": _asks(lambda buy, sell: (buy + ABSURD, buy + ABSURD)),
    "its supplier takes 2,000 for what is fed in": _asks(lambda buy, sell: (buy, sell - ABSURD)),
    "its supplier pays 2,000 for what is drawn": _asks(lambda buy, sell: (buy - ABSURD, sell - ABSURD)),
    "its supplier gives for next to nothing": _asks(lambda buy, sell: (0 * buy + 1e-3, 0 * sell)),
    "its supplier pays what others ask": _asks(lambda buy, sell: (2 * buy, buy)),
    "its supplier asks what others pay": _asks(lambda buy, sell: (sell, 0.5 * sell)),
    "its supplier crosses others now and then": _asks(lambda buy, sell: (3 * buy, _every_second(2 * buy, sell))),
    "its supplier pays more than it asks": _asks(lambda buy, sell: (sell, buy)),
    "its supplier publishes nothing": lambda usual: None,
}
"""Suppliers in league with a customer. The others are customers of the community's."""

HONEST_PLACE, PLACELESS = "true declaration", "root of its own"
DECLARATIONS = (HONEST_PLACE, "no book", "book of other steps", PLACELESS)


def declared(view: NodeView, how: str) -> NodeView:
    """What an adversary declares."""
    if how == "no book":
        return replace(view, partners=())
    if how == "book of other steps":
        return replace(view, partners=tuple(_other_steps(partner) for partner in view.partners))
    if how == PLACELESS and view.parent != view.node:
        return replace(view, parent=view.node, children=(), depth=0)
    return view


def kept_places(views: Sequence[NodeView]) -> frozenset[int]:
    """Who is in the round when it starts, as the contract has it: from the roots down, who is listed by its parent."""
    kept = {view.node for view in views if view.depth == 0}
    for view in sorted(views, key=lambda view: view.depth):
        if view.node in kept:
            below = (one for one in views if one.parent == view.node and one.depth == view.depth + 1)
            kept |= {one.node for one in below if one.node in view.children}
    return frozenset(kept)


def _other_steps(partner: Partner) -> Partner:
    return replace(partner, steps=partner.steps[:-1], coefficient=partner.coefficient[:-1])


@dataclass(frozen=True)
class Malice:
    """What one adversary does."""

    submits: str = "honest"
    claims: str = "true claims"
    declares: str = HONEST_PLACE
    sealing: str = "sealed as it should be"  # these two in sealed rounds, see `measure.adversaries_sealed`
    answers: str = "true answers"
    supplier: str = USUAL_SUPPLIER

    @staticmethod
    def drawn(random: Random) -> Malice:
        """Mostly one kind at a time, so that it does what it can."""
        kind = random.random()
        submits = str(random.choice(list(SUBMISSIONS)[1:]))
        if kind < 0.6:
            return Malice(submits)
        if kind < 0.7:
            return Malice(submits, supplier=str(random.choice(list(SUPPLIERS))))
        if kind < 0.8:
            return Malice(claims=str(random.choice(list(CLAIMS)[1:])))
        if kind < 0.9:
            return Malice(declares=str(random.choice(DECLARATIONS[1:])))
        return Malice(submits, str(random.choice(list(CLAIMS))), str(random.choice(DECLARATIONS)))

    @property
    def kinds(self) -> list[str]:
        usual = Malice()
        return [kind for kind, none in zip(vars(self).values(), vars(usual).values(), strict=True) if kind != none]
