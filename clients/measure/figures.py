"""Puts the figures of the reports into README and docs, between markers, so that words and reports do not part.

    python -m measure.figures            writes them
    python -m measure.figures --check    names the documents that differ, and exits with 1

A block begins with `<!-- figures: NAME -->` and ends with `<!-- end of figures -->`; what is between is written anew.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gridpact.community.read import read_community

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "reports"
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)

Report = Any
"""What a JSON file of `reports/` holds."""


def iterations(reports: Mapping[str, Report]) -> str:
    """How fast plans get near the optimum, by case and scenario; shipped days in cold starts."""
    rows = [row for row in reports["bench"]["iterations"] if row["start"] == "cold"]

    def cells() -> Iterator[tuple[str, ...]]:
        for case in ("fontana16", "amsterdam16", "stress16"):
            for scenario in ("T", "TG", "G"):
                some = [row for row in rows if (row["case"], row["scenario"]) == (case, scenario)]
                if not some:
                    continue
                days = len(read_community(case).days)
                feasible = f"{len(some)}" if len(some) == days else f"{len(some)} of {days} feasible"
                middles = (_middle(some, key) for key in ("to_0_8_percent", "to_0_1_percent", "stopped_at"))
                yield case, scenario, feasible, *middles, f"{max(abs(row['gap_at_stop']) for row in some):.3%}"

    head = (
        *("case", "scenario", "days", "to 0.8 %: median, most", "to 0.1 %: median, most"),
        *("stopped at: median, most", "gap there, most"),
    )
    return _table(head, [(*row[:-1], row[-1].replace("%", " %")) for row in cells()], repeated=1)


def _middle(rows: Sequence[Report], key: str) -> str:
    values = [row[key] for row in rows]
    return f"{statistics.median(values):g}, {max(values)}"


def waiting(reports: Mapping[str, Report]) -> str:
    """How long a round takes on the chains of this machine."""
    rows = [
        (
            f"{row['day']}, {row['iterations']} iterations",
            *(row["chain"], row["mode"]),
            *(f"{row[key]:.1f} s" for key in ("startup_s", "round_s", "in_memory_s")),
        )
        for row in reports["bench"]["waiting"]
    ]
    head = (
        *("day", "chain", "mode", "to the first iteration", "round"),
        "the same in memory, without a chain",
    )
    return _table(head, rows, repeated=2)


def growth(reports: Mapping[str, Report]) -> str:
    """How rounds grow with the number of households."""
    day = {row["households"]: row for row in reports["bench"]["growth"] if row["steps"] == 24}
    few, some, many = (day[households] for households in (16, 64, 256))
    kilobytes = {round(row["bytes_per_household"] / 1000, 2) for row in (few, some, many)}
    split = max(reports["bench"]["split"], key=lambda row: row["households"])
    sizes = " to ".join(f"{size:g}" for size in (sorted(kilobytes)[:: max(len(kilobytes) - 1, 1)]))
    return (
        f"With eight partners at most, 16, 64 and 256 households stop after {few['iterations']}, {some['iterations']} "
        f"and {many['iterations']} iterations, each at\n{sizes} kB an iteration. {split['households']:,} households, "
        f"split by feeder with one contract above those of the feeders,\nstop after {split['iterations']} "
        "([docs/benchmarks.md](docs/benchmarks.md)).\n"
    )


def gas(reports: Mapping[str, Report]) -> str:
    """Gas of two days, direct and relayed, beside a plain contract."""
    by = {(row["size"], row["mode"]): row for row in reports["gas"]}
    rows = []
    for day in ("06-10", "12-22"):
        plain = by[day, "reference"]["gas_per_household_iteration"]
        for mode in ("direct", "relayed"):
            row = by[day, mode]
            each, whole = row["gas_per_household_iteration"], row["round_gas_to_0_8_percent"] / 1e6
            after = f" in {row['iterations_to_0_8_percent']} iterations" if mode == "direct" else ""
            rows.append((day, mode, f"{each:,.0f}", f"{plain / each:.0f}", f"{whole:.1f} M{after}"))
    head = (
        *("fontana16 day", "mode", "gas a household and iteration"),
        *("times less than a plain int256 contract", "a round to 0.8 %"),
    )
    return _table(head, rows, repeated=1)


def calls(reports: Mapping[str, Report]) -> str:
    """What single calls, and the steps of whole rounds, cost beside the first version of the contracts."""
    first, now = reports["first_version"], reports["calls"]
    rows = [
        (f"{name}", f"{gas:,}", f"{now[name]:,}", f"{now[name] / gas - 1:+.1%}".replace("%", " %"))
        for name, gas in sorted(first["calls"].items())
        if "reference" not in name
    ]
    for before, after in zip(first["rounds"], reports["rounds"], strict=True):
        for step in ("deploy", "enrol", "declare", "submit", "settle", "deliver"):
            gas, later = before["gas_by_step"][step], after["gas_by_step"][step]
            what = f"all of a round of {before['case']} {before['day']}: {step}"
            rows.append((what, f"{gas:,}", f"{later:,}", f"{later / gas - 1:+.1%}".replace("%", " %")))
    news = [(name, "-", f"{gas:,}", "") for name, gas in sorted(now.items()) if name.startswith("flexibility")]
    return _table(("call", "first version", "now", ""), [*rows, *news], repeated=0)


def survival(reports: Mapping[str, Report]) -> str:
    """What is left of TG's planned saving by each rule, on the days that were measured."""
    rows = []
    for day in reports["survival"]:
        by = {(rule["name"], rule["re_agreements"]): rule for rule in day["rules"]}
        most = max(number for _, number in by)
        rounds = {_often(one, most): one for one in day["re_agreement_rounds"]}
        rows.append(
            (
                f"{day['case']} {day['days'][0]}",
                str(day["draws"]),
                f"{day['planned_saving']:.2f} {day['currency']}",
                *(_left(by[name, 0]) for name in ("today", "netted", "pool")),
                *(_left(by["reagreed", number]) for number in (4, most)),
                *(f"{rounds[k]['iterations_median']:g}, {rounds[k]['iterations_most']}" for k in (4, most)),
            )
        )
    head = (
        *("TG", "draws", "planned", "`today`", "`netted`", "`pool`", "`reagreed`, 4 a day", "before every step"),
        *("iterations of 4 a day: median, most", "before every step"),
    )
    return _table(head, rows, repeated=0)


