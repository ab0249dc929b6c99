"""Chromium without a screen, driven by its own protocol: enough to open a page, ask it, and hear its complaints."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import until
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
PATIENCE = 120.0
"""Seconds: longer than a page takes on a machine that is busy with other tests."""


class Browser:
    """One window."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.complaints: list[str] = []  # of the console, of scripts, and of what could not be loaded
        self.requests: list[str] = []  # addresses
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv(timeout=PATIENCE))
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            self._hear(said)

    def _hear(self, said: dict[str, Any]) -> None:
        what, parameters = said.get("method"), said.get("params", {})
        if what == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif what == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(parameters["args"]))
        elif what == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(str(parameters["entry"]))
        elif what == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def size(self, width: int, height: int) -> None:
        """Of the window, as a telephone where it is narrow."""
        narrow = width < 600
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=narrow)

    def open(self, url: str) -> None:
        self._ask("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def leave(self) -> None:
        """The page, before its server ends."""
        self.open("about:blank")

    def tell(self, script: str) -> Any:
        """What an expression comes to on the page."""
        done = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait(self, script: str) -> None:
        """Until an expression holds on the page."""
        give_up = time.monotonic() + PATIENCE
        while not self.tell(f"Boolean({script})"):
            assert time.monotonic() < give_up, f"never holds: {script}; the page says: {self.text('main')}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """What an element shows."""
        return str(self.tell(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def press(self, key: str, times: int = 1) -> None:
        """A key, as a keyboard sends it."""
        for _ in range(times):
            text = {"Enter": "\r", " ": " "}.get(key, "")
            common = {"key": key, "code": key, "windowsVirtualKeyCode": {"Tab": 9, "Enter": 13, " ": 32}.get(key, 0)}
            self._ask("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
            self._ask("Input.dispatchKeyEvent", type="keyUp", **common)


def chromium() -> str:
    """The program; skips the test where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    why = "there is no Chromium on this machine: `apt-get install chromium` for the tests of the live page"
    pytest.skip(why, allow_module_level=True)


@contextmanager
def browser() -> Iterator[Browser]:
    """A window, closed at the end with all its processes."""
    with tempfile.TemporaryDirectory(prefix="gridpact-browser-", ignore_cleanup_errors=True) as folder:
        port = Path(folder) / "DevToolsActivePort"
        command = [chromium(), *OPTIONS, f"--user-data-dir={folder}", "--lang=en", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: port.exists() and "\n" in port.read_text(), "Chromium does not start")
            number = port.read_text().split("\n")[0]
            with connect(f"ws://127.0.0.1:{number}{_window(number)}", max_size=None, proxy=None) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _window(port: str) -> str:
    """The path of the first window."""
    found: list[str] = []

    def ask() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [one for one in json.load(answer) if one["type"] == "page"]
        found.extend(f"/devtools/page/{one['id']}" for one in pages)
        return bool(found)

    until(ask, "Chromium opens no window")
    return found[0]
