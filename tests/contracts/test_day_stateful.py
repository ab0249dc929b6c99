"""DaySettlement and DayProducts against their model in plain Python, call by call, over days in random order."""

import os
import random
import time
from collections import Counter

from days import (
    DAY,
    DEPOSIT,
    GATE,
    GREEN,
    NODES,
    OTHER_DAY,
    STEP,
    STEPS,
    STRANGER,
    TARIFF,
    pairs,
    series,
)
from days import terms as terms_of
from link import Reverted, grouped, rpc
from reference.day_model import ONE, Refused, Tariff

pytest_plugins = ["day_fixtures"]

DAYS, CALLS = int(os.environ.get("GRIDPACT_DAYS", "8")), 60
"""How many are played, and calls in each; `make days` plays more of them."""


class draw:
    """What a rule is called with, by a generator that is seeded with the day."""

    @staticmethod
    def of(choices):
        return lambda by: by.choice(choices)

    @staticmethod
    def between(low, high):
        return lambda by: by.randint(low, high)

    @staticmethod
    def four(high):
        return lambda by: [by.randint(0, high) for _ in range(4)]

    @staticmethod
    def coin():
        return lambda by: by.random() < 0.5


def rule(weight=1, when=lambda self: True, **arguments):
    """Marks a method that is called by chance, as often as its weight says."""

    def mark(method):
        method.rule = (weight, when, arguments)
        return method

    return mark


HALF = STEP // 2
people = [f"node {node}" for node in NODES]
parties = draw.of([*people * 3, "supplier", "green", "outsider"])
members = draw.of(people)
days = draw.of([DAY] * 8 + [OTHER_DAY])
steps = draw.of([0, 1, 1, 2, 2, 3, 3, 3, 3, STEPS])
energies = draw.between(0, 3000)
prices = draw.of([0, 90_000, 150_000, 200_001, -30_000])
tariffs = draw.of(
    [Tariff(TARIFF)] * 2
    + [Tariff(TARIFF, [10_000, 0, 50_000, 30_000], 90_000), Tariff(TARIFF, [0] * 4, 2**40, 202_607)]
)
greens = draw.of([GREEN, GREEN, Tariff(GREEN.prices), Tariff(TARIFF[::-1], [30_000] * 4, 400_000, 202_607)])
"""Of the community's supplier and of another one, with fees and without."""


