"""Days that follow each other with a month's peak fee, beside one problem over all of them.

    python -m measure.months --case fontana16 --days 06-10,06-11,06-12 --fee 2

Cars are left out, since a row of days lets them charge for the day after, and so are trading coefficients, which depend
on how many steps are bid for. Costs are the scenario's objectives, by which agreements and optima are compared.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gridpact.community.joined import joined
from gridpact.community.read import Community, read_community
from gridpact.community.suppliers import PEAK
from gridpact.outcome.outcome import Optimum
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.plan import StudySettings
from gridpact.study.weeks.row import DayRow


def with_monthly_peak(community: Community, fee: float) -> Community:
    """Without cars and trading coefficients, and with a fee on the month's peak, currency/kW."""
    rows = tuple(
        replace(row, cells={column: "" if column.startswith("car_") else cell for column, cell in row.cells.items()})
        for row in community.rows
    )
    stated = community.suppliers.fees
    fees = replace(stated, constant={**stated.constant, PEAK: fee}, monthly_peak=True)
    suppliers = replace(community.suppliers, fees=fees)
    return replace(community, rows=rows, trading_coefficient=0.0, suppliers=suppliers)


def compared(community: Community, days: Sequence[str], scenario: Scenario) -> tuple[float, float]:
    """What the days cost one after the other, and what one problem over all of them costs, currency."""
    with tempfile.TemporaryDirectory() as folder:
        settings = StudySettings((scenario,), continuous=True)
        followed = DayRow(community, tuple(days), scenario, settings, Path(folder)).followed()
    return (
        sum(known.objective for _, known in followed),
        Optimum.of(joined([community.on(day) for day in days]), scenario).objective,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--case", default="fontana16")
    parser.add_argument("--days", default="06-10,06-11,06-12")
    parser.add_argument("--fee", type=float, default=2.0, help="currency/kW of the month's peak")
    arguments = parser.parse_args()
    community = with_monthly_peak(read_community(arguments.case), arguments.fee)
    for scenario in (Scenario.B, Scenario.T, Scenario.TG):
        apart, at_once = compared(community, arguments.days.split(","), scenario)
        print(f"{scenario.name}: {apart:.2f} {community.currency} day by day, {at_once:.2f} at once")


if __name__ == "__main__":
    main()
