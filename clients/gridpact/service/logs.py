"""What a service says on standard error: a line an event, as `key=value` or as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from gridpact.text import plain

Context = Callable[[], Mapping[str, object]]
"""What stands in every line: node, round and so on, as they are now."""


class _Format(logging.Formatter):
    def __init__(self, kind: str, context: Context) -> None:
        super().__init__()
        self._json = kind == "json"
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "from": record.name.removeprefix("gridpact."),
            **self._context(),
            "message": plain(record.getMessage()),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if self._json:
            return json.dumps(fields, default=str, ensure_ascii=False)
        return " ".join(f"{key}={_value(value)}" for key, value in fields.items())


def _value(value: object) -> str:
    text = str(value)
    return text if text and not set(text) & set(' "=\n') else json.dumps(text, ensure_ascii=False)


def start_logging(kind: str, context: Context, stream: TextIO | None = None) -> logging.Handler:
    """Sends what gridpact's modules log to standard error. Returns the handler.

    Args:
        kind: text or json.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Format(kind, context))
    logger = logging.getLogger("gridpact")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler
