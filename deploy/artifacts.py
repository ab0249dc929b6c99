"""Copies what clients need of the compiled contracts into the Python package, so that it works without Node.

    python deploy/artifacts.py            refresh clients/gridpact/chain/artifacts from build/contracts
    python deploy/artifacts.py --check    exit with 1 where they differ

Run `deploy/brownie compile --all` first (`make contracts` does both). The bytecode carries no metadata hash,
so equal sources and settings give equal files on every machine, if all are compiled together.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "contracts"
ARTIFACTS = ROOT / "clients" / "gridpact" / "chain" / "artifacts"
CONTRACTS = ("Referee", "VirtualAggregator", "TradeSettlement", "DaySettlement", "DayProducts", "TestEuro")


def artifact(build: dict[str, Any]) -> str:
    """The text of one artifact file, from brownie's build file."""
    compiler = build["compiler"]
    content = {
        "contractName": build["contractName"],
        "abi": sorted(build["abi"], key=lambda entry: (entry["type"], entry.get("name", ""))),
        "bytecode": "0x" + build["bytecode"].removeprefix("0x"),
        "compiler": {
            # Without the platform, which brownie appends for some compilers.
            "version": ".".join(compiler["version"].split(".")[:4]),
            "evm_version": compiler["evm_version"],
            "optimizer": compiler["optimizer"],
        },
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check

    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    stale = []
    for name in CONTRACTS:
        source = BUILD / f"{name}.json"
        if not source.is_file():
            print(f"{source.relative_to(ROOT)} is missing: run `make contracts`.", file=sys.stderr)
            return 1
        text = artifact(json.loads(source.read_text()))
        target = ARTIFACTS / f"{name}.json"
        if target.is_file() and target.read_text() == text:
            continue
        stale.append(name)
        if not check:
            target.write_text(text)
    if check and stale:
        print(f"Artifacts differ from the sources: {', '.join(stale)}. Run `make contracts`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
