"""VA15: questions of sealed rounds, and who goes on without an answer. What is false in an answer is the referee's:
tests/integration/test_sealed.py."""

import random

import pytest
from accusing import history
from brownie import network
from eth_utils import keccak
from helpers import LARGE, NONE, STAR
from link import Link, refused, rpc
from reference.aggregator_model import Refused

ROUND = 1


@pytest.fixture(scope="module")
def referee(module_isolation, SealedReferee, manager):
    return manager.deploy(SealedReferee)


@pytest.fixture
def sealed(community):
    """A sealed round whose third iteration is open: there is an answer to nothing but the first."""
    made = community(STAR)
    made.start()
    made.iterate()
    made.iterate()
    return made


def ask(made, asker, node, about):
    return made.send(made.accounts[asker], "ask", ROUND, node, about)


def answer(made, node, about, told):
    return made.send(made.accounts[node], "answer", ROUND, about, told)


def test_question_isAsked_andAnsweredOnce(sealed):
    tx = ask(sealed, 1, 2, 1)
    assert tx.one("Asked").values == {"round": ROUND, "iteration": 3, "node": 2, "about": 1}
    assert tuple(sealed.view("question", ROUND, 2, 1)) == (3, 0)
    told = b"whatever it says"
    tx = answer(sealed, 2, 1, told)
    assert tx.one("Answered").values == {"round": ROUND, "iteration": 3, "node": 2, "about": 1, "told": told}
    assert tuple(sealed.view("question", ROUND, 2, 1)) == (3, int.from_bytes(keccak(told)[2:], "big"))
    with refused("NotAsked: 2, 1"):
        answer(sealed, 2, 1, told)
    with refused("CannotAsk: 2, 1"):
        ask(sealed, 3, 2, 1)
    sealed.check()  # nothing else has changed
    sealed.iterate()
    sealed.check()


def test_logOfSealedRound_saysWhereSubmissionsAre_andNothingOfThem(sealed):
    """Sums are in the head as ever, which `check` has of the model."""
    model = sealed.model
    tx = sealed.submit(1)
    assert tx.names == ["Sealed"]
    assert tx.one("Sealed").values == {
        "round": ROUND,
        "iteration": 3,
        "node": 1,
        "commitment": model.now.commitments[1],
    }
    for node in sorted(sealed.tree):
        if node != 1:
            tx = sealed.submit(node)
    assert tx.one("IterationClosed")["sums"] == ()
    assert model.now.closed[-1].words
    sealed.check()


def test_questions_areAsTheModelHasThem(sealed):
    """Any of the calls, with anything: what the model refuses the contract refuses, and for the same reason."""
    chance, made, model = random.Random(1), sealed, sealed.model
    taken = {"ask": 0, "answer": 0, "accuseOfSilence": 0}
    for _ in range(90):
        now = model.now
        node, other, about = chance.randrange(6), chance.randrange(5), chance.randrange(now.iteration + 1)
        told = chance.randbytes(chance.randrange(40))
        active = sorted(model.now.active)
        kind = chance.choice([*taken, "submit"])
        if kind == "submit" or other not in now.active:
            for one in [one for one in active if one not in now.open and chance.random() < 0.8]:
                made.submit(one, LARGE)
            continue
        if kind == "ask":
            mine, its = (model.ask, (ROUND, other, node, about)), (other, "ask", ROUND, node, about)
        elif kind == "answer":
            asked = [question for question, said in now.questions.items() if said.told is None]
            other, about = chance.choice([(other, about), *asked])
            mine, its = (model.answer, (ROUND, other, about, told)), (other, "answer", ROUND, about, told)
        else:
            node, about = chance.choice([(node, about), *now.questions])
            mine, its = (model.accuse_of_silence, (ROUND, node, about)), (other, kind, ROUND, node, about)
        sender, name, *arguments = its
        call, values = mine
        try:
            call(*values)
        except Refused as why:
            with refused(str(why)):
                made.send(made.accounts[sender], name, *arguments)
        else:
            made.send(made.accounts[sender], name, *arguments)
            taken[kind] += 1
        assert tuple(made.view("question", ROUND, node, about)) == model.question(node, about)
        if 0 not in model.now.active:
            break
    assert all(taken.values())
    made.check()


