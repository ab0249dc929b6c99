"""What the page shows, folded from the stored events: plain data, in parts that change at different times.

    rounds   all rounds, newest first
    round    one round: phase, iterations, who is there, gas, what happened last
    plan     power by home, flow by line and voltage by bus after its last closed iteration; of a sealed round, powers
             and flows as the meters read them
    market   the recorded trades and the tariff
    day      readings, what they came to, and what each home then has

Each is a function from the store, so a chain that was taken back is shown right without any further doing. An event
that no function here knows appears among what happened, with what it says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gridpact.chain.encoding import decode_energies, decode_fees, decode_tariff, decode_trades
from gridpact.chain.spent import Spent
from gridpact.chain.values import Phase, Setting, Theta, bitmap_to_nodes, unpack_residuals
from gridpact.community.model import GRID_CONNECTION, Array
from gridpact.grid.limits import PublishedFeeder
from gridpact.live.day import events_of, through
from gridpact.live.store import Store, StoredEvent
from gridpact.market.admm.assembly import Assembly, TreePlace
from gridpact.market.admm.codec import decode_book, decode_feeder, decode_sums, key_in, without_key
from gridpact.market.admm.parameters import Resolution
from gridpact.market.admm.residuals import rms_w
from gridpact.problem.blocks import Kind

Json = dict[str, Any]

NEWEST = 60
"""Lines of what happened."""

QUIET = {"Submitted", "Sealed", "Forwarded", "IterationOpened", "Stated"}
"""Too many to be told."""

OF_THE_REST = 2**31
"""From here on, the label of a round says a day's index and a step: it is about the rest of that day."""

PURPOSES = (
    ("deliver", {"Delivered", "DebitCut", "CorrectionProposed", "Corrected", "TariffPublished"}),
    ("settle", {"Stated", "TradeRecorded", "StatementsDiffer", "Released", "day.Brought"}),
    ("submit", {"Submitted", "Sealed", "Forwarded", "IterationClosed", "Excluded"}),
    ("declare", {"Declared", "Abstained", "RoundStarted"}),
    ("open", {"RoundOpened"}),
)
"""What a transaction was for, by the events that it left: the first that fits."""


@dataclass(frozen=True)
class About:
    """The deployment, as the reader noted it."""

    theta: Theta
    setting: Setting
    currency: Mapping[str, Any]

    @staticmethod
    def of(store: Store) -> About | None:
        """None before the chain was met."""
        about = store.about()
        if "theta" not in about:
            return None
        return About(Theta(**about["theta"]), Setting(**about["setting"]), about["currency"])

    @property
    def resolution(self) -> Resolution:
        return Resolution.from_chain(self.setting.power_resolution_milliwatt, self.setting.voltage_resolution)

    @property
    def limits_w(self) -> list[float]:
        """Of the four residuals."""
        theta, unit_w = self.theta, self.setting.power_resolution_milliwatt / 1000
        eps = theta.eps_primal_grid, theta.eps_dual_grid, theta.eps_primal_trade, theta.eps_dual_trade
        return [unit_w * limit / 1000 for limit in eps]


def rounds(store: Store) -> list[Json]:
    """All rounds, newest first."""
    by_number: dict[int, Json] = {}
    days = _days(store)
    for event in store.named("RoundOpened"):
        number = int(event.arguments["round"])
        day, first = _labelled(int(event.arguments["day"]), days)
        by_number[number] = {"round": number, "day": day, "first": first, "opened": event.time, "phase": "running"}
    for event in store.named("RoundEnded"):
        end = by_number.get(int(event.arguments["round"]))
        if end is not None:
            end |= {"phase": _phase(event), "iterations": event.arguments["iterations"], "ended": event.time}
    for event in store.named("RoundReplaced"):
        if (agreed := by_number.get(int(event.arguments["agreed"]))) is not None:
            agreed["replaced"] = event.arguments["round"]
    return [by_number[number] for number in sorted(by_number, reverse=True)]


def _days(store: Store) -> dict[int, StoredEvent]:
    """The days that are settled step by step, by their index."""
    return {int(event.arguments["index"]): event for event in store.named("day.DayOpened")}


