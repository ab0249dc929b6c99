"""`gridpact watch`: a round as it runs, in the terminal or as lines."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

from gridpact.cli.manager import add_price, add_record, eth_price_of, place_of, positive
from gridpact.cli.options import Commands
from gridpact.events import Event

if TYPE_CHECKING:
    from gridpact.manage.watching import RoundState

UP_AND_CLEAR = "\x1b[{lines}F\x1b[J"
"""Terminal control (ECMA-48): to the beginning of the line so many lines above, and clear from there."""


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "watch", help="a round as it runs: phase, who is missing, residuals, gas and its price"
    )
    add_record(command)
    command.add_argument("--follow", action="store_true", help="go on with the rounds that follow; Ctrl-C ends it")
    command.add_argument("--json", action="store_true", help="a line of JSON for each change")
    command.add_argument(
        "--every", type=positive, default=2.0, metavar="SECONDS", help="look at least so often; default 2"
    )
    command.add_argument(
        "--gas-price-gwei", type=positive, metavar="N", help="what gas is taken to cost; default what was paid"
    )
    add_price(command)
    command.set_defaults(command=_watch)


def _watch(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.manage.watching import Watcher

    with place_of(arguments) as place:
        assert place.record is not None
        aggregator = Aggregator.of(place.record, place.web3)
        price = None if arguments.gas_price_gwei is None else round(arguments.gas_price_gwei * 10**9)
        watcher = Watcher(aggregator, eth_price_of(arguments, place.profile), price)
        view = View(sys.stdout, place.profile.name, arguments.json)
        try:
            while True:
                now = aggregator.progress()
                if now.round > 0 or not arguments.follow:
                    state = watcher.look()
                    view.hear(state)
                    if state.phase.is_final and not arguments.follow:
                        return 0
                aggregator.wait_for(lambda later, before=now: later != before, arguments.every, each_submission=True)  # type: ignore[misc]
        finally:
            aggregator.close()


class View:
    """Shows states: a block of lines that is painted over, or a line for each change where nobody looks at it live."""

    def __init__(self, out: TextIO, network: str, json_lines: bool) -> None:
        self._out = out
        self._network = network
        self._json = json_lines
        self._live = not json_lines and out.isatty()
        self._painted = 0
        self._last: dict[str, object] = {}

    def hear(self, event: Event) -> None:
        from gridpact.manage.watching import RoundState

        if isinstance(event, RoundState):
            self._show(event)

    def _show(self, state: RoundState) -> None:
        from gridpact.manage.watching import as_json, as_text, headline

        if self._live:
            columns = shutil.get_terminal_size().columns
            text = "\n".join(line[:columns] for line in as_text(state, self._network).splitlines())  # none wraps
            back = UP_AND_CLEAR.format(lines=self._painted) if self._painted else ""
            print(back + text, file=self._out, flush=True)
            self._painted = 0 if state.phase.is_final else text.count("\n") + 1
            return
        fields = as_json(state)
        unchanged = {**fields, "seconds_left": 0}
        if unchanged != self._last:
            print(json.dumps(fields) if self._json else headline(state), file=self._out, flush=True)
        self._last = unchanged
