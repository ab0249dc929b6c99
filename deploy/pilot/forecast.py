"""Tells a household's forecast for a day, as the sample community has it: 10 June in the summer half, else 22 December.

Stands for your own forecast. `household.toml` names it: command = ["python3", ".../forecast.py", "house_1", "{day}"]
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

TABLES = Path(__file__).resolve().parent / "community"


def column(table: str, household: str, typical: str) -> list[float] | None:
    """A household's powers on a typical day, kW; None where the table does not have it."""
    with (TABLES / table).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["time"].startswith(typical)]
    return [float(row[household]) for row in rows] if household in rows[0] else None


def main() -> int:
    household, day = sys.argv[1:3]
    typical = "06-10" if 4 <= int(day[5:7]) <= 9 else "12-22"
    powers = {name: column(f"{name}.csv", household, typical) for name in ("load_kw", "pv_kw")}
    if powers["load_kw"] is None:
        print(f"there is no household '{household}' in {TABLES / 'load_kw.csv'}", file=sys.stderr)
        return 1
    print(json.dumps({"day": day} | {name: values for name, values in powers.items() if values is not None}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
