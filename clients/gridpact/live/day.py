"""A day that is settled step by step, folded from its events: plain data for the page.

Names of its events begin with `day.`, those of what members agree on in pairs, spot, options and forwards, with
`products.`, those of what an aggregator calls members for with `calls.`. Energies Wh, prices 1e-6 currency/kWh, money
token units.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gridpact.chain.day import StepSettled
from gridpact.chain.encoding import decode_energies, decode_trades
from gridpact.chain.values import bitmap_to_nodes
from gridpact.live.store import Store, StoredEvent

Json = dict[str, Any]

OF_DAY = (
    *("day.DayOpened", "day.Joined", "day.Nominated", "day.StepRead", "day.StepSettled"),
    *("day.Uncovered", "day.DayClosed"),
)
"""Events of a day that is settled step by step, by its label."""

OFFERS = ("products.SpotPosted", "products.OptionWritten", "products.ForwardOffered")
"""Events that begin something between two; they say the day, and the number by which the others go on with it."""

GOING_ON = (
    *("products.SpotTaken", "products.SpotEnded", "products.OptionTaken", "products.OptionExercised"),
    *("products.OptionEnded", "products.ForwardTaken", "products.ForwardSettled", "products.ForwardEnded"),
)

CALLED, PAID = "calls.Called", "calls.CallSettled"
"""Of an aggregator's calls: they are numbered by themselves."""


def events_of(store: Store, day: int) -> list[StoredEvent]:
    """What happened in a day beside rounds, in the chain's order; nothing where it is not settled step by step."""
    events = []
    numbers: set[int] = set()
    calls: set[int] = set()
    for event in store.events(None, *OF_DAY, *OFFERS, *GOING_ON, CALLED, PAID):
        arguments = event.arguments
        if event.name in (*GOING_ON, PAID):
            if arguments["id"] not in (calls if event.name == PAID else numbers):
                continue
        elif arguments["day"] != day:
            continue
        elif event.name in OFFERS:
            numbers.add(arguments["id"])
        elif event.name == CALLED:
            calls.add(arguments["id"])
        events.append(event)
    return events


def through(events: Sequence[StoredEvent], trades: Sequence[StoredEvent], steps: int) -> Json | None:
    """The day step by step: nominations, readings, pool, deviation and payments; None where there is none.

    Args:
        events: of the day, see `events_of`.
        trades: `TradeRecorded` of all its rounds; of later ones they are changes of positions.
    """
    if not events:
        return None
    members: set[int] = set()
    nominated: defaultdict[int, list[int]] = defaultdict(lambda: [0] * steps)
    read: dict[int, dict[int, int]] = {}
    parts: dict[int, list[Mapping[str, Any]]] = {}
    received: defaultdict[int, int] = defaultdict(int)
    uncovered, closed = 0, False
    for event in events:
        fields = event.arguments
        if event.name == "day.Joined":
            members.add(int(fields["node"]))
        elif event.name == "day.Nominated":
            energies = decode_energies(bytes.fromhex(fields["energies"]))
            first = int(fields["first"])
            nominated[int(fields["node"])][first : first + len(energies)] = energies
        elif event.name == "day.StepRead":
            nodes = sorted(bitmap_to_nodes(int(fields["nodes"])))
            energies = decode_energies(bytes.fromhex(fields["energies"]))
            read.setdefault(int(fields["step"]), {}).update(zip(nodes, energies, strict=True))
        elif event.name == "day.StepSettled":
            parts.setdefault(int(fields["step"]), []).append(fields)
        elif event.name == "day.Uncovered":
            uncovered += 1
        elif event.name == "day.DayClosed":
            closed = True
    settled = [StepSettled.of(of_step) for of_step in parts.values()]
    for one in settled:
        for node in members:
            received[node] += one.payments[node]
    return {
        "members": sorted(members),
        "nominated": {node: series[:steps] for node, series in nominated.items()},
        "read": read,
        "settled": [[one.step, one.pool_wh, one.pool_price, one.deviation_wh] for one in settled],
        "received": received,
        "uncovered": uncovered,
        "closed": closed,
        "traded": _traded(trades),
        "deals": list(_deals(events)),
        "calls": list(_calls(events, read)),
    }


def _calls(events: Sequence[StoredEvent], read: Mapping[int, Mapping[int, int]]) -> Iterator[Json]:
    """What an aggregator called members for, in its order, and what they received for it: `payment`, None until it is
    settled. Of each step what was asked otherwise than the baseline, and what was read otherwise, as far as it was."""
    paid = {int(event.arguments["id"]): int(event.arguments["payment"]) for event in events if event.name == PAID}
    for event in events:
        if event.name != CALLED:
            continue
        fields = event.arguments
        node, first = int(fields["node"]), int(fields["first"])
        asked, baselines = (decode_energies(bytes.fromhex(fields[name])) for name in ("energies", "baselines"))
        readings = [read.get(step, {}).get(node) for step in range(first, first + len(asked))]
        yield {
            **{"id": int(fields["id"]), "node": node, "first": first, "asked_wh": asked, "baseline_wh": baselines},
            "moved_wh": [
                None if wh is None else wh - baseline for wh, baseline in zip(readings, baselines, strict=True)
            ],
            "payment": paid.get(int(fields["id"])),
        }


