"""An explorer of this machine: answers as Etherscan's API does, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Stub:
    """An explorer: answers in order, and what it was asked."""

    answers: list[tuple[str, str]]  # status and result
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    http_status: int = 200
    body: str | None = None  # instead of an answer

    def reply(self, values: dict[str, str]) -> bytes:
        self.asked.append(values)
        if self.body is not None:
            return self.body.encode()
        status, result = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return json.dumps({"status": status, "message": "OK" if status == "1" else "NOTOK", "result": result}).encode()


@contextmanager
def running_stub() -> Iterator[Stub]:
    """A stub that takes every source, after a while."""
    made = Stub([("1", "number-1"), ("0", "Pending in queue"), ("1", "Pass - Verified")])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def do_GET(self) -> None:
            self._answer("")

        def _answer(self, body: str) -> None:
            values = {**parse_qs(urlsplit(self.path).query), **parse_qs(body)}
            content = made.reply({name: value[0] for name, value in values.items()} | {"path": self.path})
            self.send_response(made.http_status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}/v2/api"
        yield made
        server.shutdown()
