"""What is left of a day for a household: its devices as they were read, or else as they were planned to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gridpact.community.called import Called
from gridpact.community.model import Array, Household
from gridpact.devices.device import numbered
from gridpact.problem.baseline import with_positions
from gridpact.problem.view import NodeView
from gridpact.service.schedule import Schedule


def rest_of(
    home: Household,
    planned: Mapping[str, Array],
    first: int,
    step_hours: float,
    read: int = 0,
    levels: Mapping[str, float] | None = None,
) -> Household:
    """It from a step on.

    Args:
        planned: columns of its schedule, (T,) each; what is not there was nothing.
        read: how many steps were read, after which devices stood at these
        levels: by kind of device. What is later, up to the first step, is as planned.
    """
    numbers: Counter[str] = Counter()
    done: list[dict[str, Array]] = []
    for device in home.devices:
        numbers[device.kind] += 1
        names = {one.name: numbered(one.name, numbers[device.kind]) for one in device.columns}
        done.append({name: planned.get(own, np.zeros(home.steps)) for name, own in names.items()})
    expected: list[dict[str, Array]] = [{} for _ in home.devices]
    if levels is None or not 0 < read <= first:
        return home.rest(first, home.load_kw[first:], done, expected, step_hours)
    known = [levels.get(device.kind) for device in home.devices]
    home = home.rest(read, home.load_kw[read:], done, expected, step_hours, known)
    later = [{name: series[read:] for name, series in own.items()} for own in done]
    return home.rest(first - read, home.load_kw[first - read :], later, expected, step_hours)


def planned_anew(view: NodeView, schedule: Schedule, first: int, called: Sequence[Called]) -> Schedule:
    """A day's schedule from a step on, with what is called for; what it has sold stays sold.

    Args:
        view: of the whole day.

    Raises:
        InfeasibleError: the household has no plan.
    """
    assert view.household is not None
    values = schedule.values
    nothing = np.zeros(view.steps)
    sold = values["injection_kw"] + values.get("import_kw", nothing) - values.get("feed_in_kw", nothing)
    home = replace(view.household, called=tuple(called))
    rest = view.since(first, rest_of(home, values, first, view.step_hours))
    made = {
        name: np.concatenate([values[name][:first] if name in values else nothing[:first], series])
        for name, series in with_positions(rest, sold[first:]).items()
        if name != "relaxation_gap_pu"
    }
    return replace(schedule, values=made, status="renewed", since=first)