def _labelled(label: int, days: Mapping[int, StoredEvent]) -> tuple[int, int]:
    """The day that a round is for, and the first step that it is about (see `IDaySettlement.labelOf`)."""
    index, first = label - OF_THE_REST >> 8, label & 0xFF
    return (int(days[index].arguments["day"]), first) if index in days else (label, 0)


def _phase(event: StoredEvent) -> str:
    return Phase(event.arguments["phase"]).name.lower()


class RoundView:
    """One round, as the store has it now."""

    def __init__(self, store: Store, about: About, number: int) -> None:
        self._store, self._about, self.number = store, about, number

    @cached_property
    def _by_name(self) -> Mapping[str, list[StoredEvent]]:
        """Everything but what is counted by SQL."""
        by_name: defaultdict[str, list[StoredEvent]] = defaultdict(list)
        for event in self._store.events(self.number, but=("Submitted", "Sealed", "Forwarded", "Stated")):
            by_name[event.name].append(event)
        return by_name

    def _one(self, name: str) -> StoredEvent | None:
        """The newest of a name."""
        events = self._by_name.get(name)
        return events[-1] if events else None

    @property
    def _limits_w(self) -> list[float]:
        """Of the four residuals, within which it ends."""
        own = self._one("LimitsSet")
        return [limit if own is None else limit * own.arguments["percent"] / 100 for limit in self._about.limits_w]

    @cached_property
    def _day(self) -> tuple[int, int]:
        """The day that it is for, and the first step that it is about."""
        opened = self._one("RoundOpened")
        return _labelled(int(opened.arguments["day"]), _days(self._store)) if opened else (0, 0)

    @cached_property
    def _of_day(self) -> list[StoredEvent]:
        """What happened in its day beside rounds, where it is settled step by step."""
        return events_of(self._store, self._day[0])

    @cached_property
    def _traded(self) -> list[StoredEvent]:
        """The trades that were recorded in all rounds about its day."""
        numbers = {one["round"] for one in rounds(self._store) if one["day"] == self._day[0]}
        return [event for event in self._store.named("TradeRecorded") if event.arguments["round"] in numbers]

    @cached_property
    def _settled(self) -> Json | None:
        """The day of the round as it is settled step by step; None where it is not."""
        return through(self._of_day, self._traded, self._about.setting.steps)

    # ------------------------------------------------------------------ who is in it

    @cached_property
    def _enrolled(self) -> dict[int, str]:
        """The accounts of the nodes, as they are enrolled now."""
        accounts: dict[int, str] = {}
        for event in self._store.events(None, "Enrolled", "Expelled"):
            if event.name == "Enrolled":
                accounts[int(event.arguments["node"])] = str(event.arguments["account"])
            else:
                accounts.pop(int(event.arguments["node"]), None)
        return accounts

    @cached_property
    def _assembly(self) -> Assembly | None:
        """Who is in the round, once it has started."""
        started = self._one("RoundStarted")
        if started is None:
            return None
        declared = {int(event.arguments["node"]): event.arguments for event in self._by_name["Declared"]}
        places = {
            node: TreePlace(fields["parent"], tuple(sorted(bitmap_to_nodes(fields["children"]))), fields["depth"])
            for node, fields in declared.items()
        }
        books = {node: decode_book(bytes.fromhex(s["book"])) for node, s in declared.items() if node != GRID_CONNECTION}
        bids = {node: int(fields["bids"]) for node, fields in declared.items()}
        nodes = bitmap_to_nodes(started.arguments["nodes"])
        return Assembly(nodes, places, books, self._about.setting.steps, bids)

    @cached_property
    def _closed(self) -> list[StoredEvent]:
        return sorted(self._by_name["IterationClosed"], key=lambda event: int(event.arguments["iteration"]))

    def _out(self, before: int | None = None) -> dict[int, StoredEvent]:
        """Nodes that are out, by what says so; those that were before an iteration was closed."""
        return {
            int(event.arguments["node"]): event
            for event in self._by_name["Excluded"]
            if before is None or int(event.arguments["iteration"]) < before
        }

    # ------------------------------------------------------------------ parts

    def round(self) -> Json:
        """Where it stands."""
        opened, started, ended = self._one("RoundOpened"), self._one("RoundStarted"), self._one("RoundEnded")
        open_, replaced = self._one("IterationOpened"), self._one("RoundReplaced")
        phase = "declaring" if started is None else "iterating"
        if ended is not None:
            phase = _phase(ended)
        iteration = int(ended.arguments["iterations"] if ended else open_.arguments["iteration"] if open_ else 0)
        stage = open_ if started is not None else opened
        spent = self._spent()
        return {
            "round": self.number,
            "day": self._day[0],
            "first": self._day[1],
            "phase": phase,
            "opened": opened.time if opened else None,
            "started": started.time if started else None,
            "ended": ended.time if ended else None,
            "replaces": replaced.arguments["agreed"] if replaced else None,
            "iteration": iteration,
            "most_iterations": self._about.theta.mu,
            "since": stage.time if stage else None,
            "deadline": stage.arguments["deadline"] if stage and ended is None else None,
            "phase_seconds": self._about.setting.phase_seconds,
            "steps": self._about.setting.steps,
            "step_seconds": self._about.setting.step_seconds,
            "limits_w": self._limits_w,
            "iterations": self._iterations(),
            "star": self._is_star,
            "sealed": self._is_sealed,
            "network": bool(self._assembly and any(self._assembly.depths.values())),
            "homes": self._homes(phase, iteration),
            "gas": {name: [one.gas, one.transactions] for name, one in spent.items()},
            "wei": str(sum(one.wei for one in spent.values())),
            "happened": self._happened(),
        }

    def _iterations(self) -> list[list[Any]]:
        """Of each closed one: number, time, how many were in it, and the residuals (W RMS) that came with it."""
        result: list[list[Any]] = []
        for event in self._closed:
            number = int(event.arguments["iteration"])
            residuals: list[float] = []
            if number > 1 and self._assembly is not None:
                scalars = self._assembly.scalars(frozenset(self._out(number)))
                squares = unpack_residuals(int(event.arguments["residuals"]))
                residuals = [float(f"{w:.4g}") for w in rms_w(squares, scalars, self._about.resolution)]
            result.append([number, event.time, int(event.arguments["present"]).bit_count(), residuals])
        return result

    @property
    def _is_star(self) -> bool:
        """Whether the grid operator's node answers all others, and so comes last in every iteration."""
        assembly = self._assembly
        return bool(assembly and GRID_CONNECTION in assembly.nodes and max(assembly.depths.values(), default=0) == 1)

    def _homes(self, phase: str, iteration: int) -> list[Json]:
        """Who is there, missing or out; nodes ascending."""
        declared = {int(event.arguments["node"]) for event in self._by_name["Declared"]}
        abstained = {int(event.arguments["node"]) for event in self._by_name["Abstained"]}
        submitted, out = self._store.said_by(self.number, "Submitted", "Sealed"), self._out()
        inside = self._assembly.nodes if self._assembly else frozenset()
        present = [bitmap_to_nodes(int(event.arguments["present"])) for event in self._closed]
        last = present[-1] if present else inside

        def state(node: int) -> str:
            if node in out:
                return "proved" if out[node].arguments["proved"] else "out"
            if node in abstained:
                return "abstained"
            if phase == "declaring":
                return "here" if node in declared else "awaited"
            if node not in inside:
                return "absent"
            if phase == "iterating":
                return "here" if submitted.get(node, (0, 0))[1] == iteration else "awaited"
            return "here" if node in last else "absent"

        nodes = sorted({*self._enrolled, *declared, *abstained, *inside})
        result = []
        for node in nodes:
            gone = int(out[node].arguments["iteration"]) if node in out else len(present) + 1
            missed = sum(node not in there for there in present[:gone]) if node in inside else 0
            partners = len(self._assembly.book(node)) if self._assembly and node in inside else 0
            result.append(
                {
                    "node": node,
                    "account": self._enrolled.get(node),
                    "state": state(node),
                    "missed": missed,
                    "gone": gone if node in out else None,
                    "partners": partners,
                }
            )
        return result

    def _spent(self) -> dict[str, Spent]:
        """What transactions cost, by what they were for."""
        by_purpose: dict[str, Spent] = {}
        for names, one in self._store.spent(self.number):
            purpose = next((name for name, events in PURPOSES if names & events), "other")
            before = by_purpose.get(purpose, Spent())
            by_purpose[purpose] = Spent(before.gas + one.gas, before.wei + one.wei, before.transactions + 1)
        return by_purpose

    def _happened(self) -> list[Json]:
        """What is worth a line, newest first; many of a kind, one after the other, in one."""
        events = [event for name, of_name in self._by_name.items() if name not in QUIET for event in of_name]
        events += self._of_day
        events.sort(key=lambda event: (event.block, event.place), reverse=True)
        lines: list[Json] = []
        for event in events:
            if lines and lines[-1]["name"] == event.name:
                lines[-1]["more"] += 1
            elif len(lines) < NEWEST:
                lines.append({"at": event.time, "name": event.name, "said": _short(event.arguments), "more": 0})
            else:
                break
        return lines

    # ------------------------------------------------------------------ the plan

    @cached_property
    def _is_sealed(self) -> bool:
        """Whether what is submitted is for those only whom it concerns: then all nodes declare keys."""
        books = [bytes.fromhex(event.arguments["book"]) for event in self._by_name["Declared"]]
        return bool(books) and all(map(key_in, books))

    def plan(self) -> Json | None:
        """What was agreed on, where that is public; else what the meters read, as far as they have."""
        return self._as_agreed() or self._as_read()

    def _as_read(self) -> Json | None:
        """Powers by home, and what flows through the lines that the operator has published, by readings alone.

        No reading has reactive power: flows are active ones, and voltages are not told. None before any reading.
        """
        read = self._read_kw()
        if not read:
            return None
        homes = self._assembly.nodes - {GRID_CONNECTION} if self._assembly else frozenset()
        here = {node: read.get(node, np.full(self._about.setting.steps, np.nan)) for node in homes | set(read)}
        lines = {} if self.feeder is None else {line.node: line.parent for line in self.feeder.lines}
        flow = listed(_through(self.feeder, here)) if self.feeder else {}
        return {"read": True, "tree": lines, "injection_kw": listed(here), **({"flow_kw": flow} if flow else {})}

    def _read_kw(self) -> dict[int, Array]:
        """By home, mean powers of the steps that were read, (T,); NaN where one was not."""
        hours = self._about.setting.step_seconds / 3600
        steps = self._about.setting.steps
        delivered = self._delivered()
        if delivered:
            return {node: np.array(one["energies_wh"], float) / 1000 / hours for node, one in delivered.items()}
        read: defaultdict[int, Array] = defaultdict(lambda: np.full(steps, np.nan))
        for step, by_node in (self._settled["read"] if self._settled else {}).items():
            for node, energy_wh in by_node.items():
                read[node][step] = energy_wh / 1000 / hours
        return dict(read)

    def _as_agreed(self) -> Json | None:
        """Powers and voltages that the last closed iteration agreed on; None where no network is agreed on, and in a
        sealed round.

        In a star, the homes' injections are public and the operator publishes its feeder: the flow through the lines
        and the voltages follow. Between neighbours, the flows and voltages themselves are agreed on.
        """
        assembly = self._assembly
        if assembly is None or not self._closed or not any(assembly.depths.values()) or self._is_sealed:
            return None
        closed = self._closed[-1]
        present = bitmap_to_nodes(int(closed.arguments["present"]))
        sums = decode_sums(assembly, [int(word) for word in closed.arguments["sums"]], present)
        resolution = self._about.resolution
        of: dict[Kind, dict[int, Array]] = {kind: {} for kind in Kind}
        for block, lanes in sums.items():
            of[block.kind][block.node] = resolution.of(block.kind) * lanes / max(assembly.count(block, present), 1)
        if self._is_star:
            return {"iteration": int(closed.arguments["iteration"]), **self._in_a_star(of[Kind.P], of[Kind.Q])}
        own = {
            node: flow - sum(of[Kind.P][child] for child in assembly.children[node])
            for node, flow in of[Kind.P].items()
        }
        return {
            "iteration": int(closed.arguments["iteration"]),
            "tree": {node: parent for node, parent in assembly.parents.items() if node != parent},
            "injection_kw": listed(own),
            "flow_kw": listed(of[Kind.P]),
            "flow_kvar": listed(of[Kind.Q]),
            "voltage_pu": listed({node: np.sqrt(1 + v) for node, v in of[Kind.V].items()}, 5),
        }

    def _in_a_star(self, active: Mapping[int, Array], reactive: Mapping[int, Array]) -> Json:
        feeder = self.feeder
        if feeder is None:
            return {"tree": dict.fromkeys(active, GRID_CONNECTION), "injection_kw": listed(active)}
        none = np.zeros(self._about.setting.steps)
        p, q = (np.array([powers.get(line.node, none) for line in feeder.lines]) for powers in (active, reactive))
        voltage = np.sqrt(1 + feeder.voltages(p, q))
        return on_feeder(feeder, active, reactive, dict(zip(feeder.nodes, voltage, strict=True)))

    @cached_property
    def feeder(self) -> PublishedFeeder | None:
        """The feeder that the grid operator's node has published for the round."""
        for event in self._by_name["Declared"]:
            if event.arguments["node"] == GRID_CONNECTION:
                return decode_feeder(without_key(bytes.fromhex(event.arguments["book"])))
        return None

    # ------------------------------------------------------------------ trades, readings, money

    def market(self) -> Json:
        """What was traded, and the suppliers' prices around it: the community's, and of who has another one its own."""
        opened = [event for event in self._of_day if event.name == "day.DayOpened"]
        common = next(iter(opened), self._tariff())
        return {
            "trades": [
                {
                    "lower": event.arguments["lower"],
                    "higher": event.arguments["higher"],
                    "payment": event.arguments["payment"],
                    "steps": [
                        [trade.step, trade.energy_wh, trade.price_micro]
                        for trade in decode_trades(bytes.fromhex(event.arguments["trades"]))
                    ],
                }
                for event in self._by_name["TradeRecorded"]
            ],
            "differ": [
                [event.arguments["lower"], event.arguments["higher"]] for event in self._by_name["StatementsDiffer"]
            ],
            **_prices(common),
            "own": {} if opened else self._own_prices(),
        }

    def _own_prices(self) -> dict[int, Json]:
        """Of the homes with another supplier than the community's, which has published a tariff for the round."""
        supplier_of: dict[str, str] = {}
        for event in self._store.named("Supplied"):  # from a round on, the last one counts
            if int(event.arguments["round"]) <= self.number:
                supplier_of[str(event.arguments["account"])] = str(event.arguments["supplier"])
        published = {str(event.arguments.get("supplier")): event for event in self._by_name["TariffPublished"]}
        common = self._tariff()
        found = {node: published.get(supplier_of.get(account, "")) for node, account in self._enrolled.items()}
        return {
            node: {"supplier": event.arguments["supplier"], **_prices(event)}
            for node, event in sorted(found.items())
            if event is not None and event is not common
        }

    def _tariff(self) -> StoredEvent | None:
        """Of the community's supplier, for the round."""
        others = {event.arguments["supplier"] for event in self._store.named("SupplierAdmitted")}
        own = [event for event in self._by_name["TariffPublished"] if event.arguments.get("supplier") not in others]
        return own[-1] if own else None

    def day(self) -> Json:
        """What the meters read, what it came to, and what the homes have since; token units."""
        return {"delivered": self._delivered(), "balances": self._balances(), "through": self._settled}

    def _delivered(self) -> dict[int, Json]:
        """What the meters read of the whole day, by home, as it was corrected."""
        return {
            int(event.arguments["node"]): {
                "at": event.time,
                "payment": event.arguments["payment"],
                "arrears": event.arguments["arrears"],
                "energies_wh": decode_energies(bytes.fromhex(event.arguments["energies"])),
                "corrected": event.name == "Corrected",
            }
            for event in self._in_order("Delivered", "Corrected")
        }

    def _in_order(self, *names: str) -> Sequence[StoredEvent]:
        events = [event for name in names for event in self._by_name[name]]
        return sorted(events, key=lambda event: (event.block, event.place))

    def _balances(self) -> dict[int, int]:
        """What each home has in the settlement contract after all that has happened: free and locked deposit, less
        what it owes. Every event that moves money moves this by what it says."""
        worth: defaultdict[str, int] = defaultdict(int)
        for event in self._store.events(None, "Deposited", "Withdrawn", "ArrearsForgiven"):
            amount = int(event.arguments["amount"])
            worth[event.arguments["account"]] += -amount if event.name == "Withdrawn" else amount
        delivered: dict[tuple[int, int], int] = {}
        accounts = self._enrolled
        for event in self._store.named("TradeRecorded", "Delivered", "Corrected"):
            payment = int(event.arguments["payment"])
            if event.name == "TradeRecorded":
                worth[accounts.get(event.arguments["lower"], "")] += payment
                worth[accounts.get(event.arguments["higher"], "")] -= payment
                continue
            place = int(event.arguments["round"]), int(event.arguments["node"])
            worth[accounts.get(place[1], "")] += payment - delivered.get(place, 0)
            delivered[place] = payment
        return {node: worth[account] for node, account in accounts.items() if account in worth}


