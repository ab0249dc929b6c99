"""All ways in which a community can agree, each a row: what it is called, how it is drawn, what it promises.

A scenario says which mechanism, which network and whose contracts; what is not among these rows is refused by name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gridpact.errors import InputError
from gridpact.market.admm.mechanism import ConsensusAdmm
from gridpact.market.alone import Alone
from gridpact.market.bill_sharing import BillSharing
from gridpact.market.call_auction import CallAuction
from gridpact.market.community_manager import CommunityManager
from gridpact.market.double_auction import ContinuousDoubleAuction, HurdlePrice, NearTheLimit, ZeroIntelligence
from gridpact.market.game import BiddingGame
from gridpact.market.identified_pricing import IdentifiedPricing
from gridpact.market.mechanism import Mechanism
from gridpact.market.merit_order import MeritOrder
from gridpact.market.mid_market_rate import MidMarketRate
from gridpact.market.supply_demand_ratio import SupplyDemandRatio
from gridpact.market.truthful_auction import TruthfulAuction
from gridpact.market.unified_pricing import UnifiedPricing
from gridpact.problem.scenario import ADMM, Contracts, Scenario

if TYPE_CHECKING:
    from gridpact.community.model import CommunityDay

AS_ONE = Scenario(mechanism=ADMM, contracts=Contracts.COMMUNITY)
"""A community that deals with the supplier as one, and counts no network: what trade could save at best. Nobody agrees
so; it is the reference of mechanisms without trading coefficients."""


class Promise(Enum):
    """What a plan is checked for and fails where it is not so; whatever else is told is not promised."""

    AGREEMENT = "agreement"  # all end with the same numbers
    OPTIMUM = "optimum"  # costs no more than one optimiser that knows everything would find
    NETWORK = "network"  # losses and voltages are physical, voltages within their limits


@dataclass(frozen=True)
class Words:
    """How a way to agree is told."""

    label: str  # in legends and lists: a few words
    line: str  # one line for tables and for the help of the command line
    paragraph: str  # for pages
    agreed: str  # what the households did, after "16 households"
    failed: str  # what they did not, where they did not
    by: str  # what the community pays less with: "With ... the community pays"
    no_trades: str  # why nothing was traded, where nothing was


@dataclass(frozen=True)
class Look:
    """How a way to agree is drawn: its colour, line and mark, as matplotlib has them."""

    colour: str
    line: str
    mark: str


@dataclass(frozen=True)
class Market:
    """One way to agree.

    Attributes:
        promises: which checks apply.
        reference: the scenario whose optimum its plans are compared with.
        on_chain: whether there are contracts for it.
        contract: name of its own contract, where it is not the virtual aggregator that is agreed on a chain.
        one_tariff: whether its prices are made of the supplier's, which must be the same for all then.
    """

    scenario: Scenario
    words: Words
    look: Look
    mechanism: Mechanism
    promises: frozenset[Promise]
    reference: Scenario
    on_chain: bool
    one_tariff: bool = False
    contract: str = ""

    def require_tariffs(self, community: CommunityDay) -> None:
        """
        Raises:
            InputError: households have several tariffs, and it needs one.
        """
        if self.one_tariff and community.own_tariffs:
            several = [market.scenario.value for market in MARKETS if not market.one_tariff]
            raise InputError(
                f"'{self.scenario.value}' makes its prices of one tariff, and households of '{community.name}' have "
                f"{len(community.tariffs)}: leave out the column 'tariff', or choose one of {', '.join(several)}"
            )

    @property
    def agrees(self) -> bool:
        """Whether there is anything to agree on."""
        return Promise.AGREEMENT in self.promises


ORDERED = (
    "Every household plans its devices on its own; what its plan leaves it offers, what it lacks it asks for. Devices "
    "follow no prices, and nobody looks after the feeder."
)
"""What is the same in all markets of orders."""


ORDER_BOOK = (
    "At every step orders come one after another and meet the best that rests on the other side, of equals the oldest, "
    "at its price; what is not filled is placed anew in each of ten rounds until the gate closes."
)
"""What is the same with all strategies of bidding."""


def _of_orders(
    name: str, look: Look, mechanism: Mechanism, line: str, rule: str, one_tariff: bool = False, contract: str = ""
) -> Market:
    """A market of the orders of `market.bids`: no optimum is promised.

    Args:
        rule: how orders become trades, sentences.
        contract: its own on a chain, if there is one.
    """
    label = name.replace("-", " ")
    return Market(
        scenario=Scenario(mechanism=name),
        words=Words(
            label=label,
            line=line,
            paragraph=f"{ORDERED} {rule}",
            agreed=f"traded what their own plans left ({label})",
            failed="did not trade",
            by=f"trades of what each plan leaves ({label})",
            no_trades="at no step had somebody something left while another lacked it",
        ),
        look=look,
        mechanism=mechanism,
        promises=frozenset({Promise.AGREEMENT}),
        reference=AS_ONE,
        on_chain=bool(contract),
        one_tariff=one_tariff,
        contract=contract,
    )


MARKETS = (
    Market(
        scenario=Scenario.B,
        words=Words(
            label="each on its own",
            line="nothing, every household deals with its supplier alone",
            paragraph="Every household plans its devices on its own and deals with its supplier alone. This is what "
            "all else is compared with.",
            agreed="planned their day each on its own",
            failed="did not finish their plans",
            by="nothing agreed on",
            no_trades="in this scenario every household deals with its supplier alone",
        ),
        look=Look("#767676", "-", "o"),
        mechanism=Alone(),
        promises=frozenset({Promise.OPTIMUM}),
        reference=Scenario.B,
        on_chain=True,
    ),
    Market(
        scenario=Scenario.G,
        words=Words(
            label="grid only",
            line="the use of the grid, paid in common",
            paragraph="The community has one contract with the supplier and uses the grid as one: consensus ADMM over "
            "what passes each meter, within the limits of the feeder.",
            agreed="agreed on how to use the grid together",
            failed="did not agree on the use of the grid",
            by="the grid used in common",
            no_trades="in this scenario the community buys and feeds in as one",
        ),
        look=Look("#009e73", "--", "s"),
        mechanism=ConsensusAdmm(),
        promises=frozenset(Promise),
        reference=Scenario.G,
        on_chain=True,
    ),
    Market(
        scenario=Scenario.T,
        words=Words(
            label="trades only",
            line="bilateral trades",
            paragraph="Households agree with each other on bilateral trades and their prices, by consensus ADMM; "
            "nobody looks after the feeder.",
            agreed="agreed on trades with each other",
            failed="did not agree on trades",
            by="trades",
            no_trades="no trade would have paid for both sides on this day",
        ),
        look=Look("#d55e00", ":", "^"),
        mechanism=ConsensusAdmm(),
        promises=frozenset({Promise.AGREEMENT, Promise.OPTIMUM}),
        reference=Scenario.T,
        on_chain=True,
    ),
    Market(
        scenario=Scenario.TG,
        words=Words(
            label="trades and grid",
            line="trades within the limits of the grid",
            paragraph="Households agree on bilateral trades and, with the grid operator or along the feeder, on what "
            "passes each meter, by consensus ADMM, within the limits of the feeder.",
            agreed="agreed on trades with each other and on the use of the grid",
            failed="did not agree on trades and the use of the grid",
            by="trades within the limits of the grid",
            no_trades="no trade would have paid for both sides on this day",
        ),
        look=Look("#0072b2", "-", "D"),
        mechanism=ConsensusAdmm(),
        promises=frozenset(Promise),
        reference=Scenario.TG,
        on_chain=True,
    ),
    Market(
        scenario=Scenario(mechanism="call-auction"),
        words=Words(
            label="call auction",
            line="an auction at every step, at one price, of what each household's own plan leaves",
            paragraph="Every household plans its devices on its own. What its plan leaves it offers for what feeding "
            "in earns, what it lacks it asks for at what importing costs; at every step all trade at one price, in the "
            "middle of where the two curves cross. Nobody looks after the feeder, and devices follow no prices.",
            agreed="traded what their own plans left at auction",
            failed="did not trade",
            by="a call auction of what each plan leaves",
            no_trades="at no step had somebody something left while another lacked it",
        ),
        look=Look("#cc79a7", "-.", "v"),
        mechanism=CallAuction(),
        promises=frozenset({Promise.AGREEMENT}),
        reference=AS_ONE,
        on_chain=True,
        contract="CallAuction",
    ),
    Market(
        scenario=Scenario(mechanism="community-manager"),
        words=Words(
            label="community manager",
            line="a manager who finds the price of each step by which all plan their devices",
            paragraph="A manager deals with the supplier for all, and tells all a price of every step; every household "
            "plans its devices by it and tells only what passes its meter, until all plans fit together. Nobody looks "
            "after the feeder.",
            agreed="planned by the prices of a manager",
            failed="found no prices that fit",
            by="a manager's prices",
            no_trades="at no step had somebody something left while another lacked it",
        ),
        look=Look("#17becf", "-.", "^"),
        mechanism=CommunityManager(),
        promises=frozenset({Promise.AGREEMENT, Promise.OPTIMUM}),
        reference=AS_ONE,
        on_chain=True,
        one_tariff=True,
        contract="CommunityPrice",
    ),
    _of_orders(
        "truthful-auction",
        Look("#bcbd22", "-", "v"),
        TruthfulAuction(),
        "an auction at every step, at a price that nobody who trades has set, of what each own plan leaves",
        "At every step all trade at one price, that of an order which is left out for it, so that nobody gains by "
        "asking or bidding anything but what energy is worth to it.",
    ),
    _of_orders(
        "mid-market-rate",
        Look("#56b4e9", "-", "<"),
        MidMarketRate(),
        "trades halfway between feed-in and import price, of what each household's own plan leaves",
        "At every step all trade halfway between feed-in and import price; of the side with more each trades the same "
        "part.",
        one_tariff=True,
    ),
    _of_orders(
        "supply-demand-ratio",
        Look("#e69f00", "--", ">"),
        SupplyDemandRatio(),
        "trades at a price by the ratio of supply to demand, of what each household's own plan leaves",
        "At every step all trade at one price, which falls from the import to the feed-in price as more is offered for "
        "what is wanted; of the side with more each trades the same part.",
        one_tariff=True,
    ),
    _of_orders(
        "bill-sharing",
        Look("#8c6d31", ":", "p"),
        BillSharing(),
        "the supplier's bill shared at every step by what each household's own plan leaves",
        "At every step what the supplier takes is shared by what each lacks, and what it pays by what each has left. "
        "Neighbours pay each other nothing, so who sells may be worse off than alone.",
        one_tariff=True,
    ),
    _of_orders(
        "unified-pricing",
        Look("#393b79", "-.", "P"),
        UnifiedPricing(),
        "trades at one price by how much is lacking, the largest demand first, of what each own plan leaves",
        "At every step all trade at one price, the import price times the part of demand that nobody offers, but at "
        "least the feed-in price; who wants most is served first.",
        one_tariff=True,
    ),
    _of_orders(
        "game",
        Look("#31a354", ":", "s"),
        BiddingGame(),
        "sellers who hold back what would spoil their price, to a Nash equilibrium, of what each own plan leaves",
        "At every step the price falls with what is offered, as in unified pricing; sellers answer each other's offers "
        "with what pays best for themselves, until none moves: a Nash equilibrium. Who wants most is served first.",
        one_tariff=True,
    ),
    _of_orders(
        "merit-order",
        Look("#637939", "-", "X"),
        MeritOrder(uniform=False),
        "the lowest offers to the highest bids, each seller at what it asked, of what each own plan leaves",
        "At every step the highest bids take the lowest offers, and each seller is paid what it asked.",
    ),
    _of_orders(
        "merit-order-uniform",
        Look("#843c39", "--", "d"),
        MeritOrder(uniform=True),
        "the lowest offers to the highest bids, all at the last offer taken, of what each own plan leaves",
        "At every step the highest bids take the lowest offers, and all pay what the last offer taken asked.",
    ),
    _of_orders(
        "identified-pricing",
        Look("#5254a3", "-", "h"),
        IdentifiedPricing(split=False),
        "one seller for each buyer, at the buyer's own bid, of what each household's own plan leaves",
        "Every buyer's bid begins at the import price and falls the less it has had of what neighbours offered. At "
        "every step one buyer gets one seller, such that bids times energies come to the most, and pays its bid.",
        one_tariff=True,
    ),
    _of_orders(
        "identified-pricing-split",
        Look("#9c9ede", "--", "H"),
        IdentifiedPricing(split=True),
        "energy to the highest bids, each at its own, of what each household's own plan leaves",
        "Every buyer's bid begins at the import price and falls the less it has had of what neighbours offered. At "
        "every step the highest bids are served first, of all sellers alike, and each pays its bid.",
        one_tariff=True,
    ),
    _of_orders(
        "double-auction-zero",
        Look("#a55194", "-", "*"),
        ContinuousDoubleAuction(ZeroIntelligence()),
        "an order book at every step, prices drawn within limits, of what each household's own plan leaves",
        f"{ORDER_BOOK} Prices are drawn between each one's limit and the tariff's other end.",
        contract="OrderBook",
    ),
    _of_orders(
        "double-auction-gate",
        Look("#de9ed6", "--", "8"),
        ContinuousDoubleAuction(NearTheLimit()),
        "an order book at every step, prices near the limit as the gate closes, of what each own plan leaves",
        f"{ORDER_BOOK} Prices go from the tariff's other end to each one's limit in a straight line.",
        contract="OrderBook",
    ),
    _of_orders(
        "double-auction-hurdle",
        Look("#7b4173", ":", "o"),
        ContinuousDoubleAuction(HurdlePrice()),
        "an order book at every step, prices by what waiting is expected to come to, of what each own plan leaves",
        f"{ORDER_BOOK} Everybody trades at once at what it expects of waiting, or better.",
        contract="OrderBook",
    ),
)
"""In the order of tables."""

SCENARIOS = tuple(market.scenario for market in MARKETS)
NAMES = {market.scenario.value: market.scenario for market in MARKETS}


def market_of(scenario: Scenario) -> Market:
    """The row of a scenario.

    Raises:
        InputError: there is none: a mechanism that nobody registered, or with a network or contracts that it is not
            made for.
    """
    for market in MARKETS:
        if market.scenario == scenario:
            return market
    raise InputError(_unknown(scenario.value))


def scenario_named(name: str, among: Collection[Scenario] = SCENARIOS, of: str = "") -> Scenario:
    """A scenario by its users' name.

    Args:
        among: the scenarios that fit.
        of: what they fit, in words: " that can be delivered".

    Raises:
        InputError: there is none of that name, or it does not fit.
    """
    scenario = NAMES.get(name.lower())
    if scenario is None or scenario not in among:
        raise InputError(_unknown(name, among, of))
    return scenario


def scenarios_named(names: Collection[str]) -> tuple[Scenario, ...]:
    """Several, each once, in the order of tables.

    Raises:
        InputError: one of them is unknown.
    """
    named = {scenario_named(name) for name in names}
    return tuple(scenario for scenario in SCENARIOS if scenario in named)


def _unknown(name: str, among: Collection[Scenario] = SCENARIOS, of: str = "") -> str:
    known = ", ".join(scenario.value for scenario in SCENARIOS if scenario in among)
    return f"there is no scenario{of} '{name}'; choose one of {known}"