def machine(world, met):
    """The state machine in this world. `met` counts what happened."""
    ledger, products, addresses = world.ledger, world.products, world.addresses

    class Machine:
        def __init__(self):
            self.snapshot = rpc("evm_snapshot")
            self.model = world.model()

        def supply(self, *of_green):
            """These become customers of the other supplier."""
            world.supply(*of_green)
            self.model.others |= dict.fromkeys(of_green, "green")

        def teardown(self):
            """DS5, DP2: whatever happened, everything ends by calls of somebody who has no part in it."""
            self.end()
            rpc("evm_revert", self.snapshot)

        def attempt(self, link, who, name, arguments, expected):
            """One call, to the model and to the contract, with the same outcome."""
            refused = reason = None
            try:
                link.attempt(addresses[who], name, *arguments)
            except Reverted as error:
                refused = str(error).partition(":")[0]
            try:
                expected(world.now())
            except Refused as error:
                reason = str(error)
            assert refused == reason, (name, arguments)
            if refused is None:
                link.send(addresses[who], name, *arguments)
            met[f"{name} {refused or 'done'}"] += 1
            return refused is None

        # -------------------------------------------------------------- the day

        @rule(
            who=draw.of(["supplier"] * 5 + ["outsider"]),
            day=days,
            key=draw.between(0, 2),
            pricing=draw.between(0, 1),
            adder=draw.of([0, 50_000, 400_000]),
            most=draw.of([0, 20_000, 10**12]),
            least=draw.of([0, 0, 400_000]),
            shares=draw.four(400_000_000),
            flaw=draw.of(["none"] * 8 + ["sum", "start"]),
            lock=draw.of([0, 100_000, DEPOSIT // 2, DEPOSIT // 2]),
            tariff=tariffs,
        )
        def open_day(self, who, day, key, pricing, adder, most, least, shares, flaw, lock, tariff):
            self.open_one(who, day, key, pricing, adder, most, least, shares, flaw, lock, tariff)

        @rule(
            weight=0,
            key=draw.between(0, 2),
            pricing=draw.between(0, 1),
            adder=draw.of([0, 50_000, 400_000]),
            shares=draw.four(300_000_000),
            joins=draw.of([True, True, False]),
            lock=draw.of([100_000, DEPOSIT // 2, DEPOSIT // 2]),
            own=draw.of([400_000, 5_000_000]),
            tariff=tariffs,
            of_green=draw.of([(), ("node 2", "node 4"), ("node 2", "node 3"), ("node 1", "node 2", "node 3")]),
            green=greens,
        )
        def begin(self, key, pricing, adder, shares, joins, lock, own, tariff, of_green, green):
            self.supply(*of_green)
            self.open_one("supplier", DAY, key, pricing, adder, 10**12, 0, shares, "none", lock, tariff)
            if of_green and joins:
                self.supply_one("green", DAY, True, green, lock)
            if joins:
                self.join_all(own)

        @rule(
            when=lambda self: self.model.days,
            who=draw.of(["green"] * 4 + ["supplier", "node 1"]),
            day=days,
            same=draw.of([True] * 4 + [False]),
            tariff=greens,
            flaw=draw.of(["none"] * 4 + ["length", "fee"]),
            lock=draw.of([0, 100_000, DEPOSIT // 2]),
        )
        def supply_day(self, who, day, same, tariff, flaw, lock):
            if flaw == "length":
                tariff = Tariff(tariff.prices[1:])
            elif flaw == "fee":
                tariff = Tariff(tariff.prices, [0, 0, 0, -1])
            self.supply_one(who, day, same, tariff, lock)

        def supply_one(self, who, day, same, tariff, lock):
            opened = self.model.days.get(day)
            same = same and opened is not None
            hash_ = self.hash_of(opened, "supplier") if same else bytes(32)
            self.attempt(
                ledger, who, "supplyDay", (day, hash_, tariff.encoded(), lock),
                lambda now: self.model.supply_day(now, who, day, same, tariff, lock),
            )  # fmt: skip

        def hash_of(self, opened, supplier):
            """What customers of a supplier agree to; nothing where it supplies nobody that day."""
            if supplier not in opened.tariffs:
                return bytes(32)
            shares = [opened.shares[k] for k in sorted(opened.shares)]
            other = None if supplier == "supplier" else opened.tariffs[supplier]
            return world.terms_hash(opened.terms, shares, opened.tariffs["supplier"], other)

        def open_one(self, who, day, key, pricing, adder, most, least, shares, flaw, lock, tariff):
            start = world.now() + (GATE + HALF if flaw != "start" else GATE)
            agreed = terms_of(start, key=key, pricing=pricing, adder=adder, most_adder=most, least_lock=least)
            said = [0, *shares[:3], ONE - sum(shares[:3])] if key == 2 else []
            if flaw == "sum" and key == 2:
                said[1] += 1
            arguments = (day, agreed.encoded(), tariff.encoded(), series(said), lock)
            self.attempt(
                ledger, who, "openDay", arguments,
                lambda now: self.model.open_day(now, who, day, agreed, tariff, said, lock),
            )  # fmt: skip

        @rule(
            when=lambda self: self.model.days,
            who=parties,
            day=days,
            same=draw.of([True] * 6 + [False]),
            lock=draw.of([0, 300_000, 5_000_000, 5_000_000]),
        )
        def join(self, who, day, same, lock):
            opened = self.model.days.get(day)
            hash_ = bytes(32)
            if opened is not None and same:
                hash_ = self.hash_of(opened, self.model.others.get(who, "supplier"))
            same = opened is not None and same
            self.attempt(
                ledger, who, "join", (day, hash_, lock), lambda now: self.model.join(now, who, day, same, lock)
            )

        @rule(when=lambda self: self.model.days, lock=draw.of([400_000, 5_000_000]))
        def the_others_join(self, lock):
            self.join_all(lock)

        def join_all(self, lock):
            for who in people:
                self.join_one(who, lock)

        def join_one(self, who, lock):
            day, opened = next(iter(self.model.days.items()))
            hash_ = self.hash_of(opened, self.model.others.get(who, "supplier"))
            self.attempt(
                ledger, who, "join", (day, hash_, lock), lambda now: self.model.join(now, who, day, True, lock)
            )

        @rule(
            weight=2,
            day=days,
            round_=draw.of([1, 1, 2, 2, 3, 4]),
            node=draw.of([1, 2, 3]),
            some=draw.of(["all", "all", "all", "first", "twice", "other"]),
        )
        def bring(self, day, round_, node, some):
            partners = {1: [2, 3], 2: [1], 3: [1]}[node]
            chosen = {"first": partners[:1], "twice": partners[:1] * 2}.get(some, partners)
            said = pairs(round_, node, chosen)
            if some == "other":
                said = [(partner, trades[:-1] + b"\x01") for partner, trades in said]
            self.attempt(
                ledger, "outsider", "bring", (day, round_, node, said),
                lambda now: self.model.bring(now, day, round_, node, chosen, some != "other"),
            )  # fmt: skip

        @rule(
            weight=2,
            when=lambda self: self.model.days,
            who=parties,
            day=days,
            first=steps,
            level=draw.between(-3000, 3000),
            flaw=draw.of([0] * 6 + [1]),
        )
        def nominate(self, who, day, first, level, flaw):
            said = [level + 100 * step for step in range(max(STEPS - first, 0) + flaw)]
            self.attempt(
                ledger, who, "nominate", (day, first, series(said)),
                lambda now: self.model.nominate(now, who, day, first, said),
            )  # fmt: skip

        @rule(who=draw.of([*people, "supplier"]), amount=draw.between(0, DEPOSIT), all_=draw.coin())
        def withdraw(self, who, amount, all_):
            amount = self.model.free[who] if all_ else amount
            self.attempt(ledger, who, "withdraw", (amount,), lambda _: self.model.withdraw(who, amount))

        # -------------------------------------------------------------- products

        @rule(
            weight=4,
            when=lambda self: self.model.days,
            kind=draw.of(["spot", "option", "forward"]),
            one=draw.of([*people, "supplier"]),
            other=draw.of([*people, "supplier"]),
            step=draw.of([2, 3, 3]),
            energy=draw.between(1, 3000),
            price=draw.of([50_000, 120_000, -30_000]),
            sells=draw.coin(),
            slope=draw.between(-30_000, 30_000),
        )
        def deal(self, kind, one, other, step, energy, price, sells, slope):
            """What two of them agree on, as far as they can."""
            day, opened = next(iter(self.model.days.items()))
            until, before = opened.gate(step) - 10, len(self.model.offers)
            if kind == "spot":
                self.post_one(one, day, step, sells, energy, price)
            elif kind == "option":
                self.write_one(one, (day, step, energy, abs(price), 1000, 1_500_000, until))
            else:
                formula = (price, slope, price - 60_000, price + 60_000, 20_000, world.condition(day, 0, 0)[0])
                self.offer_one(one, (day, step, sells, energy, formula, until))
            if len(self.model.offers) == before:
                return
            take = {"spot": "takeSpot", "option": "takeOption", "forward": "takeForward"}[kind]
            arguments = (before + 1, energy) if kind == "spot" else (before + 1,)
            self.attempt(
                products, other, take, arguments,
                lambda now: getattr(self.model, f"take_{kind}")(now, other, *arguments),
            )  # fmt: skip

        @rule(
            when=lambda self: self.model.days,
            who=parties,
            day=days,
            step=steps,
            sells=draw.coin(),
            energy=energies,
            price=prices,
        )
        def post_spot(self, who, day, step, sells, energy, price):
            self.post_one(who, day, step, sells, energy, price)

        def post_one(self, who, day, step, sells, energy, price):
            self.attempt(
                products, who, "postSpot", (day, step, sells, energy, price),
                lambda now: self.model.post_spot(now, who, day, step, sells, energy, price),
            )  # fmt: skip

        def pick(self, kind, number):
            """An offer of that kind, or any number where there is none."""
            found = [k for k, offer in self.model.offers.items() if offer.kind == kind]
            return found[number % len(found)] if found else number % 3

        @rule(
            weight=2,
            when=lambda self: self.model.offers,
            who=parties,
            number=draw.between(0, 9),
            part=draw.of([1, 1, 2, 3]),
            more=draw.of([0, 0, 1]),
        )
        def take_spot(self, who, number, part, more):
            number = self.pick("spot", number)
            left = self.model.offers[number].energy if number in self.model.offers else 0
            energy = left // part + more
            self.attempt(
                products, who, "takeSpot", (number, energy), lambda now: self.model.take_spot(now, who, number, energy)
            )

        @rule(
            weight=2,
            when=lambda self: self.model.offers,
            who=parties,
            kind=draw.of(["spot", "option", "forward"]),
            number=draw.between(0, 9),
        )
        def end_offer(self, who, kind, number):
            number = self.pick(kind, number)
            self.attempt(
                products, who, f"end{kind.title()}", (number,),
                lambda now: getattr(self.model, f"end_{kind}")(now, who, number),
            )  # fmt: skip

        @rule(
            when=lambda self: self.model.days,
            who=parties,
            day=days,
            step=steps,
            energy=energies,
            strike=draw.of([0, 100_000, 4_000_000_000]),
            premium=draw.of([0, 10_000, 10**9]),
            collateral=draw.of([0, 2_000_000, 2_000_000, 10**9]),
            early=draw.of([0, 10**6, -1]),
        )
        def write_option(self, who, day, step, energy, strike, premium, collateral, early):
            until = self.model.days[day].gate(step) - early if day in self.model.days else 0
            self.write_one(who, (day, step, energy, strike, premium, collateral, until))

        def write_one(self, who, arguments):
            self.attempt(
                products, who, "writeOption", arguments, lambda now: self.model.write_option(now, who, *arguments)
            )

        @rule(when=lambda self: self.model.offers, who=parties, number=draw.between(0, 9))
        def take_option(self, who, number):
            number = self.pick("option", number)
            self.attempt(products, who, "takeOption", (number,), lambda now: self.model.take_option(now, who, number))

        @rule(
            weight=2,
            when=lambda self: self.model.offers,
            who=parties,
            right=draw.of([True, True, True, False]),
            number=draw.between(0, 9),
            more=draw.of([0, 0, 0, 1, -1]),
        )
        def exercise(self, who, right, number, more):
            number = self.pick("option", number)
            offer = self.model.offers.get(number)
            if offer is not None and offer.other is not None and right:
                who = self.model.account(offer.day, offer.other)
            energy = max((offer.energy if offer else 0) + more, 0)
            self.attempt(
                products, who, "exercise", (number, energy), lambda now: self.model.exercise(now, who, number, energy)
            )

        @rule(
            when=lambda self: self.model.days,
            who=parties,
            day=days,
            step=steps,
            sells=draw.coin(),
            energy=energies,
            base=prices,
            slope=draw.of([0, 1000, -(2**31), 2**31 - 1]),
            below=draw.of([0, 50_000, 250_000, -1]),
            above=draw.of([0, 100_000]),
            early=draw.of([0, 10**6, -1]),
        )
        def offer_forward(self, who, day, step, sells, energy, base, slope, below, above, early):
            until = self.model.days[day].gate(step) - early if day in self.model.days else 0
            formula = (base, slope, base - below, base + above, 20_000, world.condition(day, 0, 0)[0])
            self.offer_one(who, (day, step, sells, energy, formula, until))

        def offer_one(self, who, arguments):
            self.attempt(
                products, who, "offerForward", arguments, lambda now: self.model.offer_forward(now, who, *arguments)
            )

        @rule(when=lambda self: self.model.offers, who=parties, number=draw.between(0, 9))
        def take_forward(self, who, number):
            number = self.pick("forward", number)
            self.attempt(products, who, "takeForward", (number,), lambda now: self.model.take_forward(now, who, number))

        @rule(
            weight=4,
            when=lambda self: self.model.days,
            who=parties,
            day=days,
            step=steps,
            condition=draw.of([0, 20_000, 23_500, -(2**63), 2**63 - 1]),
            signs=draw.coin(),
        )
        def report(self, who, day, step, condition, signs):
            oracle, *_ = world.condition(day, 0, 0)
            arguments = world.condition(day, step, condition, *([] if signs else [STRANGER]))
            self.attempt(
                products, who, "report", arguments,
                lambda now: self.model.report(now, who, oracle, day, step, condition, signs),
            )  # fmt: skip

        @rule(weight=2, when=lambda self: self.model.offers, number=draw.between(0, 9))
        def settle_forward(self, number):
            self.settle_one(self.pick("forward", number))

        def settle_one(self, number):
            def expected(now):
                """DP5"""
                price = self.model.settle_forward(now, number)
                _, _, floor, cap, _, _ = self.model.offers[number].formula
                assert floor <= price <= cap

            self.attempt(products, "outsider", "settleForward", (number,), expected)

        # -------------------------------------------------------------- delivery

        @rule(weight=4, when=lambda self: self.model.days, halves=draw.of([1, 2, 4]))
        def wait(self, halves):
            """To the middle between two gates, starts or ends; which nothing here comes near."""
            begun = next(iter(self.model.days.values())).terms.start - GATE
            passed = (world.now() - begun) // (HALF // 2)
            world.until(begun + (passed + halves) * (HALF // 2) + HALF // 4)

        @rule(
            weight=4,
            when=lambda self: self.model.days,
            day=days,
            later=draw.of([0, 0, 0, 1]),
            level=draw.between(-4000, 4000),
            nodes=draw.of([(1, 2, 3, 4), (1, 2, 3, 4), (1, 2), (3,), (2, 4), (5,)]),
            flaw=draw.of(["none"] * 6 + ["signer", "length"]),
        )
        def read(self, day, later, level, nodes, flaw):
            step = self.model.days[day].next + later if day in self.model.days else 0
            read = {node: level - 1500 * (node % 3) for node in nodes}
            if flaw == "none" and day in self.model.days and nodes == (1, 2, 3, 4):
                read = {node: energy for node, energy in read.items() if node in self.model.days[day].members}
            arguments = list(world.reading(day, step, read, *([STRANGER] if flaw == "signer" else [])))
            if flaw == "length":
                arguments[3] += b"\x00\x00\x00\x00"
            self.attempt(
                ledger, "outsider", "read", arguments,
                lambda now: self.model.read(now, day, step, read, flaw != "signer", flaw != "length"),
            )  # fmt: skip

        @rule(weight=3, when=lambda self: self.model.days, day=days)
        def settle_step(self, day):
            self.settle(day)

        def settle(self, day):
            def expected(now):
                """DS3, and that nobody pays the pool more than the import price."""
                before = dict(self.model.peaks)
                for supplier, result in self.model.settle_step(now, day).items():
                    assert sum(result.payments) == 0
                    met["pooled"] += result.pool_wh > 0
                    met[f"pooled by customers of {supplier}"] += result.pool_wh > 0
                    met["uncovered"] += any(result.uncovered)
                met["peaks"] += self.model.peaks != before

            self.attempt(ledger, "outsider", "settleStep", (day,), expected)

        @rule(when=lambda self: self.model.days, day=days)
        def close_day(self, day):
            self.attempt(ledger, "outsider", "closeDay", (day,), lambda _: self.model.close_day(day))

        # -------------------------------------------------------------- what must hold

        def books_balance(self):
            """DS1, DS2, DS4, DP1."""
            model, names = self.model, sorted(addresses)
            money = [(ledger, view, addresses[name]) for view in ("free", "locked") for name in names]
            whole = [(ledger, "totalDeposits"), (world.token, "balanceOf", ledger.address)]
            held = [(ledger, "balance", day, party) for day, opened in model.days.items() for party in opened.balances]
            found = grouped(money, whole, held)
            assert found[0] == [kind[name] for kind in (model.free, model.locked) for name in names]
            assert found[1] == [sum(found[0])] * 2
            assert found[2] == [opened.balances[p] for opened in model.days.values() for p in opened.balances]
            offered = sum(lock for offer in model.offers.values() for lock in offer.locks.values())
            days_ = model.days.values()
            held = sum(sum(opened.balances.values()) + sum(opened.covers().values()) for opened in days_)
            assert sum(model.locked.values()) == offered + held

        def energies_agree(self):
            """DS6, DS7, DP3: what stands in the end is what every call before left."""
            model = self.model
            places = [(day, node, step) for day in model.days for node in NODES for step in range(STEPS)]
            positions = [(ledger, "position", *place) for place in places]
            nominated = [(ledger, "nominated", *place) for place in places]
            past = [(ledger, "history", addresses[name]) for name in people]
            found = grouped(positions, nominated, past)
            assert found[0] == [model.days[day].positions[node, step] for day, node, step in places]
            assert found[1] == [model.days[day].nominated[node, step] for day, node, step in places]
            assert found[2] == [model.history[name] for name in people]

        def read_the_rest(self, day, opened):
            """Who is not read yet feeds in what the next customer of the same supplier draws, and less."""
            read, step = {}, opened.next
            for supplier in opened.tariffs:
                left = [n for n in sorted(opened.members) if opened.suppliers[n] == supplier]
                left = [n for n in left if (step, n) not in opened.readings]
                read |= {node: -3000 if k % 2 else 2500 for k, node in enumerate(left)}
            if read:
                self.attempt(
                    ledger, "outsider", "read", world.reading(day, step, read),
                    lambda now: self.model.read(now, day, step, read, True, True),
                )  # fmt: skip

        def end(self):
            for day, opened in list(self.model.days.items()):
                world.until(opened.report_end(STEPS - 1) + HALF // 4)
                while opened.next < STEPS:
                    if opened.next % 2:
                        self.read_the_rest(day, opened)
                    self.settle(day)
                if not opened.closed:
                    self.close_day(day)
            for number, offer in self.model.offers.items():
                if offer.kind == "forward" and offer.state == "taken":
                    self.settle_one(number)
                elif offer.state != "ended":
                    name, ends = f"end{offer.kind.title()}", getattr(self.model, f"end_{offer.kind}")

                    def expected(now, ends=ends, number=number):
                        ends(now, "outsider", number)

                    self.attempt(products, "outsider", name, (number,), expected)
            self.books_balance()
            self.energies_agree()
            assert not any(self.model.locked.values())

    return Machine


def call(day, by, name, rules):
    getattr(day, name)(**{argument: drawn(by) for argument, drawn in rules[name][2].items()})


def test_day_likeTheModel(world):
    met = Counter()
    started = time.monotonic()
    played = machine(world, met)
    rules = {name: found.rule for name, found in vars(played).items() if hasattr(found, "rule")}
    for seed in range(DAYS):
        by, day = random.Random(seed), played()
        call(day, by, "begin", rules)
        for _ in range(CALLS):
            able = {name: weight for name, (weight, when, _) in rules.items() if weight and when(day)}
            call(day, by, by.choices(list(able), list(able.values()))[0], rules)
            day.books_balance()
        day.teardown()
    print(f"\n  {sum(met.values())} calls in {time.monotonic() - started:.0f} s")
    for what, times in sorted(met.items()):
        print(f"  {what}: {times}")
    done = {what.removesuffix(" done") for what in met if what.endswith(" done")}
    assert done >= {
        "openDay", "supplyDay", "join", "bring", "nominate", "postSpot", "takeSpot", "endSpot", "writeOption",
        "takeOption", "exercise", "endOption", "offerForward", "takeForward", "report", "settleForward", "endForward",
        "read", "settleStep", "closeDay",
    }  # fmt: skip
    assert met["pooled"]
    assert met["pooled by customers of green"]
    assert met["peaks"]
    assert met["uncovered"]
