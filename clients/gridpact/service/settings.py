"""What `household.toml` says, checked. `docs/node.md` describes the file; `template.py` writes a new one."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from gridpact.community.feeder import LIMITS, read_feeder, read_grid
from gridpact.community.model import GRID_CONNECTION, Feeder, Prices
from gridpact.community.read import ACCEPTABLE
from gridpact.community.street import PhaseFeeder
from gridpact.community.streets import TRANSFORMER
from gridpact.community.suppliers import price_doubt
from gridpact.community.tables import rows
from gridpact.community.usual import MOST_KW, MOST_PRICE
from gridpact.devices.device import Device, Stated
from gridpact.devices.registry import DEVICES, KINDS
from gridpact.errors import InputError
from gridpact.limits import MOST_HOUSEHOLDS
from gridpact.problem.scenario import NEGOTIATED, Scenario
from gridpact.service.table import TomlTable

DAY, STEP = "{day}", "{step}"
"""What stands for the day, yyyy-mm-dd, and for the step, 0 the first, in names of files and in commands."""


KEYS = (
    *("name", "node", "chain", "key", "community", "tariff", "forecast", "service", "accept"),
    # those that are not of this kind of node are ignored
    *("limits", "load", *KINDS, "feeder", "day", "openadr", "flexibility"),
)


LOOPBACK = ("127.0.0.1", "::1", "localhost")

MOST_CURRENCY = 1e30
"""Of a limit: more does not fit into the contract's words."""


@dataclass(frozen=True)
class ChainSettings:
    record: Path  # of the deployment, from the community manager
    rpc: str  # of several endpoints, with commas between: the next is asked where one does not answer
    chain_id: int | None  # which it must be, besides what the record says
    relay: str | None
    confirm_s: float
    max_fee_gwei: float | None  # that a unit of gas may cost
    tip_gwei: float | None  # to offer, whatever the endpoint suggests


@dataclass(frozen=True)
class KeySettings:
    """Where the key is, and who knows its password: a file, an environment variable, or, without both, a prompt."""

    keystore: Path
    password_file: Path | None
    password_env: str | None


@dataclass(frozen=True)
class HomeSettings:
    power_factor: float
    devices: Mapping[str, Stated]  # what is stated of those that are there, by their kinds


@dataclass(frozen=True)
class TariffSettings:
    """`published`: what the supplier published on the chain for the round; `forecast`: the column `import_price` of the
    forecast; `openadr`: what the aggregator sent; `fixed`: the same at all steps."""

    source: str
    import_price: float  # of `fixed`, currency/kWh
    feed_in_share: float  # of all but `published`
    trade_fee: float = 0.0  # to the grid operator, on each kWh from a neighbour
    peak_fee: float = 0.0  # to the grid operator, currency/kW of the highest power of a day

    def charged(self, prices: Prices) -> Prices:
        """Prices with the grid operator's fees, where their supplier has published none."""
        if prices.has_own_fees or not (self.trade_fee or self.peak_fee):
            return prices
        fee = np.full(len(prices.import_price), self.trade_fee) if self.trade_fee else None
        return replace(prices, trade_fee=fee, peak_fee=self.peak_fee)


@dataclass(frozen=True)
class LimitSettings:
    """What the household lets a day cost it. The defaults are a few times what households pay and earn in Europe. What
    may be deposited is also the most that a meter's reading may take, which stands on the chain before the household
    says anything in a round."""

    import_price_max: float  # currency/kWh, at any step
    feed_in_price_min: float  # currency/kWh, at any step
    deposit_max: float  # currency a day, for the trades and for the supplier


@dataclass(frozen=True)
class ForecastSettings:
    file: str | None  # one of the two is given; {day} stands for the day
    command: tuple[str, ...] | None
    timeout_s: float  # how long it may be late
    most_kw: float = MOST_KW  # what is above is taken for W
    prices: Path | None = None  # what appliances' prices were forecast as, and came to; None: nobody knows
    signals: Path | None = None  # folder of what the aggregator sent, which is the import price then
    zone: ZoneInfo | None = None  # of times with an offset from UTC; None: this machine's

    @property
    def names_the_day(self) -> bool:
        """Whether the file or the command is another one every day."""
        return any(DAY in part for part in self.command or (self.file or "",))


@dataclass(frozen=True)
class ThroughDay:
    """How a household takes part in the day itself, after the round of the day before."""

    lock: float  # currency, for a day
    adder_max: float  # currency/kWh of deviation from what it nominates
    renew_s: float  # before a gate closes: then the forecast is asked for again, and the rest of the day planned
    file: str | None  # of readings; one of the two is given; {day} and {step} stand for the day and the step
    command: tuple[str, ...] | None
    timeout_s: float  # of the command


