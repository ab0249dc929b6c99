"""gridpact: a local energy market of neighbours, agreed on a chain without a central operator.

    import gridpact

    day = gridpact.read("fontana16").on("06-10")
    agreed = gridpact.solve(day, "tg")
    print(agreed.cost, agreed.iterations)

What is in `__all__` is the package's public face, described in docs/python.md: it stays as it is from one minor version
to the next. All other modules may change at any time. Names are imported when they are first used.
"""

TYPE_CHECKING = False  # as in typing, whose import is time in which Ctrl-C leaves a traceback

__version__ = "0.2.0"

if TYPE_CHECKING:
    from gridpact.face import (
        Community,
        CommunityDay,
        Comparison,
        DayOutcome,
        Frames,
        GridpactError,
        HouseholdDay,
        InfeasibleError,
        InputError,
        cases,
        compare,
        frames,
        from_frames,
        plot,
        read,
        run_on_chain,
        solve,
    )

__all__ = [
    "Community",
    "CommunityDay",
    "Comparison",
    "DayOutcome",
    "Frames",
    "GridpactError",
    "HouseholdDay",
    "InfeasibleError",
    "InputError",
    "__version__",
    "cases",
    "compare",
    "frames",
    "from_frames",
    "plot",
    "read",
    "run_on_chain",
    "solve",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'gridpact' has no attribute '{name}'; its names are {', '.join(__all__)}")
    from gridpact import face

    return getattr(face, name)


def __dir__() -> list[str]:
    return __all__
