"""Tells what the meters of some nodes counted on a day: what was planned, now 5 % more and now 5 % less.

Stands for your own meters. Writes to its standard output what `gridpact readings settle` takes:

    python3 meters.py 2026-11-20 node-1 node-2 > readings.csv
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    day, *folders = sys.argv[1:]
    print("time,node,meter_wh")
    for folder in folders:
        path = Path(folder) / "schedule" / f"{day}.json"
        if not path.exists():
            print(f"there is no schedule {path}: did the node take part in the round of that day?", file=sys.stderr)
            return 1
        schedule = json.loads(path.read_text(encoding="utf-8"))
        for number, step in enumerate(schedule["steps"]):
            share = 1.05 if (number + schedule["node"]) % 2 else 0.95
            print(f"{step['start']},{schedule['node']},{round(share * step['meter_wh'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
