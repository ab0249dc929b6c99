"""Answers of sealed rounds: read as they were written, and as the referee reads them."""

from hypothesis import given
from hypothesis import strategies as st

from gridpact.market.admm.answers import PairPart, decode_answer, encode_answer

STEPS = 24
_SQUARES = st.integers(0, 2**64 - 1)
_BOOKS = st.dictionaries(st.integers(1, 30), st.lists(st.integers(0, 40), unique=True, max_size=5).map(sorted))


@given(_BOOKS, st.data())
def test_answer_isReadAsItWasWritten_butAtStepsThatAreNone(listed: dict[int, list[int]], data: st.DataObject) -> None:
    """Nothing is traded at a step after the last, which a book may list: whatever is said of it is neither true nor
    false, to the contract as to a node."""
    book = {partner: tuple(listed[partner]) for partner in sorted(listed)}
    counted = data.draw(st.sets(st.sampled_from(sorted(book)))) if book else set()
    parts = {
        partner: PairPart(
            data.draw(_SQUARES), data.draw(_SQUARES), tuple(data.draw(st.integers(0, 2**24 - 1)) for _ in book[partner])
        )
        for partner in sorted(counted)
    }
    answer = encode_answer(book, parts)
    read = decode_answer(book, answer, STEPS)
    assert read is not None
    assert read.keys() == parts.keys()
    for partner, part in parts.items():
        shares = zip(book[partner], part.shares, strict=True)
        expected = tuple(share if step < STEPS else 0 for step, share in shares)
        assert read[partner] == PairPart(part.primal, part.dual, expected)
    assert decode_answer(book, answer + b"\0", STEPS) is None
    assert decode_answer(book, answer[:-1], STEPS) is None
