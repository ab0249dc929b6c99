"""Days of a community as its contracts would tell them, made up without a chain: for pages and stores of any size."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import numpy as np

from gridpact.chain.encoding import encode_energies, encode_tariff, encode_trades
from gridpact.chain.feed import ChainBlock, ChainEvent
from gridpact.chain.spent import Spent
from gridpact.chain.values import nodes_to_bitmap, pack_residuals
from gridpact.community.model import Feeder, Line
from gridpact.live.store import Store
from gridpact.market.admm.codec import encode_book, encode_copies, encode_feeder
from gridpact.problem.blocks import Block, Kind

STEPS = 24
BEGIN = 1_780_000_000
THETA = {"rho": 1, "phi": 1, "eps_primal_grid": 2500, "eps_dual_grid": 10000, "eps_primal_trade": 3700}
SETTING = {"steps": STEPS, "step_seconds": 3600, "power_resolution_milliwatt": 500, "voltage_resolution": 10}


class Street:
    """Homes on a main with laterals, who trade with the homes next to them.

    Args:
        store: is told of them.
        homes: at most 127.
        seed: of all that is drawn.
    """

    def __init__(self, store: Store, homes: int, seed: int = 1) -> None:
        self._store, self._homes, self._random = store, homes, random.Random(seed)
        self._number, self._round, self._time = 10, 0, BEGIN
        self._pending: list[tuple[list[ChainEvent], Spent]] = []
        theta = {"n": homes + 1, **THETA, "eps_dual_trade": 7400, "mu": 200}
        setting = {**SETTING, "phase_seconds": 300, "max_misses": 2}
        store.tell({"theta": theta, "setting": setting, "currency": {"symbol": "tEUR", "decimals": 6}})
        self._tell(*(("Enrolled", {"node": n, "account": f"0x{n:040x}"}) for n in self.nodes))
        for node in self.nodes[1:]:
            self._tell(("Deposited", {"account": f"0x{node:040x}", "amount": 5_000_000}))
        main = max(homes // 3, 1)
        parents = {node: node - 1 if node <= main or node % 3 else 1 + node * 7 % main for node in self.nodes[1:]}
        self._feeder = Feeder(
            400.0, 0.95, 1.05, tuple(Line(node, parent, 0.02, 0.003) for node, parent in parents.items())
        )
        self._partners = {
            node: sorted({1 + (node + k - 1) % homes for k in (-3, -2, -1, 1, 2, 3)} - {node}) for node in self.nodes
        }

    @property
    def nodes(self) -> range:
        return range(self._homes + 1)

    def _tell(self, *events: tuple[str, Mapping[str, object]]) -> None:
        """A block with one transaction."""
        self._number, self._time = self._number + 1, self._time + self._random.randint(0, 1)
        block = ChainBlock(self._number, f"0x{self._number:064x}", self._time)
        transaction = f"0x{self._number:064x}"
        chain_events = [ChainEvent(block, k, transaction, name, fields) for k, (name, fields) in enumerate(events)]
        self._pending.append((chain_events, Spent(90_000 * len(chain_events), 10**14, 1)))

    def flush(self) -> None:
        """Stores what was told."""
        chain_events = [one for few, _ in self._pending for one in few]
        self._store.add([], chain_events, {few[0].transaction: spent for few, spent in self._pending})
        self._pending.clear()

    def day(self, iterations: int, missing: int | None = None, ends: bool = True) -> int:
        """A round from its opening to its readings; or, where it does not end, until its last iteration but one home.

        Args:
            missing: a home that has not submitted in the open iteration.
        """
        self._round += 1
        number, steps = self._round, tuple(range(8, 20))
        prices = [0.22 + 0.18 * (15 <= k < 20) for k in range(STEPS)]
        micro = [round(1e6 * price) for price in prices]
        tariff = encode_tariff(micro, [p // 2 for p in micro])
        self._tell(("TariffPublished", {"round": number, "supplier": f"0x{0:040x}", "tariff": tariff}))
        deadline = self._time + 300
        self._tell(("RoundOpened", {"round": number, "day": 20260600 + number, "deadline": deadline}))
        children = nodes_to_bitmap(self.nodes[1:])
        for node in self.nodes:
            book = dict.fromkeys(self._partners[node], steps) if node else {}
            fields: dict[str, object] = {"parent": 0, "depth": int(node > 0), "children": 0 if node else children}
            fields["bids"] = len(book) * len(steps)
            fields["book"] = encode_book(book) if node else encode_feeder(self._feeder)
            self._tell(("Declared", {"round": number, "node": node, **fields}))
        everybody = nodes_to_bitmap(self.nodes)
        self._tell(("RoundStarted", {"round": number, "nodes": everybody, "lines": everybody - 1, "inner": 0}))
        for k in range(1, iterations + 1):
            opened = {"round": number, "iteration": k, "deadline": self._time + 300}
            self._tell(("IterationOpened", opened))
            last = k == iterations and not ends
            for node in self.nodes:
                if last and (node == 0 or node == missing):
                    continue
                fields = {"round": number, "iteration": k, "node": node, "residuals": 1, "commitment": bytes(32)}
                self._tell(("Submitted", fields | {"bids": bytes(4)}))
            if not last:
                self._tell(("IterationClosed", self._closed(number, k, everybody)))
        if ends:
            self._end(number, iterations, micro)
        self.flush()
        return number

    def _closed(self, number: int, k: int, everybody: int) -> dict[str, object]:
        far = 400 * math.exp(-0.16 * k) * self._random.uniform(0.8, 1.2) + 2
        squares = [round((far * share) ** 2 * 48 * self._homes) for share in (1, 3, 2, 2.2)]
        return {
            "round": number, "iteration": k, "present": everybody, "head": bytes(32),
            "residuals": pack_residuals(tuple(squares), 2**64),  # type: ignore[arg-type]
            "sums": tuple(self._sums()),
        }  # fmt: skip

    def _sums(self) -> list[int]:
        """Twice what each home feeds in: two copies of each block."""
        blocks, lanes = [], []
        for node in self.nodes[1:]:
            for kind in (Kind.P, Kind.Q):
                blocks.append(Block(kind, node))
                lanes.append([round(2000 * (self._power(node, t) if kind is Kind.P else 0.1)) for t in range(STEPS)])
        once = encode_copies(blocks, np.array([[lane * 2 // 2 for lane in row] for row in lanes]))
        return [2 * word for word in once]

    def _power(self, node: int, step: int) -> float:
        sun = max(math.sin((step - 6) / 12 * math.pi), 0.0) * (3.5 if node % 3 == 0 else 0.3)
        return round(sun - 0.6 - 0.9 * (17 <= step <= 21) * (node % 4 == 1) - 0.2 * (node % 5), 3)

    def _end(self, number: int, iterations: int, micro: list[int]) -> None:
        self._tell(("RoundEnded", {"round": number, "phase": 3, "iterations": iterations}))
        for lower in self.nodes[1:]:
            for higher in self._partners[lower]:
                if higher <= lower or (lower % 3 and higher % 3):
                    continue
                sign = 1 if lower % 3 == 0 else -1
                entries = [(t, sign * (100 + 40 * (lower + t) % 300), round(0.75 * micro[t])) for t in range(9, 17)]
                payment = sum(wh * price for _, wh, price in entries) // 1000
                fields = {"round": number, "lower": lower, "higher": higher, "payment": payment}
                self._tell(("TradeRecorded", {**fields, "trades": encode_trades(entries)}))
        for node in self.nodes[1:]:
            read = [round(1000 * self._power(node, t) + self._random.gauss(0, 120)) for t in range(STEPS)]
            fields = {"round": number, "node": node, "payment": sum(read) * 200, "arrears": 0}
            self._tell(("Delivered", {**fields, "energies": encode_energies(read)}))
