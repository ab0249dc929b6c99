"""What node 0 answered in a sealed round is judged as it opened that, by the referee itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from eth_keys.constants import SECPK1_N

from gridpact.chain.evidence import judge, opened_plan_digest
from gridpact.chain.networks import Network
from gridpact.chain.sealing import SealingKey, is_signed
from gridpact.chain.values import Phase, Residuals
from gridpact.errors import InputError
from gridpact.market.admm.codec import key_in
from gridpact.market.admm.pads import Pads, lanes_in, seal_word
from gridpact.node.opened_plan import OpenedPlan
from unit.chain.synthetic import Operator, played, star

STEPS = 15
WORDS = 2
NOBODYS = bytes(31) + b"\x01"


class SealedOperator(Operator):
    """Seals what node 0 answers; households say what they say in clear."""

    def submission(self, node: int, iteration: int) -> tuple[tuple[int, ...], bytes, Residuals]:
        words, bids, honest = super().submission(node, iteration)
        if node:
            return words, bids, honest
        number = self.manager.progress().round
        declared, key = self.manager.declarations(number), self.nodes[0].round_key(number)
        sealed: list[int] = []
        for at, word in enumerate(words):
            child, place = self.tree[0].children[at // (2 * WORDS)], at % (2 * WORDS)
            pad = Pads(key.common_secret(key_in(declared[child].book))).word(iteration, 0, place)
            sealed.append(seal_word(word, pad, lanes_in(place % WORDS, STEPS)))
        return tuple(sealed), bids, honest

    def opened_with(self, plan: OpenedPlan, keys: Sequence[bytes]) -> OpenedPlan:
        """As node 0 would open it with other keys."""
        digest = opened_plan_digest(plan.aggregator, plan.round, plan.iteration, keys)
        return replace(plan, keys=tuple(keys), signature=self.nodes[0].round_key(plan.round).sign(digest))


@pytest.mark.parametrize(("kilowatt", "verdict"), [(20, None), (-20, None), (10, "plan"), (0, "plan")])
def test_openedPlan_isJudgedAsAnOpenOne(anvil: Network, kilowatt: int, verdict: str | None) -> None:
    """20 kW over 0.5 ohm at 400 V change the voltage by some 6 %, 10 kW by 3 %: the second home's, in a second word."""
    play = SealedOperator(**vars(played(anvil, star(2, ()), STEPS, sealed=True)))
    play.community.at(2).copies[0]["P", 2][13] = 2000 * kilowatt
    number = play.open()
    play.iterate(number, 1)
    earlier = OpenedPlan.signed(play.nodes[0], number)
    for node in (0, 1):
        play.submit(number, 2, node)
    reader = play.aggregator()
    plan = OpenedPlan.signed(play.nodes[0], number)

    def judged(one: OpenedPlan, step: int = 13) -> str | None:
        return judge(reader, number, 0, plan.evidence(reader, step) if one is plan else forged(one, step))

    def forged(one: OpenedPlan, step: int) -> bytes:
        """Evidence that no client puts together."""
        right = plan.evidence(reader, step)
        for said, instead in zip((*plan.keys, *plan.signature), (*one.keys, *one.signature), strict=True):
            right = right.replace(said, instead)
        return right

    answers, drawn = plan.answers(reader), play.community.at(2).copies[0]
    assert answers.tolist() == [drawn[kind, child] for child in (1, 2) for kind in "PQ"]
    assert judged(plan, 12) == judged(plan, 0) == "plan"
    assert judged(plan) == verdict
    assert judged(plan, STEPS) == "plan"  # no such step

    # It opens nothing but what node 0 has signed.
    for wrong in (
        replace(plan, keys=(plan.keys[0], NOBODYS)),
        replace(plan, keys=plan.keys[::-1]),
        replace(plan, signature=earlier.signature),
        replace(plan, signature=play.nodes[1].round_key(number).sign(bytes(32))),
        replace(plan, signature=(plan.signature[1], plan.signature[0])),
        replace(plan, signature=(bytes(32), bytes(32))),
    ):
        assert judged(wrong) == "secret"
        with pytest.raises(InputError, match="not signed by the operator's node"):
            wrong.answers(reader)
    with pytest.raises(InputError, match=r"of iteration 1 .* of 2 with 2: ask for it again"):
        earlier.answers(reader)
    with pytest.raises(InputError, match="of the contracts at"):
        replace(plan, aggregator=plan.aggregator[:-4] + "0000").answers(reader)

    # Signed keys that are others are node 0's word against itself.
    lie = play.opened_with(plan, [plan.keys[0], NOBODYS])
    assert None in {judged(lie, step) for step in range(STEPS)}

    if verdict is None:
        reader.accuse(number, 0, plan.evidence(reader, 13))
        assert reader.progress().phase is Phase.ABANDONED
    reader.close()
    play.close()


def test_signature_isOfOneForm() -> None:
    """As the contract takes it: the other of the two that anybody can make of one is none."""
    for number in range(50):
        key, digest = SealingKey(bytes(32), bytes([number])), bytes([number + 1]) * 32
        r, vs = key.sign(digest)
        assert is_signed(key.public, digest, (r, vs))
        v, s = divmod(int.from_bytes(vs, "big"), 1 << 255)
        if (other := SECPK1_N - s) < 1 << 255:
            assert not is_signed(key.public, digest, (r, (other | (1 - v) << 255).to_bytes(32, "big")))
        assert not is_signed(key.public, bytes(32), (r, vs))
        assert not is_signed(SealingKey(bytes(32), b"another").public, digest, (r, vs))
        assert not is_signed(None, digest, (r, vs))