def _traded(trades: Sequence[StoredEvent]) -> dict[int, list[int]]:
    """By node what it sold and bought, Wh, and received for it, token units, over all rounds of the day.

    What it sold in one and bought back from the same partner in the same step in another is neither sold nor bought.
    """
    positions: defaultdict[tuple[int, int, int], int] = defaultdict(int)
    by_node: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for event in trades:
        lower, higher = int(event.arguments["lower"]), int(event.arguments["higher"])
        for trade in decode_trades(bytes.fromhex(event.arguments["trades"])):
            positions[lower, higher, trade.step] += trade.energy_wh
        payment = int(event.arguments["payment"])
        by_node[lower][2] += payment
        by_node[higher][2] -= payment
    for (lower, higher, _), energy in positions.items():
        seller, buyer = (lower, higher) if energy > 0 else (higher, lower)
        by_node[seller][0] += abs(energy)
        by_node[buyer][1] += abs(energy)
    return dict(by_node)


def _deals(events: Sequence[StoredEvent]) -> Iterator[Json]:
    """What members offered each other, in the order of the offers, and what became of it.

    `price` is that of an offer, the strike of an option, and of a forward its base until it is settled. `paid` has each
    payment as payer, receiver and amount; a negative one went the other way.
    """
    going_on: defaultdict[int, list[StoredEvent]] = defaultdict(list)
    for event in events:
        if event.name in GOING_ON:
            going_on[int(event.arguments["id"])].append(event)
    for event in events:
        if event.name in OFFERS:
            number = int(event.arguments["id"])
            yield _OFFERED[event.name](number, event.arguments, going_on[number])


def _spot(number: int, offer: Mapping[str, Any], later: Sequence[StoredEvent]) -> Json:
    terms, poster = offer["spot"], int(offer["poster"])
    taken, paid, ended = 0, [], False
    takers: list[int] = []
    for event in later:
        if event.name == "products.SpotTaken":
            taker = int(event.arguments["taker"])
            takers.append(taker)
            taken += int(event.arguments["energy"])
            buyer, seller = (taker, poster) if terms["sells"] else (poster, taker)
            paid.append([buyer, seller, int(event.arguments["payment"])])
        else:
            ended = True
    sides = [poster], sorted(set(takers))
    whole = taken == int(terms["energy"])
    return {
        **{"id": number, "kind": "spot", "step": int(terms["step"]), "price": int(terms["price"])},
        **dict(zip(("sellers", "buyers"), sides if terms["sells"] else sides[::-1], strict=True)),
        **{"offered_wh": int(terms["energy"]), "taken_wh": taken, "paid": paid},
        "state": "taken" if whole else "partly" if taken else "lapsed" if ended else "offered",
    }


def _option(number: int, offer: Mapping[str, Any], later: Sequence[StoredEvent]) -> Json:
    terms, writer = offer["option"], int(offer["writer"])
    buyers, paid, taken, state = [], [], 0, "offered"
    for event in later:
        if event.name == "products.OptionTaken":
            buyers, state = [int(event.arguments["buyer"])], "held"
            paid.append([buyers[0], writer, int(terms["premium"])])
        elif event.name == "products.OptionExercised":
            taken, state = int(event.arguments["energy"]), "exercised"
            paid.append([buyers[0], writer, int(event.arguments["payment"])])
        else:
            state = "lapsed"
    return {
        **{"id": number, "kind": "option", "step": int(terms["step"]), "price": int(terms["strike"])},
        **{"sellers": [writer], "buyers": buyers, "offered_wh": int(terms["energy"]), "taken_wh": taken},
        **{"paid": paid, "state": state},
    }


def _forward(number: int, offer: Mapping[str, Any], later: Sequence[StoredEvent]) -> Json:
    terms, proposer = offer["terms"], int(offer["proposer"])
    seller, buyer = ([proposer], []) if terms["sells"] else ([], [proposer])
    price, paid, state = int(terms["formula"]["base"]), [], "offered"
    for event in later:
        if event.name == "products.ForwardTaken":
            (buyer if terms["sells"] else seller).append(int(event.arguments["taker"]))
            state = "taken"
        elif event.name == "products.ForwardSettled":
            price, state = int(event.arguments["price"]), "settled"
            paid.append([buyer[0], seller[0], int(event.arguments["payment"])])
        else:
            state = "lapsed"
    energy = int(terms["energy"])
    return {
        **{"id": number, "kind": "forward", "step": int(terms["step"]), "price": price},
        **{"sellers": seller, "buyers": buyer, "offered_wh": energy, "taken_wh": energy if seller and buyer else 0},
        **{"paid": paid, "state": state},
    }


_OFFERED = dict(zip(OFFERS, (_spot, _option, _forward), strict=True))