def test_question_isOfTheRound_andOfWhatIsClosed(sealed, outsider):
    for about in (0, 2, 3, 2**16 - 1):
        with refused(f"CannotAsk: 2, {about}"):
            ask(sealed, 1, 2, about)
    with refused(f"NotEnrolled: {str(outsider).lower()}"):
        sealed.send(outsider, "ask", ROUND, 2, 1)
    with refused("NotInRound: 7, 1"):
        ask(sealed, 1, 7, 1)
    with refused("NotAsked: 1, 1"):
        answer(sealed, 1, 1, b"")


def test_node_asksThreeTimes(sealed):
    for node in (2, 3, 4):
        ask(sealed, 1, node, 1)
    sealed.iterate()
    with refused("CannotAsk: 2, 2"):
        ask(sealed, 1, 2, 2)
    ask(sealed, 2, 1, 2)  # others still do


def test_nodeThatGoesOnWithoutAnAnswer_isOut(sealed, outsider):
    """Two iterations later, not before; and who has answered, or is not heard, is not."""
    for node in (1, 2, 3):
        ask(sealed, 4, node, 1)
    answer(sealed, 2, 1, b"")

    def accuse(node):
        return sealed.send(outsider, "accuseOfSilence", ROUND, node, 1)

    sealed.iterate()
    for _ in range(2):
        with refused("StillTime: 1, 1"):
            accuse(1)
        if sealed.model.now.iteration == 4:
            sealed.iterate()
    sealed.submit(1)
    for node in (2, 3):
        with refused(f"StillTime: {node}, 1"):
            accuse(node)
    tx = accuse(1)
    sealed.model.exclude(1)
    assert tx.one("Excluded").values == {"round": ROUND, "iteration": 5, "node": 1, "proved": True}
    sealed.check()
    with refused("NotInRound: 1, 1"):
        accuse(1)
    with refused("NotInRound: 1, 1"):
        ask(sealed, 1, 3, 2)


def test_whoIsMissing_hasNotGoneOn(sealed, outsider):
    for node in (1, 2):
        ask(sealed, 4, node, 1)
    sealed.iterate()
    sealed.iterate()
    for node in sorted(sealed.tree):
        if node != 1:
            sealed.submit(node)
    sealed.close(sealed.manager)
    with refused("StillTime: 1, 1"):
        sealed.send(outsider, "accuseOfSilence", ROUND, 1, 1)
    sealed.send(outsider, "accuseOfSilence", ROUND, 2, 1)
    sealed.model.exclude(2)
    sealed.check()


def test_sealedSubmission_ofAnAccountWithCode_standsInTheLog(sealed):
    """VA14: it may stand in no calldata of its own, see test_attacks.py."""
    method = "anvil_setCode" if network.show_active() == "development" else "evm_setAccountCode"
    rpc(method, str(sealed.accounts[1]), "0x00")
    part = sealed.part(1)
    tx = sealed.submit(1, part=part)
    assert tx.names == ["Submitted", "Forwarded"]
    assert tx.one("Submitted")["bids"] == part.bids
    sealed.check()


@pytest.mark.parametrize("length", [0, 31])
def test_openingOfAPartner_endsWithAKey(sealed, AgreedBids, length):
    """Who states what was agreed shows what opens the partner's bids, 32 bytes behind them."""
    sealed.iterate(NONE)
    model = sealed.model.now
    assert model.phase == "Converged"

    def opening(node, bids):
        _, words, _, residuals = history(model, node, model.closed[-1].iteration).links[-1]
        return model.declared[node].book, bids, model.history[node][-1][2], words, residuals

    agreement = Link(AgreedBids.at(sealed.aggregator.agreement()))
    own = opening(1, model.history[1][-1][1].bids)
    said = (2, b"", opening(2, bytes(length)))
    with refused(f"WrongOpening: {ROUND}, 2"):
        agreement.view("requireFit", ROUND, 1, [said], 1, own)
