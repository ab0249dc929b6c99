"""Slither over the contracts, compiled by the pinned compiler.

    python deploy/analyse.py [arguments of Slither]      (a part of `make lint`)

Findings that concern only interfaces, mocks or what is in node_modules are left out, and so are informational ones and
those about optimisation. Exit status: 0 where there are none. What is found but is no fault is silenced where it
stands, with the reason in the line before, or in LEFT_OUT where it would be so in every line:

    // slither-disable-next-line <detector>

Slither could read brownie's build folder too, but that has no entry for files that hold no contract of their own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (
    "uninitialized-local",  # the language sets what is declared to zero, and the contracts build on it
    # Deadlines are compared with the time of the block, which its proposer may shift by seconds: phases take minutes.
    # And Slither takes every field of `Progress`, in which the deadline stands, for a time: phase, counters, nodes.
    "timestamp",
    "incorrect-equality",
)
ARGUMENTS = (
    "contracts",
    "--solc-standard-json",
    *("--solc", "deploy/solc"),
    *("--solc-remaps", "@openzeppelin=node_modules/@openzeppelin"),
    "--solc-disable-warnings",  # brownie shows them
    *("--include-paths", "^(?!.*/node_modules/).*/contracts/(?!interfaces/|mocks/)"),
    *("--exclude", ",".join(LEFT_OUT)),
    "--exclude-informational",
    "--exclude-optimization",
    "--fail-low",
)


def main(arguments: list[str]) -> None:
    os.chdir(ROOT)
    home = ROOT / "build" / "home"  # where solc-select, which is not used, makes a folder when it is imported
    home.mkdir(parents=True, exist_ok=True)
    os.environ["HOME"] = str(home)
    os.environ.pop("VIRTUAL_ENV", None)
    from slither.__main__ import main as slither
    from slither.solc_parsing.slither_compilation_unit_solc import SlitherCompilationUnitSolc as Unit

    analyse = Unit._analyze_second_part

    def constants_first(unit: Any, *rest: Any) -> None:
        """Slither 0.11.6 reads structs of libraries before constants of file level, which may be lengths in them."""
        unit._analyze_top_level_variables()
        analyse(unit, *rest)

    Unit._analyze_second_part = constants_first
    sys.argv = ["slither", *ARGUMENTS, *arguments]
    slither()


if __name__ == "__main__":
    main(sys.argv[1:])