@dataclass(frozen=True)
class OpenAdrSettings:
    """The aggregator that sends signals to the home."""

    vtn: str  # its address
    ven: str  # the home's name there


@dataclass(frozen=True)
class FlexibilitySettings:
    """What the home offers an aggregator on the chain: the most, where it is called for it; the least, for which."""

    aggregator: str  # its address
    device: str
    up_kw: float  # most that is fed in more, or drawn less
    down_kw: float
    energy_kwh: float  # most in a day, up and down together
    price: float  # least, currency/kWh delivered
    fee: float  # least, for a step that is kept
    fine: float  # most, currency/kWh otherwise than called
    bond: float  # most that fines can take
    tolerance_kwh: float  # least, in a step
    notice_s: float  # least, before the gate of a call's first step


@dataclass(frozen=True)
class ServiceSettings:
    schedule: Path  # folder that the home energy manager reads
    state: Path
    timezone: ZoneInfo
    metrics_port: int | None
    log: str  # text or json


@dataclass(frozen=True)
class Settings:
    """All that a node is told. `home` and `limits` are None at the grid connection, `feeder` everywhere else."""

    path: Path
    name: str
    node: int
    scenario: Scenario
    partners: tuple[int, ...]
    coefficient: float  # chi of the household, currency/kWh
    undelivered: float  # what trading with who never delivers costs more, currency/kWh
    chain: ChainSettings
    key: KeySettings
    tariff: TariffSettings
    forecast: ForecastSettings | None
    service: ServiceSettings
    home: HomeSettings | None
    limits: LimitSettings | None
    feeder: Feeder | PhaseFeeder | None
    day: ThroughDay | None = None  # None: only the round of the day before is taken part in
    openadr: OpenAdrSettings | None = None  # None: no aggregator
    flexibility: FlexibilitySettings | None = None  # None: nobody calls on the chain


def read_settings(path: Path) -> Settings:
    """Reads and checks a `household.toml`.

    Raises:
        InputError: says what is wrong, with file, table and key, and what to do.
    """
    top = TomlTable.read(path)
    top.only(KEYS)
    node = top.integer("node", 0, MOST_HOUSEHOLDS)
    is_household = node != GRID_CONNECTION
    name = top.text("name", None if is_household else "grid operator")
    community = top.table("community")
    scenario = NEGOTIATED[community.one_of("scenario", ("t", "g", "tg"), "tg")]
    partners = community.integers("partners", 1, MOST_HOUSEHOLDS) if scenario.has_trades and is_household else ()
    if node in partners:
        raise community.error("partners", f"{node} is this household itself; remove it")
    coefficient = community.number("trading_coefficient", 0, default=0.0) if is_household else 0.0
    undelivered = community.number("undelivered", 0, default=0.0) if is_household else 0.0
    if not is_household and not scenario.has_network:
        raise community.error("scenario", "'t' has no network to agree on, so node 0 has nothing to do; stop it")
    accepted = top.texts("accept") if top.has("accept") else ()
    if wrong := [word for word in accepted if word not in ACCEPTABLE]:
        raise top.error("accept", f"'{wrong[0]}' is not known; it is a list of {', '.join(ACCEPTABLE)}")
    if doubt := price_doubt(coefficient, "price" in accepted, path.name):
        raise community.error("trading_coefficient", doubt)
    tariff, service = _tariff(top.table("tariff"), "price" in accepted), _service(top.table("service"))
    openadr = _openadr(top.table("openadr")) if is_household and top.has("openadr") else None
    if tariff.source == "openadr" and openadr is None:
        raise top.error("openadr", 'is missing, and [tariff] source = "openadr" takes its prices from there; add it')
    signals = service.state / "openadr" if tariff.source == "openadr" else None
    settings = Settings(
        path=path,
        name=name,
        node=node,
        scenario=scenario,
        partners=partners,
        coefficient=coefficient,
        undelivered=undelivered,
        chain=_chain(top.table("chain")),
        key=_key(top.table("key")),
        tariff=tariff,
        forecast=_forecast(top.table("forecast"), signals, service.timezone)
        if is_household or tariff.source == "forecast"
        else None,
        service=service,
        home=_home(top, "size" in accepted) if is_household else None,
        limits=_limits(top.table("limits"), "price" in accepted) if is_household else None,
        feeder=None if is_household else _feeder(top.table("feeder")),
        day=_through_day(top.table("day"), scenario) if is_household and top.has("day") else None,
        openadr=openadr,
        flexibility=_flexibility(top.table("flexibility")) if is_household and top.has("flexibility") else None,
    )
    for key in ("partners", "trading_coefficient", "undelivered"):
        community.has(key)
    community.end()
    return settings