def _often(rounds: Report, most: int) -> int:
    return most if rounds["re_agreements"] == "every" else int(rounds["re_agreements"])


def _left(rule: Report) -> str:
    """Of the planned saving, and in brackets the lowest median of a home and how many lose."""
    return f"{rule['share_left']:.0%} ({rule['worst_home_median']:.3f}, {rule['losing_homes']})".replace("%", " %")


def losers(reports: Mapping[str, Report]) -> str:
    """Which homes lose in the median, by how often the rest of a day is agreed anew."""
    rows = []
    for day in reports["curve"]:
        for rule in sorted(day["rules"], key=lambda one: one["re_agreements"]):
            if rule["name"] in ("pool", "reagreed"):
                lose = {name: home["median"] for name, home in rule["by_home"].items() if home["median"] < -0.0005}
                told = ", ".join(f"{name} {saved:.3f}" for name, saved in sorted(lose.items(), key=lambda one: one[1]))
                rows.append((f"{day['case']} {day['days'][0]}", str(rule["re_agreements"]), told or "nobody"))
    return _table(("TG", "re-agreements a day", "homes that lose, and what in the median"), rows, repeated=1)


def sharings(reports: Mapping[str, Report]) -> str:
    """Who loses by how a pool is paid and adders are borne, on days and streets."""
    rows = []
    for day in reports["losers"]:
        by = {(one["pool_price"], one["adders"]): one for one in day["sharings"] if one["rule"] == "reagreed"}
        (saved,) = (saving for name, saving in day["saving"].items() if name.startswith("reagreed"))
        rows.append(
            (
                f"{day['case']} {day['day']}",
                f"{day['homes']}, {day['draws']}",
                f"{day['planned_saving']:.2f} {day['currency']}",
                f"{saved:.2f}",
                *(
                    f"{one['losing_homes']} ({one['worst_home_median']:.3f}), {one['losing_homes_mean']}"
                    for price in ("mid-market", "ratio")
                    for one in (by[price, adders] for adders in ("caused", "gained"))
                ),
            )
        )
    head = (
        *("TG, four a day", "homes, draws", "planned", "saved, median", "mid-market, adders by cause"),
        *("mid-market, by gain", "ratio, by cause", "ratio, by gain"),
    )
    return _table(head, rows, repeated=0)