def on_feeder(
    feeder: PublishedFeeder, active: Mapping[int, Array], reactive: Mapping[int, Array], voltage: Mapping[int, Array]
) -> Json:
    """A plan on a feeder, losses left out of what flows.

    Args:
        active, reactive: injections by node, kW and kvar, (T,); nodes that are not there inject nothing.
        voltage: by node, p.u., (T,).
    """
    return {
        "tree": {line.node: line.parent for line in feeder.lines},
        "ohm": {line.node: round(line.resistance / 1e6, 5) for line in feeder.lines},
        "limits_pu": [feeder.lowest / 1e6, feeder.highest / 1e6],
        "injection_kw": listed(active),
        "flow_kw": listed(_through(feeder, active)),
        "flow_kvar": listed(_through(feeder, reactive)),
        "voltage_pu": listed(voltage, 5),
    }


def _through(feeder: PublishedFeeder, injections: Mapping[int, Array]) -> dict[int, Array]:
    """What flows through each line towards the grid connection, (T,): the sum of what is injected behind it."""
    none = np.zeros_like(next(iter(injections.values())))
    flow = {line.node: np.array(injections.get(line.node, none)) for line in feeder.lines}
    for line in reversed(feeder.lines):
        if line.parent in flow:
            flow[line.parent] = flow[line.parent] + flow[line.node]
    return flow


