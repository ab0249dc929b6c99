"""What a day costs a household: on Ethereum, on a rollup, on a community's own network.

    python -m measure.costs [--out docs/costs.md] [--eth-price EUR] [--measure]

prints the tables of `docs/costs.md` from measured gas, and writes them with --out. It reads reports/gas.json
(`measure.gas`), reports/bench.json (`measure.bench`) and reports/rounds.json: whole rounds with
settlement, which --measure plays again on Anvil.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from gridpact.chain.profiles import ETH_PRICE_EUR
from gridpact.errors import InputError
from gridpact.events import Event, Stage
from gridpact.files import write_atomically
from gridpact.report.markdown import markdown

REPORTS = Path(__file__).resolve().parents[2] / "reports"
CASE, DAYS, SCENARIO = "fontana16", ("06-10", "12-22"), "TG"
CASES = ("fontana16", "amsterdam16")
MODES = ("direct", "relayed")

GWEI_IN_ETH = 1e-9
TRANSACTION_GAS = 21_000
FLOOR_GAS_A_TOKEN, TOKENS_A_BYTE = 10, 4
"""EIP-7623: a zero byte of calldata is one token, any other four."""

MAINNET_GWEI = (0.2, 1.0, 5.0, 20.0)
ROLLUP_GWEI = ((0.005, 0.2), (0.02, 1.0), (0.1, 5.0))
"""Gas price on the rollup, and base fee of Ethereum at the same time."""

BLOB_SHARE = 1 / 16
"""Base fee of blobs, by the base fee of gas: near its reserve price (EIP-7918)."""

BASE_FEE_SCALAR, BLOB_FEE_SCALAR = 2269 / 1e6, 1_055_762 / 1e6
FASTLZ = 0.8365
"""Of Base: its data fee is so many bytes, as FastLZ compresses them, by the two fees of Ethereum (OP stack, Fjord)."""

ENVELOPE_BYTES = 110
"""Of a signed transaction beside its calldata."""

CENTS = 10.0
"""A day, a household: for which the gas price is told."""


# ---------------------------------------------------------------------- what was measured


@dataclass(frozen=True)
class PlayedRound:
    """A whole round on a chain, with settlement."""

    case: str
    day: str
    scenario: str
    households: int
    iterations: int
    transactions: int
    gas_by_step: Mapping[str, int]  # of the whole community


@dataclass(frozen=True)
class Daily:
    """Gas and data of a community's day, a household."""

    name: str
    mode: str
    households: int
    iterations: int
    opening: float
    negotiation: float
    settlement: float  # trades
    delivery: float  # meter readings
    floor: float  # EIP-7623, of the negotiation
    data_bytes: float  # of the negotiation, without zeros

    @property
    def gas(self) -> float:
        return self.opening + max(self.negotiation, self.floor) + self.settlement + self.delivery

    @property
    def all_data_bytes(self) -> float:
        """As if all transactions had as much data for their gas as those of the negotiation."""
        return self.data_bytes * self.gas / self.negotiation

    def mainnet_eur(self, gwei: float, eth_price_eur: float) -> float:
        return self.gas * gwei * GWEI_IN_ETH * eth_price_eur

    def rollup_eur(self, gwei: float, ethereum_gwei: float, eth_price_eur: float) -> float:
        """Gas on the rollup, and its data on Ethereum."""
        byte_gwei = 16 * BASE_FEE_SCALAR * ethereum_gwei + BLOB_FEE_SCALAR * BLOB_SHARE * ethereum_gwei
        data = FASTLZ * self.all_data_bytes * byte_gwei
        return (self.gas * gwei + data) * GWEI_IN_ETH * eth_price_eur


def daily(name: str, row: Mapping[str, Any], iterations: int, settlement: float = 0.0, delivery: float = 0.0) -> Daily:
    """A day, from the gas of an iteration and the number of iterations; settlement and delivery in gas a household."""
    n = int(row["households"])
    transactions = row["transactions"] / n
    tokens = (row["eip7623_floor"] - TRANSACTION_GAS * transactions) / FLOOR_GAS_A_TOKEN
    return Daily(
        name=name,
        mode=str(row["mode"]),
        households=n,
        iterations=iterations,
        opening=row["opening_gas"] / n,
        negotiation=iterations * row["gas_per_household_iteration"] + row["first_gas"],
        settlement=settlement,
        delivery=delivery,
        floor=iterations * row["eip7623_floor"],
        data_bytes=iterations * (tokens / TOKENS_A_BYTE + ENVELOPE_BYTES * transactions),
    )


