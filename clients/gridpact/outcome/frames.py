"""What came of a day as pandas frames."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from gridpact.outcome.day import DayOutcome, HouseholdDay

if TYPE_CHECKING:
    import pandas as pd

NO_COLUMNS = ("name", "assets", "schedule", "import_price", "feed_in_price")
HOME = tuple(one.name for one in fields(HouseholdDay) if one.name not in NO_COLUMNS)


@dataclass(frozen=True)
class Frames:
    """A day in frames. Powers are kW, energies kWh, money is the community's currency, times are the steps' starts.

    Attributes:
        homes: a row a household, by its name: node, energies, what it paid to the supplier, to neighbours, for losses.
        schedules: a row a household and step, by (household, time); the columns of `HouseholdDay.schedule`, NaN where a
            household has none of a device.
        trades: a row a trade: seller, buyer, time, energy_kwh, price_per_kwh, amount.
        steps: a row a step: import_price, feed_in_price, exchange_kw at the grid connection, losses_kw.
        voltages: a row a step and a column a household, p.u.; of a home on several phases that nearest to a limit.
    """

    homes: pd.DataFrame
    schedules: pd.DataFrame
    trades: pd.DataFrame
    steps: pd.DataFrame
    voltages: pd.DataFrame


def frames_of(outcome: DayOutcome) -> Frames:
    """The frames of a day; without a plan all but `steps` are empty."""
    import pandas as pd

    time = pd.Index(outcome.start_times, name="time")
    name = {home.node: home.name for home in outcome.households}
    schedules = {home.name: pd.DataFrame(home.schedule, index=time) for home in outcome.households}
    return Frames(
        homes=pd.DataFrame(
            [[*(getattr(home, one) for one in HOME), home.cost] for home in outcome.households],
            index=pd.Index(name.values(), name="household"),
            columns=[*HOME, "cost"],
        ),
        schedules=pd.concat(schedules, names=["household", "time"]) if schedules else pd.DataFrame(),
        trades=pd.DataFrame(
            [
                (name[t.seller], name[t.buyer], time[t.step], t.energy_kwh, t.price_per_kwh, t.amount)
                for t in outcome.trades
            ],
            columns=["seller", "buyer", "time", "energy_kwh", "price_per_kwh", "amount"],
        ),
        steps=pd.DataFrame(
            {
                "import_price": outcome.import_price,
                "feed_in_price": outcome.feed_in_price,
                "exchange_kw": outcome.exchange_kw if outcome.feasible else np.nan,
                "losses_kw": outcome.losses_kw if outcome.feasible else np.nan,
            },
            index=time,
        ),
        voltages=pd.DataFrame(
            outcome.voltage_pu.T if outcome.feasible else None,
            index=time,
            columns=pd.Index(name.values(), name="household"),
        ),
    )
