"""TradeSettlement against its model in plain Python, call by call, over thousands of calls in random order."""

import time
from collections import Counter

import pytest
from brownie import chain, network, web3
from eth_account import Account
from helpers import PHASE_SECONDS
from hypothesis import HealthCheck, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from link import receipt_of
from reference.settlement_model import Ended, Refused, SettlementModel
from settling import (
    BIDS,
    BOOKS,
    DEPOSIT,
    METER,
    MILLIWATT,
    NO_OPENING,
    NODES,
    SILENT,
    STEP_SECONDS,
    STEPS,
    TARIFF,
    encode_reading,
    encode_tariff,
    read,
    signed,
    statement,
)

PRICES = [step if k % 2 else step[::-1] for k, step in enumerate(TARIFF)]
"""In every second step feeding in earns more than drawing costs."""

pytest_plugins = ["settling_fixtures"]

EXAMPLES, STEPS_EACH = 70, 25
"""Of the machine; a step is one call, or two where both sides of a pair agree."""

CALLS_EACH = 28  # at least, with those that empty the contract at the end of an example

SUPPLIER, OUTSIDER, METERING = "supplier", "outsider", "metering"
STRANGER = Account.from_key(b"\x09" * 32)
BID_MAP = {
    (node, partner): dict(zip(BOOKS[node][partner], values, strict=True)) for (node, partner), values in BIDS.items()
}


class Link:
    """Calls of one contract without brownie in between: many at once, and errors by name."""

    def __init__(self, contract):
        self.contract = contract
        self.errors = {}
        for entry in contract.abi:
            if entry["type"] == "error":
                types = ",".join(item["type"] for item in entry["inputs"])
                self.errors[web3.keccak(text=f"{entry['name']}({types})")[:4].hex().removeprefix("0x")] = entry["name"]

    def rpc(self, method, *parameters):
        answer = web3.provider.make_request(method, list(parameters))
        assert "error" not in answer, answer
        return answer["result"]

    def refused(self, sender, data):
        """Name of the error that a call would meet; None where it would pass."""
        call = {"from": sender, "to": self.contract.address, "data": data, "gas": hex(5_000_000)}
        answer = web3.provider.make_request("eth_call", [call, "latest"])
        if "error" not in answer:
            return None
        return self.errors[answer["error"]["data"][2:10]]

    def send(self, sender, data):
        """Sends; returns the time of the block."""
        call = {"from": sender, "to": self.contract.address, "data": data, "gas": hex(5_000_000)}
        receipt = receipt_of(self.signed(call) if sender == METER.address else self.rpc("eth_sendTransaction", call))
        assert receipt["status"] == "0x1"
        return int(self.rpc("eth_getBlockByNumber", receipt["blockNumber"], False)["timestamp"], 16)

    def signed(self, call):
        """Sends from the metering account, whose key the chain has not."""
        about = {"chainId": web3.eth.chain_id, "nonce": web3.eth.get_transaction_count(METER.address), "value": 0}
        paid = {**call, **about, "gasPrice": web3.eth.gas_price}
        del paid["from"]
        return self.rpc(
            "eth_sendRawTransaction", "0x" + METER.sign_transaction(paid).raw_transaction.hex().removeprefix("0x")
        )

    def now(self):
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)


@pytest.fixture(scope="module")
def world(settle, supplier, nodes, outsider, token, manager):
    """Rounds 1 to 3: converged without and with a tariff, and abandoned with one. Deposits are of `settle`."""
    contract, market_ = settle.contract, settle.market
    for round_ in (2, 3):
        contract.publishTariff(round_, encode_tariff(PRICES), {"from": supplier})
    market_.converge()
    market_.open()
    market_.declare(3, BOOKS)
    chain.sleep(PHASE_SECONDS + 5)
    market_.aggregator.closeOverdue({"from": outsider})
    assert market_.aggregator.outcome(3)[0] == 5
    names = {node: f"node {node}" for node in BOOKS}
    addresses = {names[node]: str(nodes[node]) for node in BOOKS} | {SUPPLIER: str(supplier), OUTSIDER: str(outsider)}
    present = frozenset(NODES)

    def model():
        rounds = {
            1: Ended(True, names, present, BID_MAP),
            2: Ended(True, names, present, BID_MAP, PRICES),
            3: Ended(False, names, frozenset(), {}, PRICES),
        }
        made = SettlementModel(STEPS, MILLIWATT, STEP_SECONDS, PHASE_SECONDS, 6, SUPPLIER, rounds)
        for account in (*(names[node] for node in NODES), SUPPLIER):
            made.deposit(account, DEPOSIT)
        return made

    addresses[METERING] = METER.address
    manager.transfer(METER.address, "1 ether")
    for account in (nodes[SILENT], outsider):
        token.mint(account, DEPOSIT, {"from": manager})
        token.approve(contract, DEPOSIT, {"from": account})
    return settle, token, addresses, model


