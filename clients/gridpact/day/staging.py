"""A day on a test chain, set up: contracts, accounts, tariffs, and a folder for each household's process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.day import MOST_UNITS, DaySettlement, DayTerms, encode_shares
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.flexibility import OfferTerms
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.settlement import Settlement
from gridpact.chain.travel import Traveller
from gridpact.day.calling import StagedAggregator, offers_of
from gridpact.day.files import Deal, Orders, write_actual
from gridpact.day.values import MICRO, DaySettings
from gridpact.files import write_atomically
from gridpact.manage.terms import terms_of
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.prepared import Prepared
from gridpact.node.household_file import write_view
from gridpact.products.pool import Key, Pricing
from gridpact.relay.server import RelayServer
from gridpact.run.launch import NodeFiles
from gridpact.run.staging import day_label, month_of, tariff_with_fees
from gridpact.run.supplying import StagedSuppliers
from gridpact.study.whatif.forecast import draw
from gridpact.study.whatif.reagreement import re_agreement_steps
from gridpact.study.whatif.realised import actual_of, public_price_of

LEAD_STEPS = 4
"""How many steps before the first the day is opened: the round of the day before takes place in them."""

KEYS = {Key.PROPORTIONAL: 0, Key.EQUAL: 1, Key.FIXED: 2}
PRICINGS = {Pricing.MID_MARKET: 0, Pricing.RATIO: 1}


class StagedDay:
    """The contracts of a day on a test chain, and the accounts of who opens, meters and settles it.

    Args:
        settings: what is played.
    """

    def __init__(self, network: Network, prepared: Prepared, negotiation: Negotiation, settings: DaySettings) -> None:
        self._network, self._prepared, self._negotiation = network, prepared, negotiation
        self.community, self.settings = prepared.community, settings
        self._web3 = network.connect()
        self._manager = network.manager(self._web3)
        self.time = Traveller(self._web3)
        self.oracle_key = new_key()
        self.suppliers = StagedSuppliers(self.community, network)
        self.keys = {view.node: new_key() for view in prepared.views}
        self.homes = tuple(home.node for home in self.community.households)
        self.day = day_label(self.community.day)
        self.reality = draw(self.community, settings.model, np.random.default_rng(settings.seed))
        often = settings.re_agreements
        self.gates = re_agreement_steps(self.community, often) if often else ()
        self.relayer: ChainAccount | None = None
        self._deploy()

    def _deploy(self) -> None:
        """Contracts, enrolment, ether and tokens."""
        theta, setting = terms_of(self._negotiation, self.settings.phase_seconds, max_misses=2)
        supplier, metering = self.suppliers.common.address, self.suppliers.metering.address
        self.record = deploy_contracts(
            *(self._manager, theta, setting, self._network.name, supplier, metering),
            days=True,
            sealed=self.settings.sealed,
        )
        if self.settings.record is not None:
            self.record.write(self.settings.record)
        addresses = {node: str(address_of(key)) for node, key in self.keys.items()}
        self._network.fund([*addresses.values(), *self.suppliers.addresses], ETHER, self._web3)
        self.aggregator = enrol_households(self._manager, self.record, addresses)
        self.suppliers.admit(lambda account: Settlement.of(self.record, account.web3, account), self.keys)
        self.units = 10**6  # of the test token in a unit of currency
        self.lock = round(self.settings.lock * self.units)
        owners = [*self.suppliers.addresses, *(addresses[node] for node in self.homes)]
        mint_tokens(self._manager, self.record, owners, 20 * self.lock)
        self.ledger = DaySettlement.of(self.record, self._web3, self.suppliers.common)
        self.trades = Settlement.of(self.record, self._web3)
        calls, price = self.settings.calls, self.settings.call_price
        self._call_price = self.community.prices.mean_import if price is None else price
        self.caller: StagedAggregator | None = None
        if calls:
            homes = {node: addresses[node] for node in self.homes}
            staged = self._network, self.record, self._manager, homes, calls
            self.caller = StagedAggregator(*staged, self._call_price, self.units)

    def open_day(self) -> None:
        """The community's supplier opens the day, and others take part in it."""
        settings, seconds = self.settings, self.settings.step_seconds
        if seconds is None:
            seconds = round(3600 * self.community.step_hours)
        pool, most = settings.pool, settings.most_adder
        shares = dict(zip(self.homes, pool.shares, strict=True)) if pool.shares else {}
        terms = DayTerms(
            start=self.time.now() + LEAD_STEPS * seconds,
            step_seconds=seconds,
            gate_seconds=seconds // 4,
            reading_seconds=seconds // 4,
            key=KEYS[pool.key],
            pricing=PRICINGS[pool.pricing],
            adder=round(settings.adder * MICRO),
            tolerance_wh=100,
            least_lock=self.lock // 2,
            most_adder=MOST_UNITS if most is None else round(most * self.units),
        )
        for account, prices in self.suppliers.tariffs:
            ledger = DaySettlement.of(self.record, self._web3, account)
            ledger.deposit(10 * self.lock)
            tariff = tariff_with_fees(prices, self.community.step_hours, month_of(self.day))
            if account is self.suppliers.common:
                ledger.open_day(self.day, terms, tariff, 5 * self.lock, encode_shares(shares))
            else:
                ledger.supply_day(self.day, tariff, 5 * self.lock)

    @contextmanager
    def relaying(self) -> Iterator[RelayServer | None]:
        """A relay with an account of its own, where the settings ask for one."""
        if not self.settings.relay:
            yield None
            return
        self.relayer = ChainAccount(self._network.connect(), new_key())
        self._network.fund([self.relayer.address], ETHER, self._web3)
        with RelayServer(Aggregator.of(self.record, self.relayer.web3, self.relayer)) as relay:
            yield relay

    def equip(self, folder: Path, relay: str | None) -> dict[int, NodeFiles]:
        """A folder for each node: its key, its household file, the day's orders, and what will happen behind its
        meter."""
        community, settings = self.community, self.settings
        record = folder / "contracts.json"
        self.record.write(record)
        public_price = public_price_of(community)
        self.deals = self._chosen_deals() if settings.deals else ()
        offers: dict[int, OfferTerms] = {}
        if self.caller is not None:
            called = community, settings.calls, self.ledger, self.day, self.caller.address
            offers = offers_of(*called, self._call_price, self.units)
        rows = {home.node: row for row, home in enumerate(community.households)}
        files = {}
        for view in self._prepared.views:
            item = files[view.node] = NodeFiles(folder / f"node-{view.node:02d}", record, relay)
            write_view(view, item.household)
            write_atomically(item.key, self.keys[view.node] + "\n", mode=0o600)
            orders = Orders(
                self.day, 1, self.lock, settings.adder, public_price, self.deals, settings.silent.get(view.node),
                self.gates, settings.following, offers.get(view.node),
            )  # fmt: skip
            orders.write(item.folder)
            if view.node in rows:
                write_actual(actual_of(community, rows[view.node], self.reality, settings.model), item.folder)
        return files

    def _chosen_deals(self) -> tuple[Deal, ...]:
        """A spot trade, an option and a forward between the home with most sun and the one with most load, at the step
        where most is traded; half way between what it is worth to both."""
        homes = self.community.households
        seller = max(homes, key=lambda home: float(-np.minimum(home.net_load_kw, 0).sum()))
        buyer = max((home for home in homes if home is not seller), key=lambda home: float(home.load_kw.sum()))
        own = [self.community.prices_of(home) for home in (seller, buyer)]
        least = np.maximum(own[0].feed_in_price, own[1].feed_in_price)
        most = np.minimum(own[0].bought_price, own[1].bought_price)
        middle = np.rint((least + most) / 2 * MICRO).astype(int)
        steps = self.community.steps
        at = [min(steps - 1, max(1, round(part * steps))) for part in (0.5, 0.55, 0.6)]
        spot, option, forward = at
        dearest = round(float(own[0].import_price[option]) * MICRO) + round(self.settings.adder * MICRO)
        collateral = max(300 * dearest * self.units // 10**9 + 1, 0)
        base = int(middle[forward])
        return (
            Deal("spot", seller.node, buyer.node, spot, 200, int(middle[spot])),
            Deal(
                "option", seller.node, buyer.node, option, 300, max(int(middle[option]), 0),
                premium=self.units // 100, collateral=collateral,
            ),
            Deal(
                "forward", seller.node, buyer.node, forward, 250, base, slope=-1000, floor=base - 50_000,
                cap=base + 50_000, usual=20_000, oracle=str(address_of(self.oracle_key)),
            ),
        )  # fmt: skip

    def members(self) -> frozenset[int]:
        """Households that have joined the day."""
        return self.ledger.standing(self.day).members
