"""What came of a hybrid market on a chain, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gridpact.run.hybrid import HybridResult, LevelResult

STEPS = ("deploy", "enrol", "test tokens", "declare", "submit", "settle", "deliver")


def summary(result: HybridResult) -> str:
    """A few lines, and gas by level."""
    saved = result.cost_alone - result.cost
    lines = [
        f"{result.agreed} of {result.feeders} feeders agreed, {result.households} homes, "
        f"after at most {result.iterations} iterations, in {result.wall_s:.0f} s",
        f"suppliers' bills {result.cost:.2f}, of each home on its own {result.cost_alone:.2f}: {saved:.2f} saved",
        f"traded {result.traded_kwh:.1f} kWh, {result.beyond_kwh:.1f} kWh of it beyond the feeder; "
        f"{result.left_kwh:.2f} kWh left with gateways, which their supplier settled",
        f"{result.transactions:,} transactions; CPU {result.cpu_s:.0f} s in {result.processes} processes, without the "
        f"chain's; {result.memory_mb:,.0f} MB in the largest",
        "",
        f"{'gas':12}{'feeders':>16}{'a home':>12}{'above':>14}",
    ]
    *feeders, above = result.levels
    of_feeders = sum((Counter(level.gas) for level in feeders), Counter[str]())
    for step in STEPS:
        a_home = of_feeders[step] / result.households
        lines.append(f"{step:12}{of_feeders[step]:16,}{a_home:12,.0f}{above.gas.get(step, 0):14,}")
    lines += _not_agreed(result.levels)
    return "\n".join(lines) + "\n"


def _not_agreed(levels: Sequence[LevelResult]) -> list[str]:
    return [
        f"{level.name}: {level.phase}, {level.failure or 'payments do not add up to zero'}"
        for level in levels
        if level.phase != "converged" or not level.sums_to_zero
    ]
