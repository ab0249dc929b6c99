"""The one error tree of gridpact. A message is one sentence: what is wrong, where, and what to do."""

from __future__ import annotations


class GridpactError(Exception):
    """Base of every error that gridpact raises on purpose. `exit_status` is what the command line ends with."""

    exit_status = 1


class InputError(GridpactError):
    """Something that the user gave (a file, an option, a key, an address) cannot be used."""

    exit_status = 2


class InfeasibleError(GridpactError):
    """No plan can satisfy the constraints: of one household, or of the community on its feeder."""

    exit_status = 3


class SolverError(GridpactError):
    """A solver ended with a status other than optimal, for another reason than infeasibility."""


class InexactRelaxationError(GridpactError):
    """The cone relaxation is not tight at the solution, so its losses and voltages are not physical."""


class ChainError(GridpactError):
    """The chain does not answer, or not as it must."""

    exit_status = 2


class InsufficientFunds(ChainError):
    """An account has less ether or fewer tokens than it needs. The message says how much is missing."""


class Reorganised(ChainError):
    """The chain no longer has what it told before: it was taken back, and must be read again."""


class Unreadable(ChainError):
    """What an endpoint tells of a round does not fit what the contract counted, again and again."""


class ContractError(ChainError):
    """A contract reverted with a custom error."""

    def __init__(self, message: str, name: str = "", values: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.values = values
