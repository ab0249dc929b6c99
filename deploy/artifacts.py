"""Copies what clients need of the compiled contracts into the Python package, so that it works without Node.

    python deploy/artifacts.py            refresh clients/gridpact/chain/artifacts from build/contracts
    python deploy/artifacts.py --check    exit with 1 where they differ
    python deploy/artifacts.py --marked   of a copy for `make coverage`, which may be larger than a chain takes

Prints how large the contracts are, and fails where one leaves less than it has to. Run `deploy/brownie compile --all`
first (`make contracts` does both). The bytecode carries no metadata hash, so equal sources and settings give equal
files on every machine, if all are compiled together.
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
CONTRACTS = (
    "Referee",
    "SealedReferee",
    "Clerk",
    "VirtualAggregator",
    "TiedAggregator",
    "TradeSettlement",
    "Clearing",
    "DaySettlement",
    "DayProducts",
    "Flexibility",
    "OrderBook",
    "CallAuction",
    "CommunityPrice",
    "Deliveries",
    "TestEuro",
)
MOST = 24_576
"""Bytes of code that a contract may have (EIP-170)."""

MOST_TO_CREATE = 49_152
"""Bytes that a contract may be created with (EIP-3860): its code, that of others that it creates, and arguments."""

TO_SPARE = {"VirtualAggregator": 5_000}
"""Bytes of code that have to be left, where more is going to be added."""

TO_SPARE_TO_CREATE = 2_500
"""Bytes that each contract has to leave of what it may be created with."""


def artifact(build: dict[str, Any]) -> str:
    """The text of one artifact file, from brownie's build file."""
    compiler = build["compiler"]
    creation, runtime = (build[code].removeprefix("0x") for code in ("bytecode", "deployedBytecode"))
    content = {
        "contractName": build["contractName"],
        "abi": sorted(build["abi"], key=lambda entry: (entry["type"], entry.get("name", ""))),
        "bytecode": "0x" + creation,
        # Where the code that is going to stand on the chain is in it, bytes; others that it creates may follow.
        "runtime": {"start": creation.index(runtime) // 2, "length": len(runtime) // 2},
        "compiler": {
            # Without the platform, which brownie appends for some compilers.
            "version": ".".join(compiler["version"].split(".")[:4]),
            "evm_version": compiler["evm_version"],
            "optimizer": compiler["optimizer"],
        },
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def sizes() -> tuple[str, bool]:
    """A table of all contracts' code, largest first; whether each leaves what it has to."""
    builds = {
        build["contractName"]: build
        for build in map(json.loads, (path.read_text() for path in sorted(BUILD.glob("*.json"))))
        if build["type"] == "contract" and build["bytecode"] and build["sourcePath"].startswith("contracts/")
    }
    codes = {name: len(build["deployedBytecode"].removeprefix("0x")) // 2 for name, build in builds.items()}
    spare = {name: MOST_TO_CREATE - created_with(build) for name, build in builds.items()}
    rows = [
        f"  {name:<22} {code:>7,} bytes  {MOST - code:>7,} left, to create it {spare[name]:>7,}"
        for name, code in sorted(codes.items(), key=lambda item: -item[1])
    ]
    fits = all(MOST - code >= TO_SPARE.get(name, 0) for name, code in codes.items())
    return "\n".join(rows), fits and min(spare.values()) >= TO_SPARE_TO_CREATE


def created_with(build: dict[str, Any]) -> int:
    """Bytes of the transaction that creates a contract, with its arguments, a word each."""

    def words(inputs: list[dict[str, Any]]) -> int:
        return sum(words(one["components"]) if one["type"] == "tuple" else 1 for one in inputs)

    arguments = next((one["inputs"] for one in build["abi"] if one["type"] == "constructor"), [])
    return len(build["bytecode"].removeprefix("0x")) // 2 + 32 * words(arguments)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--marked", action="store_true", help="let contracts be of any size")
    given = parser.parse_args()
    check = given.check

    table, fits = sizes()
    print(table)
    if not fits and not given.marked:
        kept = ", ".join(f"{spare:,} of {name}" for name, spare in TO_SPARE.items())
        print(
            f"A contract is too large: {MOST:,} bytes at most, of which are to be left {kept}; and {MOST_TO_CREATE:,}"
            f" to create it, of which are to be left {TO_SPARE_TO_CREATE:,}.",
            file=sys.stderr,
        )
        return 1
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
