"""How a service does: one line, a file, and metrics for Prometheus on a port of this machine."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from gridpact.chain.values import Progress
from gridpact.errors import InputError
from gridpact.events import Event
from gridpact.files import parse_json, reason_of, write_atomically
from gridpact.service.round_end import RoundEnd

OUTCOMES = ("agreed", "alone", "abstained", "missed", "failed")
PHASES = ("none", "declaring", "iterating", "converged", "exhausted", "abandoned")
STALE_SECONDS = 1800.0
"""Age at which a health file is taken for one of a service that has stopped."""


@dataclass
class Health:
    """What is known of a service. Written by its own thread, read by others."""

    node: int
    name: str
    round: int = 0
    day: str = ""
    phase: str = "none"
    iteration: int = 0
    chain: bool = False  # whether it answers
    last_agreement: str = ""  # its day
    last_agreement_at: float = 0.0  # unix time
    ether: float = 0.0  # of the account
    deposit: float = 0.0  # free, currency
    symbol: str = ""  # of the token
    last_error: str = ""
    last_error_at: float = 0.0
    errors: int = 0
    gas: int = 0
    iterations: int = 0
    solve_s: float = 0.0  # of the last round
    meter_deviation_kwh: float = 0.0  # of the delivery that was settled last, what was read less what was planned
    delivery: str = ""  # the day that is delivered, where the household is a member of one
    step: int = 0  # of it: the newest that was read
    position_kwh: float = 0.0  # at that step: sold, negative where bought
    nominated_kwh: float = 0.0  # to be drawn from pool and supplier
    deviation_kwh: float = 0.0  # drawn beyond that
    outcomes: Counter[str] = field(default_factory=Counter)
    at: float = 0.0  # unix time of the last sign of life
    limit: float = 0.0  # the most that a day may take from the account, on the chain, currency; 0: there is no limit

    def error(self, message: str) -> None:
        self.last_error, self.last_error_at = message, time.time()
        self.errors += 1

    def hear(self, event: Event) -> None:
        """From a round of its node: where it stands, and how it ended."""
        if isinstance(event, Progress):
            if self.round != event.round:
                self.day = ""
            self.round, self.phase, self.iteration = event.round, event.phase.name.lower(), event.iteration
            self.chain = True
        elif isinstance(event, RoundEnd):
            self.outcomes[event.outcome] += 1
            self.gas += event.gas
            self.iterations += event.iterations

    def context(self) -> Mapping[str, object]:
        """What stands in every line of the log."""
        return {"node": self.node, "round": self.round, "phase": self.phase, "iteration": self.iteration}

    @property
    def ok(self) -> bool:
        """Whether the chain answers and nothing was wrong since the last agreement."""
        return self.chain and self.last_error_at <= self.last_agreement_at

    def line(self) -> str:
        """All in one line."""
        where = f"round {self.round}" + (f" of {self.day}" if self.day else "") + f" {self.phase}"
        if self.phase == "iterating":
            where += f", iteration {self.iteration}"
        parts = [
            f"node {self.node} ({self.name})",
            where if self.round else "no round yet",
            f"last agreement {self.last_agreement}" if self.last_agreement else "no agreement yet",
            f"{self.ether:.4f} ETH, {self.deposit:.2f} {self.symbol or 'tokens'} deposited"
            + (f", a day takes at most {self.limit:.2f}" if self.limit else ""),
            "the chain answers" if self.chain else "the chain does not answer",
            f"last error: {self.last_error}" if self.last_error else "no error",
        ]
        if self.delivery:
            parts.insert(
                2,
                f"step {self.step} of {self.delivery}: sold {self.position_kwh:.3f} kWh, nominated "
                f"{self.nominated_kwh:.3f} kWh, deviates by {self.deviation_kwh:.3f} kWh",
            )
        return "; ".join(parts)

    def write(self, path: Path) -> None:
        self.at = time.time()
        write_atomically(path, json.dumps(vars(self)) + "\n", 0o600)

    @staticmethod
    def read(path: Path) -> Health:
        """Raises InputError where there is none."""
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
            return Health(**values | {"outcomes": Counter(values["outcomes"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"there is no health in '{path}' ({reason_of(error)}): start `gridpact node --config` first"
            ) from None


class _Metrics(Collector):
    """The health as Prometheus takes it."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        health = self._health
        gauges: Mapping[str, tuple[str, float]] = {
            "node": ("number of the node", health.node),
            "round": ("round that the node looks at", health.round),
            "iteration": ("open iteration of the round", health.iteration),
            "chain_up": ("1 where the chain answers", float(health.chain)),
            "last_agreement_timestamp_seconds": ("unix time of the last agreement, 0 before", health.last_agreement_at),
            "last_error_timestamp_seconds": ("unix time of the last error, 0 before", health.last_error_at),
            "balance_ether": ("ether of the account", health.ether),
            "deposit_free": ("free deposit in the settlement contract, currency", health.deposit),
            "debit_limit": ("the most that a day may take from the account, currency, 0 without a limit", health.limit),
            "solve_seconds": ("time spent solving in the last round", health.solve_s),
            "position_kwh": ("sold at the newest step that was read", health.position_kwh),
            "nominated_kwh": ("nominated there", health.nominated_kwh),
            "deviation_kwh": ("drawn there beyond what was nominated", health.deviation_kwh),
            "meter_deviation_kwh": ("newest settled delivery less its plan", health.meter_deviation_kwh),
        }
        for name, (what, value) in gauges.items():
            yield GaugeMetricFamily(f"gridpact_{name}", what, value)
        phases = GaugeMetricFamily("gridpact_phase", "1 for the phase of the round", labels=["phase"])
        for phase in PHASES:
            phases.add_metric([phase], float(phase == health.phase))
        yield phases
        rounds = CounterMetricFamily("gridpact_rounds", "rounds by how they ended for this node", labels=["outcome"])
        for outcome in OUTCOMES:
            rounds.add_metric([outcome], health.outcomes[outcome])
        yield rounds
        yield CounterMetricFamily("gridpact_errors", "errors that were logged", value=health.errors)
        yield CounterMetricFamily("gridpact_gas", "gas that the node used in its rounds", value=health.gas)
        yield CounterMetricFamily("gridpact_iterations", "iterations of its rounds", value=health.iterations)


class HealthServer:
    """`/metrics` and `/health` on 127.0.0.1, in a thread, for as long as the context is open."""

    def __init__(self, health: Health, port: int) -> None:
        """Raises InputError where the port is taken."""
        registry = CollectorRegistry()
        registry.register(_Metrics(health))
        ProcessCollector(registry=registry)

        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif self.path == "/health":
                    text = f"{health.line()}\n".encode()
                    self._answer(200 if health.ok else 503, "text/plain; charset=utf-8", text)
                else:
                    self._answer(404, "text/plain; charset=utf-8", b"there are /metrics and /health\n")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """A scrape is no event."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise InputError(
                f"the metrics cannot be served on port {port}: {error.strerror}; give another [service] metrics_port"
            ) from None
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> HealthServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.25}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
