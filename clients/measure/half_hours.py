"""A user's own download of Ausgrid's solar homes beside the thesis's Table 3.4, the averages of all by half hour.

    python -m measure.half_hours 2012-2013.csv

The table (Wu, UNSW 2019) has the mean of 300 customers. It is of general consumption, without controlled load: over a
year it adds up to 5,592 kWh, where Table 3.3 has 6,387 for all consumption of 2012-13; its generation adds up to 2,183
kWh, there 2,181. The data may not be passed on, so they are read where somebody has them, in the original layout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridpact.community.ausgrid import HALF_HOURS, STEP_MINUTES, read_ausgrid
from gridpact.community.meters import Gaps, Meter
from gridpact.community.model import Array
from gridpact.community.tables import text_of
from gridpact.errors import GridpactError, InputError

CONTROLLED = ",CL,"

GENERATION_KWH = (  # in the half hour that ends at 0:30, 1:00, ..., 0:00
    0.0001,
    0.0002,
    0.0003,
    0.0004,
    0.0004,
    0.0006,
    0.0006,
    0.0006,
    0.0006,
    0.0006,
    0.0006,
    0.0007,
    0.0029,
    0.0136,
    0.0398,
    0.0832,
    0.1379,
    0.1965,
    0.2553,
    0.3062,
    0.3514,
    0.3862,
    0.4107,
    0.4252,
    0.4319,
    0.4292,
    0.4204,
    0.399,
    0.3673,
    0.3304,
    0.282,
    0.228,
    0.1732,
    0.123,
    0.0833,
    0.0524,
    0.0283,
    0.012,
    0.0034,
    0.0004,
    0.0001,
    0.0001,
    0.0001,
    0.0001,
    0.0001,
    0.0001,
    0.0001,
    0.0001,
)
CONSUMPTION_KWH = (
    0.2488,
    0.2287,
    0.2136,
    0.2019,
    0.1958,
    0.1899,
    0.1876,
    0.1829,
    0.1845,
    0.188,
    0.2003,
    0.2161,
    0.2466,
    0.294,
    0.3253,
    0.3387,
    0.3353,
    0.3247,
    0.3121,
    0.301,
    0.2978,
    0.2952,
    0.2948,
    0.2975,
    0.3019,
    0.3019,
    0.2989,
    0.2966,
    0.2929,
    0.2936,
    0.299,
    0.3117,
    0.3324,
    0.3726,
    0.4385,
    0.4997,
    0.5237,
    0.5204,
    0.5026,
    0.4909,
    0.4848,
    0.468,
    0.4431,
    0.4128,
    0.3892,
    0.3538,
    0.3129,
    0.277,
)


@dataclass(frozen=True)
class Averages:
    """kWh of a customer in each half hour of a day, (48,) each, in the order of `HALF_HOURS`."""

    generated: Array
    used: Array
    customers: int
    days: int

    @staticmethod
    def of_table() -> Averages:
        return Averages(np.array(GENERATION_KWH), np.array(CONSUMPTION_KWH), 300, 365)

    @staticmethod
    def of_file(path: Path) -> Averages:
        """Of all customers and days of a file in the original layout, without controlled load.

        Raises:
            InputError: see `read_ausgrid`; or it is a series of one customer.
        """
        text = text_of(path)
        if "Consumption Category" not in text[:4000]:
            raise InputError(f"{path.name} is not in Ausgrid's original layout, of a year: give that file")
        with tempfile.TemporaryDirectory() as folder:
            general = Path(folder) / path.name
            general.write_text("\n".join(line for line in text.splitlines() if CONTROLLED not in line) + "\n", "utf-8")
            meters = read_ausgrid([general], Gaps.SKIP).meters
        days = max(len(meter.load_kw) for meter in meters)
        generated, used = (
            np.mean([_a_day_kwh(meter, what) for meter in meters], axis=0) for what in ("pv_kw", "load_kw")
        )
        return Averages(generated, used, len(meters), days)

    def beyond(self, other: Averages) -> tuple[float, float]:
        """The largest differences of a half hour, kWh: of what is generated and used."""
        return (
            float(np.abs(self.generated - other.generated).max()),
            float(np.abs(self.used - other.used).max()),
        )


def _a_day_kwh(meter: Meter, what: str) -> Array:
    mean: Array = np.mean(list(getattr(meter, what).values()), axis=0) * STEP_MINUTES / 60
    return mean


def page(own: Averages) -> str:
    """Both side by side, and in words how far they are apart."""
    table = Averages.of_table()
    lines = ["half hour to   generated  table   used    table   generated less used  table"]
    for row in zip(HALF_HOURS, own.generated, table.generated, own.used, table.used, strict=True):
        end, one, other, used, usual = row
        lines.append(
            f"{end:>12}   {one:9.4f} {other:.4f}  {used:.4f}  {usual:.4f}  {one - used:19.4f} {other - usual:7.4f}"
        )
    apart, used_apart = own.beyond(table)
    lines.append(
        f"{own.customers} customers, {own.days} days. A year: {365 * own.generated.sum():,.0f} kWh generated (table "
        f"{365 * table.generated.sum():,.0f}), {365 * own.used.sum():,.0f} used ({365 * table.used.sum():,.0f}). Most "
        f"apart in a half hour: {apart:.4f} and {used_apart:.4f} kWh."
    )
    return "\n".join(lines) + "\n"


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    try:
        print(page(Averages.of_file(parser.parse_args(given).file)), end="")
    except GridpactError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
