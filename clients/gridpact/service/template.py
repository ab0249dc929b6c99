"""A new `household.toml`, with every key explained where it stands."""

from __future__ import annotations

from dataclasses import dataclass

from gridpact.devices import document

FIRST_PORT = 9464


@dataclass(frozen=True)
class NewNode:
    """What is known of a node when its folder is made."""

    node: int
    name: str
    record: str
    rpc: str
    scenario: str = "tg"
    partners: tuple[int, ...] = ()
    feeder: str = "feeder.csv"  # node 0
    metrics_port: int | None = None  # default: FIRST_PORT and the node's number, so that nodes can share a machine


_HEAD = """\
# A node of gridpact. docs/node.md explains it; `gridpact node --config household.toml` runs it.
# Paths are seen from this folder. Powers in kW and kvar, energies in kWh, prices in currency per kWh.

name = "{name}"
node = {node}                       # the number under which the community manager enrols this account

[chain]
record = "{record}"    # record of the deployment, from the community manager
rpc = "{rpc}"    # several with commas between: the next is asked where one does not answer
# chain_id = 1                 # refuse to run on any other chain than this one
# relay = "http://..."         # leave signed submissions at a relay instead of sending each
# confirm_s = 30               # on chains that may be re-organised: how long the end of a round must stand
# max_fee_gwei = 200           # what a unit of gas may cost; above it, this node sends nothing
# tip_gwei = 1                 # tip to offer; else what the endpoint suggests, within limits

[key]
keystore = "keystore.json"     # encrypted; its password comes from one of
# password_file = "$CREDENTIALS_DIRECTORY/password"
# password_env = "GRIDPACT_PASSWORD"
# or, without both, is asked for

[community]
scenario = "{scenario}"                # t: trades, g: the use of the grid, tg: both; the same at all nodes
"""

_PARTNERS = """\
partners = {partners}                  # with whom to trade, from the manager's list; both must name each other
trading_coefficient = 0.10     # chi: what trading costs where this household hardly buys or sells
# undelivered = 0.05           # what it costs more with who never delivers its positions, as the chain counts them

[load]
power_factor = 0.95            # of the load

"""

_FEEDER = """
[feeder]                       # what this node publishes, and keeps within its limits
file = "{feeder}"            # node,parent,length_m,resistance_ohm_per_km,reactance_ohm_per_km
nominal_voltage_v = 400
voltage_min_pu = 0.95
voltage_max_pu = 1.05
"""

_TARIFF = """
[tariff]
source = "published"           # what the supplier publishes on the chain for the round; or
                               # "forecast": the column import_price of the forecast; "openadr": what the
                               # aggregator of [openadr] sends; or "fixed":
# import_price = 0.30          # of "fixed". Prices that are not the published ones must be alike at all partners
# feed_in_share = 0.5          # of all but "published": what feeding in earns, as a share of the import price
# traded_per_kwh = 0.0         # what the grid operator asks for each kWh from a neighbour, and
# peak_per_kw = 0.0            # for the highest power of a day, where its supplier publishes none: it bills them itself
"""

_LIMITS = """
[limits]                       # what a day may cost; beyond, this node keeps out, and stays with its supplier
import_price_max = 1.0         # highest import price at any step
feed_in_price_min = -0.5       # lowest feed-in price at any step
deposit_max = 25.0             # most that is deposited for one day, trades and supplier together, and most that a
                               # meter reading may take, whatever the tariff: this node sets that on the chain
"""

_FORECAST = """
[forecast]                     # one of the two; {day} stands for the day, as 2026-11-22
file = "forecasts/{day}.json"
# command = ["/usr/local/bin/forecast", "--day", "{day}"]   # writes JSON or CSV to its standard output
timeout_s = 60                 # how late it may be; after that the node keeps out of the round
# prices = "prices.csv"         # forecast,price: what appliances' prices were forecast as, and came to, currency/kWh
"""

_DAY = """
# [day]                        # take part in the day itself, where the community settles days step by step
# lock = 25.0                  # locked for a day, to pay pool, supplier and deviations with
# adder_max = 0.2              # most that a kWh may cost by which this home deviates from what it nominates
# renew_s = 300                # before the gate of a step closes, the forecast is asked for again, and the rest planned
# readings = "readings/{day}-{step}.json"     # what the meter read in a step; or
# readings_command = ["/usr/local/bin/reading", "--day", "{day}", "--step", "{step}"]
# timeout_s = 10               # of the command
"""

_OPENADR = """
# [openadr]                    # an aggregator sends prices and calls: pip install gridpact[openadr]
# vtn = "https://..."          # its address, with /OpenADR2/Simple/2.0b at the end
# ven = "home_3"               # the home's name there
"""

_FLEXIBILITY = """
# [flexibility]                # an aggregator may call this home on the chain: `gridpact flexibility opt-in`
# aggregator = "0x0000000000000000000000000000000000000000"   # its account
# device = "battery"           # what is offered
# up_kw = 2.0                  # most that is fed in more, or drawn less, when it calls; 0 without
# down_kw = 2.0                # most that is drawn more
# energy_kwh = 4.0             # most in a day
# price = 0.20                 # least that a kWh delivered has to bring
# fee = 0.0                    # least that a step in which all was as called has to bring
# fine = 0.0                   # most that a kWh otherwise than called may cost, beyond
# tolerance_kwh = 0.0          # in a step, at least
# bond = 0.0                   # most that fines may take; it is locked
# notice_s = 0                 # least that a call has to come before the gate of its first step
"""

_SERVICE = """
[service]
schedule = "schedule"          # folder in which the home energy manager finds <day>.json and <day>.csv
state = "state"                # what a restart needs
timezone = "UTC"               # of the home: of times in schedules and forecasts, as "Europe/Amsterdam"
metrics_port = {metrics_port}            # /metrics (Prometheus) and /health on 127.0.0.1; leave out for none
log = "text"                   # or "json": one object a line
"""


def household_toml(new: NewNode) -> str:
    """The text of a new `household.toml`."""
    parts = [_HEAD, _PARTNERS, document.template(), _TARIFF] if new.node else [_HEAD, _FEEDER, _TARIFF]
    port = FIRST_PORT + new.node if new.metrics_port is None else new.metrics_port
    values = vars(new) | {"partners": list(new.partners), "metrics_port": port}
    own = _LIMITS + _FORECAST + (_DAY if "t" in new.scenario else "") + _OPENADR + _FLEXIBILITY if new.node else ""
    text = "".join(part.format(**values) for part in parts)
    return text + own + _SERVICE.format(**values)
