"""The command `gridpact`, and `python -m gridpact`."""

import atexit
import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Runs a command. Ctrl-C before it has begun, while modules are imported, or after it has ended, is no error."""
    # The first that is registered runs last: then Python puts back the default, by which a late Ctrl-C would kill.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _unraisable
    # Before numpy is loaded. Matrices are small here: where others use the cores, threads wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from gridpact.cli import main as command

    try:
        return command()
    finally:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, _stop)


def _stop(signum: int, frame: FrameType | None) -> None:
    """Nothing was started yet, or nothing is left: there is nothing to tidy up."""
    os.write(2, b"gridpact: stopped\n")
    os._exit(130)


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C in a callback, which cannot pass it on."""
    if unraisable.exc_type is KeyboardInterrupt:
        _stop(signal.SIGINT, None)
    sys.__unraisablehook__(unraisable)


if __name__ == "__main__":
    sys.exit(main())
