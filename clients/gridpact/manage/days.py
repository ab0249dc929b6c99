"""Where a day on the chain stands, step by step; and settling the steps that are over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gridpact.chain.day import DaySettlement
from gridpact.errors import InputError


@dataclass(frozen=True)
class StepStanding:
    """A step of a day. Energies kWh."""

    step: int
    state: str  # open, gate closed, running, over, settled
    sold_kwh: float  # positions of those that have sold
    nominated_kwh: float  # of all members
    read: int  # members
    pool_kwh: float | None  # once it is settled
    deviation_kwh: float | None


def steps_of(ledger: DaySettlement, day: int, now: int) -> Iterator[StepStanding]:
    """All steps of a day, as they are at a time of the chain.

    Raises:
        InputError: the day was not opened.
    """
    standing = ledger.standing(day)
    if not standing.index:
        raise InputError(f"Day {day} was not opened on the settlement at {ledger.address}: give one that was.")
    settled = {one.step: one for one in ledger.settled_steps(day)}
    read = ledger.readings(day)
    members = sorted(standing.members)
    for step in range(ledger.steps):
        positions = [ledger.position(day, node, step) for node in members]
        done = settled.get(step)
        yield StepStanding(
            step,
            "settled" if done else _state(ledger, day, step, now),
            sum(max(position, 0) for position in positions) / 1000,
            sum(ledger.nominated(day, node, step) for node in members) / 1000,
            sum((step, node) in read for node in members),
            done.pool_wh / 1000 if done else None,
            done.deviation_wh / 1000 if done else None,
        )


def _state(ledger: DaySettlement, day: int, step: int, now: int) -> str:
    if now < ledger.gate_of(day, step):
        return "open"
    if now < ledger.start_of(day, step):
        return "gate closed"
    return "running" if now < ledger.start_of(day, step + 1) else "over"


def settle_over(ledger: DaySettlement, day: int, now: int) -> tuple[int, bool]:
    """Settles the steps that can be, and closes the day after the last: anybody may.

    Returns:
        How many steps were settled, and whether the day is closed now.
    """
    standing, late = ledger.standing(day), ledger.terms(day).reading_seconds
    read = ledger.readings(day)
    settled = 0
    for step in range(standing.next, ledger.steps):
        end = ledger.start_of(day, step + 1)
        there = all((step, node) in read for node in standing.members)
        if now < end or (now <= end + late and not there):
            break
        ledger.settle_step(day)
        settled += 1
    if standing.next + settled == ledger.steps and not standing.closed:
        ledger.close_day(day)
        return settled, True
    return settled, standing.closed
