"""household.toml: what it says, and one sentence with file, table and key for each mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gridpact.community.model import Feeder
from gridpact.community.street import Connection, PhaseFeeder, Transformer
from gridpact.devices.device import DeviceError, Occasion
from gridpact.devices.pv import Panels
from gridpact.devices.registry import KINDS
from gridpact.errors import InputError
from gridpact.problem.scenario import Scenario
from gridpact.service.settings import read_settings
from gridpact.service.template import NewNode, household_toml
from unit.community.networks.test_opendss import written
from unit.service.helpers import FEEDER, HOUSEHOLD, OPERATOR, settings_of


def test_household_isRead(tmp_path: Path) -> None:
    found = settings_of(tmp_path)
    assert (found.node, found.name, found.scenario, found.partners) == (3, "cem", Scenario.TG, (1, 2))
    assert found.chain.record == tmp_path / "contracts.json"
    assert found.key.password_env == "SECRET"
    assert found.home is not None
    assert found.home.devices["battery"]["start_share"] == 0.5
    car = found.home.devices["car"]
    assert (car["from"], car["to"]) == (18 * 60, 6 * 60)
    assert found.forecast is not None
    assert found.forecast.file == str(tmp_path / "forecasts/{day}.json")
    assert found.service.timezone.key == "Europe/Amsterdam"
    assert found.feeder is None
    assert found.chain.max_fee_gwei is None


def test_operator_isRead(tmp_path: Path) -> None:
    found = settings_of(tmp_path, OPERATOR)
    assert found.home is None
    assert found.forecast is None
    assert isinstance(found.feeder, Feeder)
    assert found.feeder.parent == {1: 0, 2: 1, 3: 1}
    assert (found.feeder.voltage_min_pu, found.feeder.voltage_max_pu) == (0.9, 1.05)


HOMES = "household,node,bus,phases\nanna,1,2,1\nben,2,2,3\ncarl,3,3,1 2 3\n"


def test_operatorOfAStreet_isRead(tmp_path: Path) -> None:
    """Homes on phases, two at a bus and none at another, and a transformer; what is wrong has its file and row."""
    (tmp_path / "homes.csv").write_text(HOMES)
    text = f'{OPERATOR}homes = "homes.csv"\ntransformer = {{ kva = 100 }}\n'
    feeder = settings_of(tmp_path, text).feeder
    assert isinstance(feeder, PhaseFeeder)
    assert feeder.connections == (Connection("2", (0,)), Connection("2", (2,)), Connection("3", (0, 1, 2)))
    assert feeder.transformer == Transformer(100.0, 1.5, 3.7)
    assert (feeder.voltage_min_pu, feeder.voltage_max_pu) == (0.9, 1.05)
    (tmp_path / "homes.csv").write_text(HOMES.replace("ben,2,2,3", "ben,2,7,3"))
    with pytest.raises(InputError, match=r"homes.csv, row 3, column 'bus': no line leads to bus '7'"):
        settings_of(tmp_path, text)
    (tmp_path / "homes.csv").write_text(HOMES.replace("ben,2", "ben,3"))
    with pytest.raises(InputError, match=r"homes.csv, row \d, column 'node': nodes are 1, 2, ... without gaps"):
        settings_of(tmp_path, text)


def test_networkFileOfAnOperator_isRead(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "homes.csv").write_text("household,node,load\nanna,1,h3\nben,2,h1\n")
    text = OPERATOR.replace('file = "feeder.csv"', 'network = "master.dss"\nhomes = "homes.csv"')
    feeder = settings_of(tmp_path, text).feeder
    assert isinstance(feeder, PhaseFeeder)
    assert feeder.connections == (Connection("five", (2,)), Connection("four", (1,)))


@pytest.mark.parametrize(("node", "scenario"), [(0, "g"), (0, "tg"), (3, "t"), (3, "g"), (3, "tg")])
def test_template_isReadable(tmp_path: Path, node: int, scenario: str) -> None:
    """All of it, also what is commented out."""
    new = NewNode(node, "a home", "../contracts.json", "http://127.0.0.1:8545", scenario, (1, 2), "feeder.csv")
    text = household_toml(new)
    found = settings_of(tmp_path, text)
    assert (found.node, found.name, found.scenario.value) == (node, "a home", scenario)
    assert found.partners == ((1, 2) if node and "t" in scenario else ())
    lines = [line.removeprefix("# ") for line in text.splitlines()[2:]]
    drop = ("password_env", "or, without", "command", '"forecast": the', "relay", "readings_command")
    full = "\n".join(line for line in lines if not line.startswith(drop))
    found = settings_of(tmp_path, full.replace('"published"', '"fixed"'))
    assert found.chain.chain_id == 1
    assert (found.chain.max_fee_gwei, found.chain.tip_gwei) == (200, 1)
    assert found.tariff.import_price == 0.3
    if node:
        assert (found.day is not None) == ("t" in scenario)
        assert found.home is not None
        assert list(found.home.devices) == list(KINDS)


MISTAKES = {
    "no table": ("[chain]", "[chian]", "chian: is not known; known keys here: name, node, chain"),
    "no TOML": ("node = 3", "node =", "cannot be read"),
    "unknown key": ("power_kw = 1", "power = 1", "[battery] power_kw: is missing"),
    "unknown key at the top": ("node = 3", "node = 3\ncat = 1", "cat: is not known; known keys here: name, node"),
    "node": ("node = 3", "node = 128", "node: 128 must be a whole number between 0 and 127"),
    "node text": ("node = 3", 'node = "3"', "node: '3' must be a whole number"),
    "own partner": ("[2, 1]", "[2, 3]", "[community] partners: 3 is this household itself"),
    "partner twice": ("[2, 1]", "[2, 2]", "[community] partners: [2, 2] has a number twice"),
    "partners text": ("[2, 1]", '"2"', "[community] partners: '2' must be a list"),
    "scenario": ('"tg"', '"x"', "[community] scenario: 'x' is not known; choose one of t, g, tg"),
    "rpc": ("http://127.0.0.1:8545", "127.0.0.1:8545", "[chain] rpc: it is no address of a node"),
    "chain id": ("31337", "0", "[chain] chain_id: 0 must be a whole number"),
    "fee": ("chain_id = 31337", "max_fee_gwei = -1", "[chain] max_fee_gwei: -1 must be at least"),
    "key in clear": ("password_env = ", "private_key = ", "[key] private_key: a secret must not stand"),
    "two passwords": ('= "SECRET"', '= "SECRET"\npassword_file = "x"', "keep one of the two"),
    "negative": ("capacity_kwh = 6", "capacity_kwh = -6", "[battery] capacity_kwh: -6 must be at least"),
    "nan": ("capacity_kwh = 6", "capacity_kwh = nan", "[battery] capacity_kwh: nan must be a number"),
    "truth": ("capacity_kwh = 6", "capacity_kwh = true", "[battery] capacity_kwh: True must be a number"),
    "efficiency": ("= 0.81", "= 1.1", "must be between 0.1 and 1"),
    "time": ('"18:00"', '"six"', "[car] from: 'six' is not a time"),
    "two forecasts": ("{day}.json\"", "{day}.json\"\ncommand = [\"x\"]", "[forecast] file: give either"),
    "command text": ('file = "forecasts/{day}.json"', 'command = "run"', "must be a list of texts"),
    "tariff": ("import_price = 0.3", "", "[tariff] import_price: is missing"),
    "time zone": ("Europe/Amsterdam", "Europe/Nowhere", "[service] timezone: 'Europe/Nowhere' is not known"),
    "port": ("9464", "99999", "[service] metrics_port: 99999 must be a whole number between 0 and 65535"),
    "table as a value": ("[pv]\npeak_kwp = 4", "[x]\n", "x: is not known"),
}  # fmt: skip


DAY = '[day]\nreadings = "readings/{day}-{step}.json"\n'
DAY_MISTAKES = {
    "none": ("readings", "reading", "[day] readings: give either a file or a command that tells the readings"),
    "both": ("[day]", '[day]\nreadings_command = ["{day}", "{step}"]', "give either a file or a command"),
    "one for all": ("{step}", "step", "[day] readings: it would be the same for all days and steps; put {step}"),
    "lock": ("[day]", "[day]\nlock = 0", "[day] lock: 0 must be at least 0.01"),
    "adder": ("[day]", "[day]\nadder_max = -1", "[day] adder_max: -1 must be at least 0"),
    "renewal": ("[day]", "[day]\nrenew_s = 0.1", "[day] renew_s: 0.1 must be between 1 and 86400"),
    "unknown": ("[day]", "[day]\nlocked = 1", "[day] locked: is not known; known keys here: readings"),
}


@pytest.mark.parametrize("what", DAY_MISTAKES)
def test_mistakeInTheDay_isNamed(tmp_path: Path, what: str) -> None:
    right, wrong, told = DAY_MISTAKES[what]
    with pytest.raises(InputError) as caught:
        settings_of(tmp_path, HOUSEHOLD + DAY.replace(right, wrong, 1))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_day_needsTrades(tmp_path: Path) -> None:
    alone = HOUSEHOLD.replace('"tg"', '"g"').replace("partners = [2, 1]\n", "")
    with pytest.raises(InputError, match=r"\[day\]: in 'g' nobody has positions"):
        settings_of(tmp_path, alone + DAY)
    found = settings_of(tmp_path, HOUSEHOLD + DAY).day
    assert found is not None
    assert found.file == str(tmp_path / "readings" / "{day}-{step}.json")


@pytest.mark.parametrize("what", MISTAKES)
def test_mistake_isNamed(tmp_path: Path, what: str) -> None:
    right, wrong, told = MISTAKES[what]
    assert right in HOUSEHOLD
    with pytest.raises(InputError) as caught:
        settings_of(tmp_path, HOUSEHOLD.replace(right, wrong, 1))
    assert told in str(caught.value)
    assert "household.toml" in str(caught.value)
    assert "\n" not in str(caught.value).strip() or what == "no TOML"


def test_missingFile_isNamed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gridpact household new"):
        read_settings(tmp_path / "household.toml")


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("3,1,50", "3,4,50", "the line of node 3 goes to node 4, which does not exist"),
        ("3,1,50", "3,1,long", "row 4, column 'length_m': 'long' is not a number"),
        ("2,1,50", "2,3,50", None),
        ("2,1,50", "1,1,50", "node 1 has a second line here"),
    ],
)
def test_feeder_isChecked(tmp_path: Path, right: str, wrong: str, told: str | None) -> None:
    (tmp_path / "household.toml").write_text(OPERATOR)
    (tmp_path / "feeder.csv").write_text(FEEDER.replace(right, wrong))
    if told is None:
        assert read_settings(tmp_path / "household.toml").feeder is not None
        return
    with pytest.raises(InputError, match=r"feeder\.csv") as caught:
        read_settings(tmp_path / "household.toml")
    assert told in str(caught.value)


def test_operator_hasNothingToDoInT(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="node 0 has nothing to do"):
        settings_of(tmp_path, OPERATOR.replace('"tg"', '"t"'))


@pytest.mark.parametrize(
    ("old", "new", "word", "said"),
    [
        ("peak_kwp = 4", "peak_kwp = 4000", "size", "[pv] peak_kwp: 4000 kWp is more than"),
        ("capacity_kwh = 6", "capacity_kwh = 6000", "size", "[battery] capacity_kwh: 6000 kWh is more than"),
        ("power_kw = 2", "power_kw = 2000", "size", "[car] power_kw: 2000 kW is more than"),
        ("import_price = 0.3", "import_price = 30", "price", "[tariff] import_price: 30 for a kWh"),
        ("trading_coefficient = 0.1", "trading_coefficient = 10", "price", "trading_coefficient: 10 for a kWh"),
    ],
)
def test_anotherUnit_isAskedAbout(tmp_path: Path, old: str, new: str, word: str, said: str) -> None:
    text = HOUSEHOLD.replace(old, new)
    with pytest.raises(InputError) as complaint:
        settings_of(tmp_path, text)
    assert said in str(complaint.value)
    settings_of(tmp_path, f'accept = ["{word}"]\n{text}')
    with pytest.raises(InputError, match="accept: 'everything' is not known"):
        settings_of(tmp_path, f'accept = ["everything"]\n{text}')


def test_markOfWindowsEditors_isPassedOver(tmp_path: Path) -> None:
    assert settings_of(tmp_path, "\ufeff" + HOUSEHOLD) == settings_of(tmp_path, HOUSEHOLD)


def test_panels_giveNoMoreThanTheyCan() -> None:
    """A forecast in Wh or of counted energy, or panels in W, contradict each other."""
    given = {"pv_kw": np.array([0.0, 3.1, 20.0, 0.0])}
    with pytest.raises(DeviceError, match=r"3 kWp never give 20 kW, which pv_kw has"):
        Panels.of({"peak_kwp": 3.0}, Occasion(4, 6.0, given))
    assert Panels.of({"peak_kwp": 12.0}, Occasion(4, 6.0, given)) is not None