def weeks(reports: Mapping[str, Report]) -> str:
    """What is left over weeks, each and both of a case together."""
    names, rows = ("today", "netted", "pool", "reagreed"), []
    for case in dict.fromkeys(week["case"] for week in reports["weeks"]):
        some = [week for week in reports["weeks"] if week["case"] == case]
        kept = [{rule["name"]: rule["median"] for rule in week["rules"]} for week in some]
        spans = [f"{week['days'][0]} to {week['days'][-1]}" for week in some]
        for span, of, by in zip(spans, some, kept, strict=True):
            rows.append((case, span, str(of["draws"]), *_kept(of["currency"], [of], [by], names)))
        if len(some) > 1:
            rows.append((case, "both", str(some[0]["draws"]), *_kept(some[0]["currency"], some, kept, names)))
    head = ("TG", "days", "draws", "planned", "`today`", "`netted`", "`pool`", "`reagreed`, 4 a day")
    return _table(head, rows, repeated=1)


def _kept(currency: str, of: Sequence[Report], kept: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[str]:
    planned = sum(week["planned_saving"] for week in of)
    shares = (sum(by[name] for by in kept) / planned for name in names)
    return [f"{planned:.2f} {currency}", *(f"{share:.0%}".replace("%", " %") for share in shares)]


def faulty_days(reports: Mapping[str, Report]) -> str:
    """What went wrong on the days of `make faultydays`, and what came of it."""
    days = reports["days"]
    faults = ", ".join(f"{number} {kind}" for kind, number in sorted(days["faults"].items()) if "oracle" not in kind)
    oracles = ", ".join(f"{n} {kind.split()[1]}" for kind, n in sorted(days["faults"].items()) if "oracle" in kind)
    rows = [
        ("days, of which closed", f"{days['days']}, {days['days_closed']}"),
        ("households, by what they did", faults),
        ("oracles", oracles),
        ("rounds agreed", f"{days['rounds_agreed']}"),
        ("households that were plain customers that day", f"{days['plain_customers']}"),
        ("readings that never came", f"{days['missing_readings']}"),
        ("token units lost or made, still locked", f"{days['money_lost']}, {days['locked']}"),
    ]
    return _table(("`make faultydays`", ""), rows, repeated=0)


def phases(reports: Mapping[str, Report]) -> str:
    """Plans on streets with phases, by case and scenario, judged by OpenDSS."""
    report = reports["phases"]
    balanced = {(row["homes"], row["scenario"]): row["balanced_ms"] for row in report["node_0"]}
    rows = []
    for case in dict.fromkeys(row["case"] for row in report["days"]):
        for scenario in ("TG", "G"):
            every = [row for row in report["days"] if (row["case"], row["scenario"]) == (case, scenario)]
            some = [row for row in every if "failure" not in row]
            followed = [row for row in some if row["to_0_1_percent"] is not None]
            homes, alone = some[0]["homes"], sum(row["alone_steps_outside"] for row in some)
            node_0 = statistics.median(row["node_0_ms"] for row in some if "node_0_ms" in row)
            rows.append(
                (
                    *(case, scenario, f"{len(some)}" + (f" of {len(every)}" if len(some) < len(every) else "")),
                    f"{sum(row['steps_outside'] for row in some)} ({alone})",
                    f"{min(r['voltage_min_pu'] for r in some):.4f} to {max(r['voltage_max_pu'] for r in some):.4f}",
                    f"{max(row['voltage_difference_pu'] for row in some):.0e}",
                    _middle(followed, "to_0_1_percent") if followed else "",
                    _middle(some, "stopped_at"),
                    f"{max(abs(row['gap_at_stop']) for row in some):.3%}".replace("%", " %"),
                    f"{node_0:.1f} ms, {balanced[homes, scenario]:.1f} ms",
                )
            )
    head = (
        *("case", "scenario", "days", "steps outside (each home alone)", "voltages, p.u.", "planner and OpenDSS, most"),
        *("to 0.1 %: median, most", "stopped at: median, most", "gap there, most", "node 0 an iteration, balanced"),
    )
    return _table(head, rows, repeated=1)


def non_convex(reports: Mapping[str, Report]) -> str:
    """The convex passes beside IPOPT."""
    rows = [
        (row["case"], row["day"], f"{row['ipopt']:.5f}", f"{row['convex']:.5f}",
         f"{row['convex'] / row['ipopt'] - 1:.4%}".replace("%", " %"))
        for row in reports["phases"]["non_convex"]
    ]  # fmt: skip
    return _table(("case", "day", "IPOPT, not convex", "convex passes", "difference"), rows, repeated=1)


def thesis(reports: Mapping[str, Report]) -> str:
    """Bills of 15 homes by three pricings, as in the thesis's Table 5.3."""
    plans = ("unified", "identified", "mid-market")
    rows = [
        (str(row["home"]), f"{row['kwp']:g}", f"{row['alone']:.2f}", *(f"{row[plan]:.2f}" for plan in plans))
        for row in reports["plans"]["thesis"]
    ]
    total = {plan: sum(row[plan] for row in reports["plans"]["thesis"]) for plan in ("alone", *plans)}
    less = (f"{total[plan]:.2f} (-{1 - total[plan] / total['alone']:.1%})".replace("%", " %") for plan in plans)
    rows.append(("all", "", f"{total['alone']:.2f}", *less))
    return _table(("home", "panels, kWp", "a day, each on its own", *plans), rows, repeated=0)


def thesis_with_devices(reports: Mapping[str, Report]) -> str:
    """The same with batteries and cars, and by which plan most homes pay least."""
    report, plans = reports["plans"], ("alone", "unified", "identified", "mid-market")
    of = report["thesis_with_devices"]
    rows = [
        (str(row["home"]), f"{row['kwp']:g}", row["devices"], *(f"{row[plan]:.2f}" for plan in plans)) for row in of
    ]
    total = {plan: sum(row[plan] for row in of) for plan in plans}
    less = (f"{total[plan]:.2f} (-{1 - total[plan] / total['alone']:.1%})".replace("%", " %") for plan in plans[1:])
    rows.append(("all", "", "", f"{total['alone']:.2f}", *less))
    header = ("home", "panels, kWp", "has", "a day, each on its own", *plans[1:])
    without, with_ = (
        ", ".join(f"{best[plan]} by {plan}" for plan in plans[1:] if plan in best)
        for best in (report["thesis_best"], report["thesis_best_with_devices"])
    )
    return f"{_table(header, rows, repeated=0)}\nHomes that pay least: {with_}; without batteries and cars {without}.\n"


def plans(reports: Mapping[str, Report]) -> str:
    """Which pricing suits whom: the rule, how often it is right, and who is best off by what."""
    report, trial = reports["plans"], reports["plans"]["trial"]
    names = ("panels, kWp", "use, kWh a day", "used from 9 to 17 h, %")
    by = ("unified", "identified", "mid-market")
    rows = [
        (
            group["plan"],
            str(group["homes"]),
            *(f"{group[name]:.1f}" for name in names),
            *(f"{group[f'saves by {plan}']:.2f}" for plan in by),
        )
        for group in report["groups"]
    ]
    table = _table(("pays least by", "homes", *names, *(f"saves a day by {plan}" for plan in by)), rows, repeated=0)
    right, common = (f"{100 * part:.0f} %" for part in (trial["right"], trial["right_common"]))
    return (
        f"{table}\n*{report['rule']}* is right for {right} of homes of which it has seen no other copy, what is most "
        f"common for {common}; beside the best plan it loses a home {trial['lost']:.2f} a day, what is most common "
        f"{trial['lost_common']:.2f} ({report['homes']} homes, {report['days']} days).\n"
    )


def curve(reports: Mapping[str, Report]) -> str:
    """What is left of TG's planned saving by the number of re-agreements, between today's rules and what was possible,
    on the days that were measured."""

    def cells(of: Report) -> Iterator[str]:
        yield f"{of['share_left']:.0%}".replace("%", " %")
        yield f"{of['worst_home_median']:.3f}"
        yield str(of["losing_homes"])

    rows = []
    for day in reports["curve"]:
        rules = {rule["name"]: rule for rule in day["rules"]}
        first = f"{day['case']} {day['days'][0]}", str(day["draws"])
        rows.append((*first, "today's rules", *cells(rules["today"]), "", ""))
        for point in day["curve"]:
            iterations, gas = f"{point['iterations']:.0f}", f"{point['gas_of_home'] / 1e6:.1f}"
            rows.append((*first, str(point["re_agreements"]), *cells(point), iterations, gas))
        if "hindsight" in rules:
            rows.append((*first, "all known beforehand", *cells(rules["hindsight"]), "", ""))
    head = (
        *("TG", "draws", "re-agreements a day", "left of the plan's saving, median", "lowest median of a home"),
        *("homes that lose", "iterations a day", "gas of a home a day, million"),
    )
    return _table(head, rows, repeated=2)


def manager_gas(reports: Mapping[str, Report]) -> str:
    """What the price of a community costs 64 homes."""
    named = "price of 64 homes, 24 steps: "
    calls = {name.removeprefix(named): gas for name, gas in reports["calls"].items() if name.startswith(named)}
    return _table(("a call, 64 homes with 24 steps", "gas"), [(name, f"{gas:,}") for name, gas in calls.items()], 0)


def platforms(reports: Mapping[str, Report]) -> str:
    """The same plays on several chains: transfers, what a play takes, what a node that fails does."""
    words = {"round": "round of TG by relay", "auction": "call auction", "manager": "community with a manager"}
    rows = []
    for row in reports["platforms"]["rows"]:
        of = (row["platform"], f"{row['case']}, {row['homes']} homes")
        for play, name in words.items():
            if (one := row.get(play)) is not None:
                size = "-" if "bytes" not in one else f"{one['bytes'] / 1000:,.0f}"
                each = f"{1000 * one['chain_cpu_s'] / one['transactions']:.1f}"
                seconds = (f"{one[key]:.1f}" for key in ("chain_cpu_s", "wall_s"))
                rows.append((*of, name, f"{one['transactions']:,}", f"{one['gas'] / 1e6:.1f}", size, *seconds, each))
    head = (
        *("platform", "case", "play", "transactions", "gas, million", "bytes in blocks, kB"),
        *("CPU of the chain, s", "wall, s", "CPU a transaction, ms"),
    )
    return _table(head, rows, repeated=2)


def platform_faults(reports: Mapping[str, Report]) -> str:
    """Transfers, and what one failed node does, by platform; and which were not here."""
    rows = []
    for row in reports["platforms"]["rows"]:
        sent, failed = row["transfers"], row.get("failure")
        if failed is None:
            said = "it ends with its process"
        elif failed["goes_on"]:
            said = f"the others go on: the next transfer after {failed['wait_s']:.1f} s"
        else:
            kept = "all blocks there" if failed["blocks_kept"] else "all blocks lost"
            said = f"nothing goes on; started again, {kept}"
        numbers = (f"{sent['a_second']:,.0f}", f"{sent['cpu_ms_each']:.1f}", f"{sent['median_wait_s']:.2f}")
        rows.append((row["platform"], *numbers, f"{row['load']:g}", said))
    rows += [(name, "", "", "", "", f"not measured: {why}") for name, why in reports["platforms"]["missing"].items()]
    head = (
        *("platform", "transfers a second", "CPU each, ms", "to its block, median, s", "load of the machine"),
        "one node ended by force",
    )
    return _table(head, rows, repeated=0)


BLOCKS: dict[str, Callable[[Mapping[str, Report]], str]] = {
    "iterations": iterations,
    "waiting": waiting,
    "growth": growth,
    "gas": gas,
    "survival": survival,
    "curve": curve,
    "losers": losers,
    "sharings": sharings,
    "weeks": weeks,
    "faulty-days": faulty_days,
    "calls": calls,
    "phases": phases,
    "non-convex": non_convex,
    "thesis": thesis,
    "thesis-devices": thesis_with_devices,
    "plans": plans,
    "manager-gas": manager_gas,
    "platforms": platforms,
    "platform-faults": platform_faults,
}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], repeated: int) -> str:
    """A table in Markdown; in the first `repeated` columns a cell that is as above, with all before it, stays empty."""
    lines = [head, ["---"] * len(head)]
    for number, row in enumerate(rows):
        above = rows[number - 1] if number else [""] * len(row)
        same = [list(row[: k + 1]) == list(above[: k + 1]) for k in range(repeated)]
        lines.append(["" if k < repeated and same[k] else cell for k, cell in enumerate(row)])
    return "".join("| " + " | ".join(line).replace("  ", " ").lstrip() + " |\n" for line in lines)


def filled(text: str, reports: Mapping[str, Report]) -> str:
    """A document with its figures.

    Raises:
        KeyError: it has a block that nobody knows.
    """
    return BLOCK.sub(lambda block: block[1] + BLOCKS[block[2]](reports) + block[4], text)


def documents() -> list[Path]:
    """Those that may have blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read_reports() -> dict[str, Report]:
    """By name; and the gas of single calls, which the contracts' tests keep."""
    paths = {path.stem: path for path in REPORTS.glob("*.json")} | {"calls": ROOT / "tests" / "contracts" / "gas.json"}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    check, reports, differ = parser.parse_args().check, read_reports(), []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (new := filled(text, reports)) != text:
            differ.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(new, encoding="utf-8")
    if differ:
        print(f"{'figures differ from the reports' if check else 'written'}: {', '.join(differ)}", file=sys.stderr)
    return int(check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