def with_first_gas(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of gas.json with `first_gas`: what the first iterations, which fill new storage, cost a household more than
    later ones do; from the round to 0.8 %."""
    iterations, steady = row["iterations_to_0_8_percent"], row["gas_per_household_iteration"]
    negotiation = (row["round_gas_to_0_8_percent"] - row["opening_gas"]) / row["households"]
    return {**row, "first_gas": negotiation - iterations * steady}


def days(gas: Sequence[Mapping[str, Any]], bench: Mapping[str, Any], played: Sequence[PlayedRound]) -> list[Daily]:
    """The days that were played, with as many iterations as they took there; and one in the middle of all days."""
    played_days = {one.day for one in played}
    rows = {(row["size"], row["mode"]): with_first_gas(row) for row in gas if row["size"] in played_days}
    parts = {one.day: [one.gas_by_step[step] / one.households for step in ("settle", "deliver")] for one in played}
    result = [
        daily(f"{one.case} {one.day}", rows[one.day, mode], one.iterations, *parts[one.day])
        for one in played
        for mode in MODES
    ]
    stops = [one["stopped_at"] for one in shipped_days(bench)]
    for mode in MODES:
        alike = [rows[one.day, mode] for one in played]
        figures = ("opening_gas", "gas_per_household_iteration", "first_gas", "eip7623_floor")
        middle = {**alike[0], **{name: mean(row[name] for row in alike) for name in figures}}
        settlement, delivery = (mean(values) for values in zip(*parts.values(), strict=True))
        result.append(daily(f"median of {len(stops)} days", middle, round(median(stops)), settlement, delivery))
    return result


def shipped_days(bench: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The days of 16 households on feeders where a plan is always feasible."""
    return [one for one in bench["iterations"] if one["case"] in CASES and one["scenario"] == SCENARIO]


def sizes(gas: Sequence[Mapping[str, Any]], bench: Mapping[str, Any]) -> list[Daily]:
    """Grown communities, without settlement: as many iterations as `bench` needed."""
    grown_days = []
    for grown in bench["growth"]:
        size = f"{grown['households']}x{grown['steps']}"
        for row in gas:
            if row["size"] == size and row["mode"] in MODES:
                grown_days.append(daily(size.replace("x", " x "), with_first_gas(row), grown["iterations"]))
    return grown_days


# ---------------------------------------------------------------------- the document


def document(
    gas: Sequence[Mapping[str, Any]],
    bench: Mapping[str, Any],
    played: Sequence[PlayedRound],
    eth_price_eur: float = ETH_PRICE_EUR,
) -> str:
    """`docs/costs.md`."""
    community_days = days(gas, bench, played)
    stops = [one["stopped_at"] for one in shipped_days(bench)]
    scalars = f"{BASE_FEE_SCALAR:.6f} and {BLOB_FEE_SCALAR:.6f}"
    return "\n".join(
        [
            INTRODUCTION.format(
                case=CASE,
                scenario=SCENARIO,
                cases=" and ".join(CASES),
                days=len(stops),
                least=min(stops),
                most=max(stops),
            ),
            _gas_table(community_days),
            "",
            SIZES,
            _size_table(sizes(gas, bench)),
            "",
            ASSUMPTIONS.format(
                price=f"{eth_price_eur:,.0f}", scalars=scalars, fastlz=FASTLZ, share=round(1 / BLOB_SHARE), cents=CENTS
            ),
            _euro_table(community_days, eth_price_eur),
            "",
            ONCE,
            _once_table(played, eth_price_eur),
            "",
            CLOSING,
        ]
    )


def _gas_table(rows: Sequence[Daily]) -> str:
    return markdown(
        "day | mode | iterations | opening | negotiation | trades | meter readings | **together** "
        "| EIP-7623 floor of the negotiation | of the gas",
        (
            f"{row.name} | {row.mode} | {row.iterations} | {row.opening:,.0f} | {row.negotiation:,.0f} "
            f"| {row.settlement:,.0f} | {row.delivery:,.0f} | **{row.gas:,.0f}** | {row.floor:,.0f} "
            f"| {row.floor / row.negotiation:.0%}"
            for row in rows
        ),
        words=2,
    )


def _size_table(rows: Sequence[Daily]) -> str:
    return markdown(
        "households x steps | mode | iterations | opening and negotiation | EIP-7623 floor of the negotiation",
        (
            f"{row.name} | {row.mode} | {row.iterations} | {row.opening + row.negotiation:,.0f} | {row.floor:,.0f}"
            for row in rows
        ),
        words=2,
    )


def _euro_table(rows: Sequence[Daily], eth_price_eur: float) -> str:
    names = [
        *(f"Ethereum, {gwei:g} gwei" for gwei in MAINNET_GWEI),
        *(f"rollup, {gwei:g} gwei (Ethereum {ethereum:g})" for gwei, ethereum in ROLLUP_GWEI),
        "own network",
        f"gas price for {CENTS:g} cents",
    ]
    lines = []
    for row in rows:
        cells = [
            *(row.mainnet_eur(gwei, eth_price_eur) for gwei in MAINNET_GWEI),
            *(row.rollup_eur(*prices, eth_price_eur) for prices in ROLLUP_GWEI),
        ]
        shown = [_eur(value) for value in cells]
        enough = CENTS / 100 / row.mainnet_eur(1.0, eth_price_eur)
        lines.append(" | ".join([row.name, row.mode, *shown, "0", f"{enough:.3g} gwei"]))
    return markdown(" | ".join(["day", "mode", *names]), lines, words=2)


def _once_table(played: Sequence[PlayedRound], eth_price_eur: float) -> str:
    one = played[0]
    lines = []
    for step, what in (("deploy", "deploying"), ("enrol", f"enrolling {one.households} households and node 0")):
        gas = one.gas_by_step[step]
        cells = [_eur(gas * gwei * GWEI_IN_ETH * eth_price_eur) for gwei in MAINNET_GWEI]
        lines.append(" | ".join([what, f"{gas:,}", *cells]))
    return markdown(" | ".join(["what", "gas", *(f"{gwei:g} gwei" for gwei in MAINNET_GWEI)]), lines, words=1)


def _eur(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.1 else f"{value:.2g}"


INTRODUCTION = """# What it costs

Gas, and euro a household and day, from measured gas. `python -m measure.costs --out docs/costs.md` makes this
page from the reports; a test fails where it does not fit them.

## Gas a household and day

16 households and 24 steps, scenario {scenario}, star around node 0. Two days of {case} were played to the end on
Anvil (reports/rounds.json): one in summer with many trades, one in winter with few. *Median*: as many iterations as the
median of all {days} days of {cases} took ([benchmarks.md](benchmarks.md): {least} to {most}), with the gas
of the two days. In the open form: a [sealed](privacy.md) round takes some 4 % less of *Negotiation* by relay, and
2 % more without.

- *Opening*: opening the round, and all declarations.
- *Negotiation*: gas of an iteration ([gas.md](gas.md)) by iterations, and what the first ones, which fill new storage,
  cost more.
- *Trades*, *meter readings*: settling them; how many pairs trade matters most there.
- Gas of all who send is shared among the households: node 0's, the relay's and the supplier's included. *Direct*: every
  node sends its own submissions. *Relayed*: one account sends those of all, in one transaction an iteration; where
  nodes or relay are slow, some send their own.
"""

SIZES = """Since Prague a transaction costs at least 21,000 gas and 10 gas a zero and 40 any other byte of its calldata
(EIP-7623). The negotiation uses more than that in every mode and size, so the floor does not bind; it would if the
contract did much less with what it is sent.

Larger communities, opening and negotiation only:
"""

ASSUMPTIONS = """## Euro a household and day

Assumed, not measured: one ETH is {price} EUR, and the gas prices in the heads of the columns, base fee and tip
together. The last column does without them: at that gas price a household's day costs {cents:g} cents.

- *Ethereum*: gas by gas price.
- *Rollup*: an OP-stack chain such as Base. Gas by the gas price there, and the fee for its data on Ethereum
  (specification of the Fjord upgrade, with the scalars of Base, {scalars}): {fastlz} bytes for each byte
  of data, zeros left out, as if the rest did not compress; blobs at 1/{share} of the base fee of Ethereum. The data of
  settlement are taken to be as many for their gas as those of the negotiation.
- *Own network*: validators of the community take no fee. What it costs is machines: four small ones and somebody who
  looks after them.
"""

ONCE = """## Once

Euro on Ethereum. Contracts are deployed once, for all rounds of a community of that size and horizon.
"""

CLOSING = """On Ethereum itself a household's day costs euros, on a rollup cents while gas is quiet there, and on a
network of the community's own no fees at all. The relayed mode is about half as dear, because one transaction carries
what seventeen would.

`gridpact round status` and `gridpact watch` show what a round has cost, and `--max-fee-gwei` sets a limit.
"""


# ---------------------------------------------------------------------- measuring


class _Stages:
    """Shows stages, and no iterations."""

    def hear(self, event: Event) -> None:
        if isinstance(event, Stage):
            print(f"  {event.text} ...", file=sys.stderr, flush=True)


def play(day: str) -> PlayedRound:
    """A whole round of a shipped day in the open form on Anvil, every node sending its own submissions."""
    from gridpact.community.read import read_community
    from gridpact.run.onchain import RunSettings, run

    settings = RunSettings(chain="anvil", sealed=False)
    result = run(read_community(CASE).on(day), settings, _Stages())
    ledger = result.ledger
    assert ledger is not None
    return PlayedRound(
        case=CASE,
        day=day,
        scenario=settings.scenario.name,
        households=len(result.households),
        iterations=result.iterations,
        transactions=ledger.transactions,
        gas_by_step=dict(sorted(ledger.gas_by_step.items())),
    )


def read_report(path: Path) -> Any:
    """A report of this repository.

    Raises:
        InputError: it is not there, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The report {path} cannot be read ({error}): run this in a clone of the repository."
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m measure.costs", description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--eth-price", type=float, default=ETH_PRICE_EUR, metavar="EUR")
    parser.add_argument("--measure", action="store_true", help="play the rounds again, on Anvil (some minutes)")
    arguments = parser.parse_args(argv)
    rounds = REPORTS / "rounds.json"
    if arguments.measure:
        rows = [asdict(play(day)) for day in DAYS]
        write_atomically(rounds, json.dumps(rows, indent=1) + "\n")
    played = [PlayedRound(**row) for row in read_report(rounds)]
    text = document(read_report(REPORTS / "gas.json"), read_report(REPORTS / "bench.json"), played, arguments.eth_price)
    print(text)
    if arguments.out:
        write_atomically(arguments.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
