"""A day of an aggregator's calls that the model has played, as JSON for contracts and clients: see `vectors.py`.

Times are seconds from the beginning of step 0 on; everybody has opted in and is called before the first gate.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from typing import Any

from reference.flexibility_model import FlexibilityModel, Ledger, Terms

STEPS, STEP, GATE, DEPOSIT = 4, 4000, 1000, 50_000_000
NODES = (1, 2, 3, 4)
AGGREGATOR = "aggregator"
PLANNED = {node: [-1000 - 100 * node] * STEPS for node in NODES}
SEED, OFFERS, TRIED = 21, 10, 40


def series(energies: list[int]) -> str:
    return "0x" + b"".join(energy.to_bytes(4, "big", signed=True) for energy in energies).hex()


def drawn_terms(by: random.Random, number: int) -> Terms:
    """Of a device of its own."""
    return Terms(
        AGGREGATOR,
        fee=by.choice([0, 7, 1000]),
        device=b"device %d" % number,
        bond=by.choice([1, 40_000, 900_000, 900_000]),
        begins=0,
        until=STEPS * STEP,
        up=3000,
        down=2000,
        energy=9000,
        price=by.choice([0, 199_999, 250_000, 250_000]),
        fine=by.choice([0, 333_333, 300_000]),
        tolerance=by.choice([0, 50, 100]),
        notice=0,
    )


def sums(terms: Terms, energies: list[int], moved: list[int | None]) -> dict[str, int]:
    """What is paid, what is fined, Wh, and the steps that are kept."""
    read = [(energy, wh) for energy, wh in zip(energies, moved, strict=True) if wh is not None]
    away = [abs(wh - energy) for energy, wh in read]
    return {
        "delivered": sum(min(abs(wh), abs(energy)) for energy, wh in read if wh * energy > 0),
        "otherwise": sum(max(wh - terms.tolerance, 0) for wh in away),
        "kept": sum(wh <= terms.tolerance for wh in away),
    }


def flexibility() -> str:
    """The text of the file."""
    by = random.Random(SEED)
    people = {f"node {node}": node for node in NODES}
    day = Ledger(0, STEP, GATE, STEPS, dict(people), nominated=set(NODES))
    day.planned |= {(node, step): wh for node, planned in PLANNED.items() for step, wh in enumerate(planned)}
    model = FlexibilityModel(day, dict.fromkeys([*people, AGGREGATOR], DEPOSIT))
    offers: list[dict[str, Any]] = []
    for number in range(1, OFFERS + 1):
        node, terms = by.choice(NODES), drawn_terms(by, number)
        model.opt_in(-10 * STEP, f"node {node}", terms)
        offers.append({"node": node, **asdict(terms), "device": terms.device.decode()})
    calls: list[dict[str, Any]] = []
    for _ in range(TRIED):
        offer, first = by.randint(1, OFFERS), by.randrange(STEPS)
        energies = [by.choice([0, 1, 300, -300, 900, -900]) for _ in range(by.choice([1, 1, 2, 3]))]
        node, ends = people[model.offers[offer - 1].member], first + len(energies)
        if ends > STEPS or any((node, step) in model.called for step in range(first, ends)):
            continue
        model.call(-9 * STEP, AGGREGATOR, offer, first, energies, PLANNED[node][first:ends])
        made = model.calls[-1]
        calls.append(
            {
                **{"offer": offer, "node": node, "first": first, "energies": series(energies)},
                **{"baselines": series(list(made.baselines)), "reserve": made.reserve},
            }
        )
    asked = {
        (people[model.offers[made.offer - 1].member], step): energy
        for made in model.calls
        for step, energy in enumerate(made.energies, made.first)
    }
    for step in range(STEPS):
        for node in NODES:
            if by.random() < 0.9:
                moved = by.choice([0, 1, 1]) * asked.get((node, step), 0) + by.choice([0, 0, 50, 101, -299, 700])
                day.readings[node, step] = PLANNED[node][step] + moved
    day.settled = STEPS
    for number, (made, told) in enumerate(zip(model.calls, calls, strict=True), 1):
        terms, energies = model.offers[made.offer - 1].terms, list(made.energies)
        read = [day.readings.get((told["node"], step)) for step in range(made.first, made.first + len(energies))]
        moved_wh = [None if wh is None else wh - baseline for wh, baseline in zip(read, made.baselines, strict=True)]
        told |= {"payment": model.settle(number), **sums(terms, energies, moved_wh)}
    left = [{"account": who, "free": model.free[who], "locked": model.locked[who]} for who in [*people, AGGREGATOR]]
    told = {
        **{"steps": STEPS, "stepSeconds": STEP, "decimals": 6, "deposit": DEPOSIT},
        "planned": [{"node": node, "energies": series(PLANNED[node])} for node in NODES],
        **{"offers": offers, "calls": calls},
        "readings": [{"step": step, "node": node, "energy": wh} for (node, step), wh in sorted(day.readings.items())],
        "left": left,
    }
    return json.dumps(told, indent=1) + "\n"
