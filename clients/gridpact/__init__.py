"""gridpact: a local energy market of neighbours, agreed on a chain without a central operator."""

__version__ = "0.1.0"
