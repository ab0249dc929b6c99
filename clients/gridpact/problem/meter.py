"""What stands behind a household's meter, as one block: its load and its devices."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp

from gridpact.community.model import Household
from gridpact.devices.device import Constraints, Opposed, numbered
from gridpact.devices.registry import costs, with_numbers


@dataclass(frozen=True)
class BehindMeter:
    """A household behind its meter: expressions of shape (T,) and the constraints that tie them."""

    injection_kw: cp.Expression  # s = what its devices give less the load
    injection_kvar: cp.Expression  # q = q_g - q_l
    constraints: Constraints
    schedule: dict[str, cp.Expression]  # what the household's energy manager is to do
    opposed: tuple[Opposed, ...]
    cost: cp.Expression  # of using devices, currency, see `Device.costs`, and of what it is called for and does not do


def behind_meter(household: Household, step_hours: float) -> BehindMeter:
    """Net injection of a household, eqs. (3)-(9) without the grid connection: its load and the blocks of its devices.

    Of several devices of one kind, families of constraints and columns of the schedule are numbered from the second on.
    """
    injection, reactive = -cp.Constant(household.load_kw), -cp.Constant(household.load_kvar)
    constraints: Constraints = {}
    schedule: dict[str, cp.Expression] = {}
    opposed: tuple[Opposed, ...] = ()
    for device, number in with_numbers(household.devices):
        block = device.block(household.steps, step_hours)
        injection = injection + block.injection_kw
        if block.injection_kvar is not None:
            reactive = reactive + block.injection_kvar
        constraints |= {numbered(name, number, " "): of for name, of in block.constraints.items()}
        opposed += block.opposed
        schedule |= {numbered(name, number): of for name, of in block.schedule.items()}
    if household.connection_kw is not None:
        constraints["what its connection carries"] = [cp.abs(injection) <= household.connection_kw]
    cost = sum(costs(household.devices, schedule, step_hours).values(), cp.Constant(0.0))
    cost += sum((called.cost(injection, step_hours) for called in household.called), cp.Constant(0.0))
    schedule |= {"injection_kw": injection, "injection_kvar": reactive}
    return BehindMeter(injection, reactive, constraints, schedule, opposed, cost)