def listed(values: Mapping[int, Array], digits: int = 4) -> dict[int, list[float | None]]:
    """Rounded, as JSON has it: None for what is not a number."""
    return {
        node: [round(value, digits) if value == value else None for value in series.tolist()]
        for node, series in values.items()
    }


def _short(arguments: Mapping[str, Any]) -> Json:
    """What an event says, without what is long."""
    return {
        name: str(value) if isinstance(value, int) and abs(value) >= 2**53 else value
        for name, value in arguments.items()
        if name != "round" and not isinstance(value, list) and len(str(value)) <= 80
    }


def _prices(published: StoredEvent | None) -> Json:
    """What a supplier asks and pays, 1e-6 currency/kWh, and what it collects for the grid operator: on what comes from
    neighbours, and on the most that is drawn in a step, 1e-9 currency/Wh."""
    if published is None:
        return {"import_micro": (), "feed_in_micro": (), "traded_micro": (), "peak_micro": 0}
    tariff = bytes.fromhex(published.arguments["tariff"])
    imported, fed_in = decode_tariff(tariff)
    fees = decode_fees(tariff)
    return {
        "import_micro": imported,
        "feed_in_micro": fed_in,
        "traded_micro": () if fees is None else fees.traded_micro,
        "peak_micro": 0 if fees is None else fees.peak_micro,
    }
