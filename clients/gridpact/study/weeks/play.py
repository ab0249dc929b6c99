"""Solving the days of a study, in processes over the cores or one after the other on a chain, and keeping them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from gridpact.errors import InexactRelaxationError, InfeasibleError, SolverError
from gridpact.market.centralised import centralised_optimum
from gridpact.study.day import IN_MEMORY, DayOutcome, failed_day, outcome_of_run, solve_day
from gridpact.study.weeks.plan import Order
from gridpact.study.weeks.store import keep, kept

Tell = Callable[[Order, DayOutcome], None]
"""Is told of each day as it is finished."""


def play(
    orders: Sequence[Order], folder: Path, jobs: int | None = None, tell: Tell = lambda *_: None
) -> list[DayOutcome]:
    """Solves all days that the folder does not hold already, and keeps each in it as soon as it is finished.

    Args:
        jobs: processes at a time; by default as many as there are cores, and one where there is a chain, whose
            nodes are processes themselves.

    Returns:
        All outcomes in the order of `orders`, whoever finished first.

    Raises:
        GridpactError: the chain or a node failed; days that are finished stay in the folder.
    """
    found: dict[str, DayOutcome] = {}
    missing: list[Order] = []
    for order in orders:
        outcome = kept(order, folder)
        if outcome is None:
            missing.append(order)
        else:
            found[order.name] = outcome
            tell(order, outcome)
    on_chain = any(order.chain != IN_MEMORY for order in missing)
    jobs = jobs or (1 if on_chain else os.cpu_count() or 1)
    tasks = [(order, folder) for order in _longest_first(missing)]
    if jobs == 1 or len(tasks) <= 1:
        for task in tasks:
            order, outcome = _solve_and_keep(task)
            found[order.name] = outcome
            tell(order, outcome)
    else:
        with multiprocessing.get_context("spawn").Pool(min(jobs, len(tasks)), _leave_stopping_to_us) as pool:
            for order, outcome in pool.imap_unordered(_solve_and_keep, tasks):
                found[order.name] = outcome
                tell(order, outcome)
    return [found[order.name] for order in orders]


def solve(order: Order) -> DayOutcome:
    """One day, in memory or on a chain."""
    community, scenario, settings = order.community, order.scenario, order.settings
    if order.chain == IN_MEMORY:
        return solve_day(community, scenario, settings.agreement)
    from gridpact.run import RunSettings, run  # imports web3, which takes a second

    try:
        reference = centralised_optimum(community, scenario)
        settings_of_run = RunSettings(scenario, settings.agreement, settings.chain, relay=settings.relay)
        return outcome_of_run(run(community, settings_of_run, _Silent()), reference)
    except (InfeasibleError, SolverError, InexactRelaxationError) as error:
        return failed_day(community, scenario, settings.agreement, settings.chain, error)


def _leave_stopping_to_us() -> None:
    """A worker is ended by the process that started it, not by the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _solve_and_keep(task: tuple[Order, Path]) -> tuple[Order, DayOutcome]:
    order, folder = task
    outcome = solve(order)
    keep(order, outcome, folder)
    return order, outcome


def _longest_first(orders: Sequence[Order]) -> list[Order]:
    """So that no core waits for a long day at the end; in each kind in the given order."""
    effort = {"tg": 0, "g": 1, "t": 2, "b": 3}
    return sorted(orders, key=lambda order: effort[order.scenario.value])


class _Silent:
    """A watcher that says nothing: the study shows days, not iterations."""

    def stage(self, text: str) -> None:
        pass

    def iteration(self, number: int, rms_w: Sequence[float]) -> None:
        pass
