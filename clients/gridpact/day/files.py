"""What a household is given for a day beside its key and its household file: the day's terms, and what will happen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gridpact.chain.flexibility import OfferTerms
from gridpact.community.model import Array
from gridpact.files import parse_json, write_atomically
from gridpact.run.launch import NodeFiles
from gridpact.study.whatif.delivery import Actual
from gridpact.study.whatif.following import AskedPart, DecidedStep


@dataclass(frozen=True)
class Deal:
    """What two parties agree on besides: a spot trade, an option or a forward of a step. Energies Wh, prices 1e-6
    currency/kWh, premium and collateral token units."""

    kind: str  # spot, option, forward
    seller: int  # node
    buyer: int
    step: int
    energy_wh: int
    price: int  # of an option the strike; of a forward its base
    premium: int = 0
    collateral: int = 0
    slope: int = 0
    floor: int = 0
    cap: int = 0
    usual: int = 0
    oracle: str = ""


@dataclass(frozen=True)
class Orders:
    """What is the same for all households of a day, and what is this one's."""

    day: int  # label
    round: int  # of the day before
    lock: int  # token units
    adder: float  # currency/kWh
    public_price: float
    deals: tuple[Deal, ...] = ()
    silent_from: int | None = None  # step from which this household is not heard any more
    re_agreed_at: tuple[int, ...] = ()  # steps before which the rest of the day may be agreed anew
    follows: bool = True  # whether its stores follow the community's meter within a step
    offer: OfferTerms | None = None  # what this household opts in to

    def write(self, folder: Path) -> None:
        write_atomically(folder / "day.json", json.dumps(asdict(self)) + "\n")

    @staticmethod
    def read(folder: Path) -> Orders:
        values = parse_json((folder / "day.json").read_text(encoding="utf-8"))
        deals, gates = tuple(Deal(**deal) for deal in values["deals"]), tuple(values["re_agreed_at"])
        offer = None if values["offer"] is None else OfferTerms(**values["offer"])
        return Orders(**values | {"deals": deals, "re_agreed_at": gates, "offer": offer})


def write_actual(actual: Actual, folder: Path) -> None:
    """What happens behind a meter: in a demonstration it is known to the household's process only."""

    def plain(series: Sequence[Mapping[str, Array]]) -> list[dict[str, list[float]]]:
        return [{name: np.asarray(values).tolist() for name, values in one.items()} for one in series]

    values = {
        "load_kw": actual.load_kw.tolist(),
        "guess_load_kw": actual.guess_load_kw.tolist(),
        "realised": plain(actual.realised),
        "guesses": plain(actual.guesses),
    }
    write_atomically(folder / "actual.json", json.dumps(values) + "\n")


def read_actual(folder: Path) -> Actual:
    values = parse_json((folder / "actual.json").read_text(encoding="utf-8"))

    def arrays(series: Sequence[Mapping[str, list[float]]]) -> list[dict[str, Array]]:
        return [{name: np.array(numbers, dtype=float) for name, numbers in one.items()} for one in series]

    return Actual(
        np.array(values["load_kw"]),
        np.array(values["guess_load_kw"]),
        arrays(values["realised"]),
        arrays(values["guesses"]),
    )


class MeterFiles:
    """A household's meter: a file a step, which the office reads."""

    def __init__(self, files: NodeFiles) -> None:
        self._folder = files.folder

    def write(self, step: int, fed_wh: int) -> None:
        write_atomically(self._folder / f"meter-{step}", f"{fed_wh}\n")

    def read(self, step: int) -> int | None:
        """Wh fed in at a step; None where the meter has not said (yet)."""
        path = self._folder / f"meter-{step}"
        return int(path.read_text(encoding="ascii")) if path.exists() else None

    def say(self, step: int, turn: int, decided: DecidedStep) -> None:
        """What the household has decided of a step, once it was told of the others so many times."""
        write_atomically(self._folder / f"decided-{step}-{turn}", json.dumps(asdict(decided)) + "\n")

    def said(self, step: int, turn: int) -> DecidedStep | None:
        """None where it has not been said (yet)."""
        path = self._folder / f"decided-{step}-{turn}"
        return DecidedStep(**parse_json(path.read_text(encoding="ascii"))) if path.exists() else None

    def ask(self, step: int, turn: int, asked: AskedPart | None) -> None:
        """Tells the household its part of what the community deviates; None: that nothing more is asked."""
        part = None if asked is None else asdict(asked)
        write_atomically(self._folder / f"asked-{step}-{turn}", json.dumps({"part": part}) + "\n")

    def asked(self, step: int, turn: int) -> tuple[bool, AskedPart | None]:
        """Whether it has been told, and what."""
        path = self._folder / f"asked-{step}-{turn}"
        if not path.exists():
            return False, None
        part = parse_json(path.read_text(encoding="ascii"))["part"]
        return True, None if part is None else AskedPart(**part)

    def expect(self, first: int, net_load_kw: Array) -> None:
        """Says what load less PV output is expected to be from a step on, (T - first,)."""
        write_atomically(self._folder / f"expected-{first}", json.dumps(net_load_kw.tolist()) + "\n")

    def expected(self, first: int) -> Array | None:
        """None where it has not been said (yet)."""
        path = self._folder / f"expected-{first}"
        return np.array(parse_json(path.read_text(encoding="ascii")), dtype=float) if path.exists() else None