def _chain(table: TomlTable) -> ChainSettings:
    rpc = table.text("rpc")
    if not all(url.strip().partition("://")[0] in ("http", "https", "ws", "wss") for url in rpc.split(",")):
        raise table.error("rpc", "it is no address of a node of the chain; begin it with http:// or ws://")
    relay = table.optional_text("relay")
    if relay is not None and relay.partition("://")[0] not in ("http", "https"):
        raise table.error("relay", f"'{relay}' is no address of a relay; begin it with http://")
    chain_id = table.integer("chain_id", 1, 2**53) if table.has("chain_id") else None
    max_fee = table.number("max_fee_gwei", 0) if table.has("max_fee_gwei") else None
    tip = table.number("tip_gwei", 0) if table.has("tip_gwei") else None
    settings = ChainSettings(
        table.file("record"), rpc, chain_id, relay, table.number("confirm_s", 0, default=0.0), max_fee, tip
    )
    table.end()
    return settings


def _key(table: TomlTable) -> KeySettings:
    settings = KeySettings(
        table.file("keystore", "keystore.json"),
        table.path.parent / file if (file := _expanded(table)) else None,
        table.optional_text("password_env"),
    )
    if settings.password_file and settings.password_env:
        raise table.error("password_env", "there is a password_file, too; keep one of the two")
    for key in ("key", "private_key", "password"):
        if table.has(key):
            raise table.error(
                key, "a secret must not stand in this file; keep the key in a keystore and its password in a file"
            )
    table.end()
    return settings


def _expanded(table: TomlTable) -> Path | None:
    """Where the password is; environment variables are replaced, as systemd's $CREDENTIALS_DIRECTORY."""
    text = table.optional_text("password_file")
    return Path(os.path.expandvars(text)).expanduser() if text else None


def _tariff(table: TomlTable, is_accepted: bool) -> TariffSettings:
    source = table.one_of("source", ("published", "forecast", "openadr", "fixed"), "published")
    fixed = source == "fixed"
    settings = TariffSettings(
        source,
        table.number("import_price", -math.inf, default=None if fixed else 0.0),
        table.number("feed_in_share", 0, 1, default=0.5),
        table.number("traded_per_kwh", 0, MOST_PRICE, default=0.0),
        table.number("peak_per_kw", 0, default=0.0),
    )
    if abs(settings.import_price) > MOST_PRICE and not is_accepted:
        raise table.error(
            "import_price",
            f"{settings.import_price:g} for a kWh; is it per MWh, or in cents? If it is so, say "
            f'accept = ["price"] at the top of {table.path.name}',
        )
    table.end()
    return settings


def _limits(table: TomlTable, is_accepted: bool) -> LimitSettings:
    settings = LimitSettings(
        table.number("import_price_max", -math.inf, default=1.0),
        table.number("feed_in_price_min", -math.inf, default=-0.5),
        table.number("deposit_max", 0, MOST_CURRENCY, default=25.0),
    )
    limits = {"import_price_max": settings.import_price_max, "feed_in_price_min": settings.feed_in_price_min}
    for key, limit in limits.items():
        if abs(limit) > MOST_PRICE and not is_accepted:
            raise table.error(
                key,
                f"{limit:g} for a kWh limits nothing; is it per MWh, or in cents? If it is so, say accept = "
                f'["price"] at the top of {table.path.name}',
            )
    table.end()
    return settings


def _source(table: TomlTable, key: str, command_key: str, what: str) -> tuple[str | None, tuple[str, ...] | None]:
    """A file or a command that tells something, of which one is given."""
    file = table.optional_text(key)
    command = table.texts(command_key) if table.has(command_key) else None
    if (file is None) == (command is None):
        raise table.error(key, f"give either a file or a command that tells the {what}")
    return (None if file is None else str(table.path.parent / file)), command


def _through_day(table: TomlTable, scenario: Scenario) -> ThroughDay:
    if not scenario.has_trades:
        raise InputError(f"{table.path.name}, [day]: in '{scenario.value}' nobody has positions; leave the table out")
    file, command = _source(table, "readings", "readings_command", "readings")
    key, parts = ("readings_command", command) if command is not None else ("readings", (file or "",))
    for place in (DAY, STEP):
        if not any(place in part for part in parts):
            raise table.error(key, f"it would be the same for all days and steps; put {place} into it")
    settings = ThroughDay(
        table.number("lock", 0.01, default=25.0),
        table.number("adder_max", 0, default=0.2),
        table.number("renew_s", 1, 86_400, default=300.0),
        file,
        command,
        table.number("timeout_s", 0.1, 86_400, default=10.0),
    )
    table.end()
    return settings