rounds = st.sampled_from([1, 1, 1, 2, 2, 2, 3])
tariffed = st.sampled_from([2, 2, 2, 3, 1])
traders = [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)]
pairs = st.sampled_from([*traders, *traders, *traders, (1, 4), (4, 2), (2, 4), (1, 1), (SILENT, 1), (1, SILENT)])
amounts = st.one_of(st.integers(0, 2 * 10**6), st.integers(0, DEPOSIT))


def machine(world, met):
    """The state machine in this world. `met` counts what happened."""
    settle, token, addresses, new_model = world
    contract = settle.contract
    link = Link(contract)

    class Machine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.snapshot = link.rpc("evm_snapshot")
            self.model = new_model()

        def attempt(self, name, account, function, arguments, expected):
            """One call, to the model and to the contract, with the same outcome."""
            sender = addresses[account]
            data = function.encode_input(*arguments)
            refused = link.refused(sender, data)
            reason = None
            try:
                expected(link.now())
            except Refused as error:
                reason = str(error)
            assert refused == reason, name
            if refused is None:
                link.send(sender, data)
            met[f"{name} {refused or 'done'}"] += 1

        # -------------------------------------------------------------- deposits

        @rule(who=st.sampled_from(sorted(addresses)), amount=amounts)
        def deposit(self, who, amount):
            if read([(token, "allowance", (addresses[who], contract.address))])[0] < amount:
                return
            self.attempt("deposit", who, contract.deposit, [amount], lambda _: self.model.deposit(who, amount))

        @rule(who=st.sampled_from(sorted(addresses)), amount=amounts, all_=st.booleans())
        def withdraw(self, who, amount, all_):
            amount = self.model.free[who] if all_ else amount
            self.attempt("withdraw", who, contract.withdraw, [amount], lambda _: self.model.withdraw(who, amount))

        # -------------------------------------------------------------- trades

        def entries(self, round_, one, other, prices, flaw):
            """What fits, with these prices; with a flaw."""
            lower, higher = min(one, other), max(one, other)
            fits = self.model.fitting(round_, lower, higher) if self.model.rounds[round_].converged else {}
            said = [(step, energy, prices[i % len(prices)]) for i, (step, energy) in enumerate(fits.items())]
            if flaw == "none":
                return tuple(said)
            if flaw == "empty":
                return ()
            if flaw == "energy":
                return (*said[:-1], (7, 2001, prices[0]))
            if flaw == "step":
                return (*said, (20, 1, prices[0]))
            return (*said, (3, 1, 0), (3, 1, 0))  # not ascending

        def say(self, round_, node, partner, entries, opening="right"):
            account = f"node {node}"

            def expected(now):
                opens = node < partner and bool(entries)
                self.model.state(now, round_, account, partner, entries, opening == "right" or not opens)

            own, theirs = settle.opened(round_, node), settle.opened(round_, partner)
            if opening == "own":
                own = settle.opened(3 - round_, node)
            elif opening == "partner":
                theirs = NO_OPENING
            arguments = [round_, [(partner, statement(entries), theirs)], own]
            self.attempt("state", account, contract.state, arguments, expected)

        @rule(
            round_=rounds,
            pair=pairs,
            prices=st.sampled_from([(200_000,), (200_000, 100_000), (0,), (2_000_000,), (-50_000,)]),
            flaw=st.sampled_from(["none", "none", "none", "none", "empty", "energy", "step", "order"]),
            opening=st.sampled_from(["right", "right", "right", "right", "own", "partner"]),
        )
        def state(self, round_, pair, prices, flaw, opening):
            self.say(round_, *pair, self.entries(round_, *pair, prices, flaw), opening)

        @precondition(lambda self: len(self.model.recorded) < 2)
        @rule(
            round_=st.sampled_from([1, 2]),
            pair=st.sampled_from(traders),
            prices=st.sampled_from([(200_000,), (200_000, 100_000), (1_000_000,), (-50_000,)]),
        )
        def agree(self, round_, pair, prices):
            entries = self.entries(round_, *pair, prices, "none")
            self.say(round_, *pair, entries)
            self.say(round_, *reversed(pair), entries)

        @rule(
            round_=tariffed,
            pair=st.sampled_from([*traders, *traders, (1, 4), (SILENT, 1), (1, 1)]),
            stated=st.sampled_from([True, True, False]),
            prices=st.sampled_from([(200_000,), (80_000, 250_000), (-20_000,), (310_000,)]),
            flaw=st.sampled_from(["none"] * 6 + ["empty", "energy", "order", "party", "tariff"]),
        )
        def vouch(self, round_, pair, stated, prices, flaw):
            """One side states, at prices of its own, and metering says what was agreed."""
            if stated and pair in traders:
                self.say(round_, *pair, self.entries(round_, *pair, (100_000,), "none"))
            lower, higher = sorted(pair)
            entries = self.entries(
                round_, lower, higher, prices, flaw if flaw in ("empty", "energy", "order") else "none"
            )
            tariff = encode_tariff(PRICES)[::-1] if flaw == "tariff" else encode_tariff(PRICES)
            party = OUTSIDER if flaw == "party" else METERING
            said = [(higher, statement(entries), settle.opened(round_, higher))]

            def expected(_):
                if flaw == "tariff":
                    raise Refused("WrongTariff")
                self.model.vouch(party, METERING, round_, lower, higher, entries)

            arguments = [round_, lower, said, settle.opened(round_, lower), [(contract.supplier(), tariff)]]
            self.attempt("vouch", party, contract.vouch, arguments, expected)

        @precondition(lambda self: self.model.sides)
        @rule(pick=st.integers(0, 20), other=st.booleans())
        def release_one(self, pick, other):
            """Of those who state something; or of their partners."""
            round_, node, partner = sorted(self.model.sides)[pick % len(self.model.sides)]
            self.release(round_, *((partner, node) if other else (node, partner)))

        def release(self, round_, node, partner):
            side = self.model.sides.get((round_, node, partner))
            if side is not None and abs(side.deadline - link.now()) < 60:
                return  # the call and the transaction may be in different seconds
            account = f"node {node}"
            self.attempt(
                "release",
                account,
                contract.release,
                [round_, partner],
                lambda now: self.model.release(now, round_, account, partner),
            )

        @precondition(lambda self: any(side.amount for side in self.model.sides.values()))
        @rule()
        def wait(self):
            link.rpc("evm_increaseTime", hex(PHASE_SECONDS * 2 // 3))
            link.rpc("evm_mine")

        # -------------------------------------------------------------- delivery

        @rule(
            round_=tariffed,
            node=st.sampled_from([*NODES, SILENT]),
            level=st.sampled_from([-2000, -300, 0, 0, 300, 2000]),
            flaw=st.sampled_from(["none"] * 6 + ["signer", "positions", "tariff", "node"]),
        )
        def deliver(self, round_, node, level, flaw):
            energies = [level + step for step in range(STEPS)]
            positions = [(partner, statement(said)) for partner, said in self.model.positions(round_, node)]
            told = 6 if flaw == "node" else node
            reading = encode_reading(energies)
            r, vs = signed(contract, round_, node, reading, STRANGER if flaw == "signer" else METER)
            tariff = encode_tariff(PRICES)[::-1] if flaw == "tariff" else encode_tariff(PRICES)
            if flaw == "positions":
                positions = positions[1:] if positions else [(2, b"")]

            def expected(now):
                if (round_, told) in self.model.delivered:
                    raise Refused("AlreadyDelivered")
                if flaw in ("signer", "node"):
                    raise Refused("WrongReading")
                if flaw == "tariff":
                    raise Refused("WrongTariff")
                if flaw == "positions" and self.model.rounds[round_].tariff is not None:
                    raise Refused("WrongPositions")
                self.model.deliver(round_, node, energies)

            arguments = [round_, told, reading, tariff, positions, r, vs]
            self.attempt("deliver", OUTSIDER, contract.deliver, arguments, expected)

        @precondition(lambda self: self.model.delivered)
        @rule(
            pick=st.integers(0, 20),
            level=st.sampled_from([-2000, -300, 0, 300]),
            parties=st.sampled_from([("own", SUPPLIER), (SUPPLIER, "own"), ("own",), (SUPPLIER,), (OUTSIDER,)]),
            flaw=st.sampled_from(["none"] * 4 + ["tariff", "undelivered"]),
        )
        def correct(self, pick, level, parties, flaw):
            """TS11: nothing moves before both have said the same."""
            round_, node = sorted(self.model.delivered)[pick % len(self.model.delivered)]
            if flaw == "undelivered":
                round_ = 1
            energies = [level + step for step in range(STEPS)]
            positions = [(partner, statement(said)) for partner, said in self.model.positions(round_, node)]
            tariff = encode_tariff(PRICES)[::-1] if flaw == "tariff" else encode_tariff(PRICES)
            arguments = [round_, node, encode_reading(energies), tariff, positions]
            for who in parties:
                party = f"node {node}" if who == "own" else who

                def expected(_, party=party):
                    self.model.correct(party, round_, node, energies)

                def flawed(_, party=party):
                    if party == OUTSIDER:
                        raise Refused("NotConcerned")
                    raise Refused("WrongTariff")

                self.attempt("correct", party, contract.correct, arguments, flawed if flaw == "tariff" else expected)

        @precondition(lambda self: any(self.model.arrears.values()))
        @rule(
            party=st.sampled_from([SUPPLIER, SUPPLIER, OUTSIDER]),
            who=st.sampled_from(sorted(addresses)),
            amount=amounts,
        )
        def forgive(self, party, who, amount):
            self.attempt(
                "forgive",
                party,
                contract.forgive,
                [addresses[who], amount],
                lambda _: self.model.forgive(party, who, amount),
            )

        # -------------------------------------------------------------- what must hold

        @invariant()
        def money_agrees(self):
            """TS1, TS4, TS8."""
            names = sorted(addresses)
            views = [(contract, view, (addresses[name],)) for view in ("free", "locked", "arrears") for name in names]
            found = read([*views, (contract, "totalDeposits", ()), (token, "balanceOf", (contract.address,))])
            model = self.model
            assert found[:-2] == [kind[name] for kind in (model.free, model.locked, model.arrears) for name in names]
            held = sum(model.free.values()) + sum(model.locked.values())
            assert found[-2] == found[-1] == held
            for name in names:
                assert not (model.arrears[name] and model.free[name]) or name == SUPPLIER

        def teardown(self):
            try:
                self.everybody_leaves()
            finally:
                link.rpc("evm_revert", self.snapshot)

        def everybody_leaves(self):
            """TS2, TS3, TS5, TS7: the books of all rounds balance, and everybody leaves with all it has."""
            model = self.model
            nets = [(round_, node) for round_ in (1, 2, 3) for node in BOOKS]
            found = read([(contract, "netPayment", key) for key in nets])
            assert found == [model.net[key] for key in nets]
            found = read([(contract, "supplierPayment", (round_,)) for round_ in (1, 2, 3)])
            assert found == [model.supplier_net[round_] for round_ in (1, 2, 3)]
            for round_ in (1, 2, 3):
                assert model.supplier_net[round_] + sum(model.net[round_, node] for node in BOOKS) == 0
            link.rpc("evm_increaseTime", hex(PHASE_SECONDS + 61))
            link.rpc("evm_mine")
            for (round_, node, partner), side in list(model.sides.items()):
                if side.amount:
                    self.release(round_, node, partner)
            assert not any(model.locked.values())
            for who in addresses:
                self.withdraw(who, 0, True)
            self.money_agrees()
            assert read([(token, "balanceOf", (contract.address,))]) == [0]

    return Machine


def test_settlement_agreesWithItsModel(world):
    """TS1 to TS8."""
    met = Counter()
    examples = EXAMPLES if network.show_active() == "development" else EXAMPLES // 10  # Ganache is slower
    started = time.monotonic()
    run_state_machine_as_test(
        lambda: machine(world, met)(),
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            derandomize=True,
            database=None,
            verbosity=Verbosity.quiet,
            suppress_health_check=HealthCheck.all(),
        ),
    )
    print(f"\n  {sum(met.values())} calls in {time.monotonic() - started:.0f} s: {dict(sorted(met.items()))}")
    assert sum(met.values()) >= CALLS_EACH * examples
