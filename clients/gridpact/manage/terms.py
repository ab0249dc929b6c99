"""With what a contract is deployed: theta and the setting, from a negotiation's numbers."""

from __future__ import annotations

from gridpact.chain.values import Setting, Theta
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.reach import MOST_ITERATIONS


def terms_of(
    negotiation: Negotiation, phase_seconds: int, max_misses: int, most_iterations: int = MOST_ITERATIONS
) -> tuple[Theta, Setting]:
    """What all nodes of a community read from the chain.

    Args:
        max_misses: iterations that a silent node may miss before it is out.
    """
    view, resolution = negotiation.views[0], negotiation.resolution
    eps = negotiation.tolerances.on_chain(resolution)
    theta = Theta(len(negotiation.views), *negotiation.penalties.on_chain(), *eps, most_iterations)
    seconds = round(3600 * view.step_hours)
    return theta, Setting(view.steps, seconds, *resolution.on_chain(), phase_seconds, max_misses)