def _flexibility(table: TomlTable) -> FlexibilitySettings:
    aggregator = table.text("aggregator")
    if not re.fullmatch("0x[0-9a-fA-F]{40}", aggregator):
        raise table.error("aggregator", f"'{aggregator}' is no address; give 0x and 40 hexadecimal digits")
    settings = FlexibilitySettings(
        aggregator,
        table.text("device"),
        table.number("up_kw", 0, MOST_KW, default=0.0),
        table.number("down_kw", 0, MOST_KW, default=0.0),
        table.number("energy_kwh", 0, 24 * MOST_KW),
        table.number("price", 0, MOST_PRICE),
        table.number("fee", 0, default=0.0),
        table.number("fine", 0, MOST_PRICE, default=0.0),
        table.number("bond", 0, MOST_CURRENCY, default=0.0),
        table.number("tolerance_kwh", 0, default=0.0),
        table.number("notice_s", 0, 86_400, default=0.0),
    )
    table.end()
    return settings


def _openadr(table: TomlTable) -> OpenAdrSettings:
    vtn, ven = table.text("vtn"), table.text("ven")
    parts = urlsplit(vtn)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise table.error("vtn", f"'{vtn}' is no address of a VTN; begin it with https://")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise table.error("vtn", f"'{vtn}' is in clear, and anybody on the way could change prices; use https://")
    table.end()
    return OpenAdrSettings(vtn, ven)


def _forecast(table: TomlTable, signals: Path | None, zone: ZoneInfo) -> ForecastSettings:
    file, command = _source(table, "file", "command", "forecast")
    late = table.number("timeout_s", 0.1, 86_400, default=60.0)
    most_kw = table.number("most_kw", 0.001, default=MOST_KW)
    prices = table.file("prices", "") if table.has("prices") else None
    settings = ForecastSettings(file, command, late, most_kw, prices, signals, zone)
    table.end()
    return settings


def _service(table: TomlTable) -> ServiceSettings:
    zone = table.text("timezone", "UTC")
    try:
        timezone = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise table.error("timezone", f"'{zone}' is not known; give one as \"Europe/Amsterdam\"") from None
    settings = ServiceSettings(
        table.file("schedule", "schedule"),
        table.file("state", "state"),
        timezone,
        table.integer("metrics_port", 0, 65_535) if table.has("metrics_port") else None,
        table.one_of("log", ("text", "json"), "text"),
    )
    table.end()
    return settings


def _home(top: TomlTable, is_accepted: bool) -> HomeSettings:
    load = top.table("load")
    power_factor = load.number("power_factor", 0.1, 1, default=1.0)
    load.end()
    devices = {kind.kind: _device(top, kind, is_accepted) for kind in DEVICES if top.has(kind.kind)}
    return HomeSettings(power_factor, devices)


def _device(top: TomlTable, kind: type[Device], is_accepted: bool) -> Stated:
    table = top.table(kind.kind)
    stated = {
        one.key: table.clock(one.key) if one.is_clock else table.number(one.key, one.low, one.high, one.default)
        for one in kind.attributes
    }
    for one in kind.attributes:
        if not one.is_clock and not is_accepted and (doubt := one.doubt(stated[one.key], top.path.name)) is not None:
            raise table.error(one.key, doubt)
    table.end()
    return stated


def _feeder(table: TomlTable) -> Feeder | PhaseFeeder:
    """Balanced by the table of lines alone; by phase where `homes` says where they are."""
    if table.has("homes"):
        return _street(table)
    path = table.file("file")
    limits = {key: table.number(key, 0, default=value) for key, value in LIMITS.items()}
    table.end()
    nodes = [row.integer("node", 1, MOST_HOUSEHOLDS) for row in rows(path, ("node",), None)]
    return read_feeder(table.path, limits, path, {node: str(node) for node in nodes})


def _street(table: TomlTable) -> Feeder | PhaseFeeder:
    listed = rows(table.file("homes"), ("household", "node"), None)
    homes = sorted(listed, key=lambda row: row.integer("node", 1, MOST_HOUSEHOLDS))
    for node, row in enumerate(homes, start=1):
        if row.integer("node", 1, MOST_HOUSEHOLDS) != node:
            raise row.error("node", f"nodes are 1, 2, ... without gaps, and there is no home {node}, or two of them")
    given: dict[str, Any] = {
        key: table.number(key, 0, default=value)
        for key, value in LIMITS.items()
        if table.has(key) or not (key == "nominal_voltage_v" and table.has("network"))
    }
    if table.has("network"):
        given["network"] = table.text("network")
    if table.has("transformer"):
        of = table.table("transformer")
        given["transformer"] = {key: of.number(key, 0) for key in TRANSFORMER if of.has(key)}
        of.end()
    path = table.path if table.has("network") else table.file("file")
    table.end()
    feeder, _ = read_grid(table.path, given, path, homes)
    return feeder
