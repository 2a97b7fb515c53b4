"""Decontamination: no row keeps a sentence of an evaluation set, on either side."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from src.corpus.decontamination import SideKeys, contaminated
from src.corpus.keys import KeyColumns, pair_keys
from src.corpus.texts import Texts

Pairs = list[tuple[str, str]]


def _texts(pairs: Pairs) -> tuple[Texts, Texts]:
    return Texts.of([left for left, _ in pairs]), Texts.of([right for _, right in pairs])


def _found(folder: Path, corpus: Pairs, sets: list[Pairs], alive=None) -> list[int]:
    np.save(folder / "keys.npy", pair_keys(*_texts(corpus)))
    keys = KeyColumns([folder / "keys.npy"])
    alive = np.ones(len(corpus), np.bool_) if alive is None else alive
    mask = contaminated(keys, SideKeys.of(_texts(pairs) for pairs in sets), alive)
    assert mask.dtype == np.bool_
    return [int(row) for row in np.flatnonzero(mask)]


def test_a_shared_side_is_found_whatever_its_case_punctuation_or_length(tmp_path: Path):
    corpus = [
        ("Where is the door?", "门在哪里？"),
        ("WHERE IS THE DOOR", "另一个译文"),
        ("Another sentence", "門在何處"),
        ("yes!", "是的"),
        ("A door is where?", "门 在哪里"),
        ("Yesterday", "昨天"),
    ]
    sets = [[("Where is the door?", "在哪里")], [("Yes.", "对。"), ("x", "门在哪里")]]
    assert _found(tmp_path, corpus, sets) == [0, 1, 3, 4]
    alive = np.array([True, False, True, True, True, True])
    assert _found(tmp_path, corpus, sets, alive) == [0, 3, 4]
    assert _found(tmp_path, corpus, []) == []


_PAIRS = st.lists(
    st.tuples(st.integers(0, 30).map("left {}".format), st.integers(0, 30).map("右 {}".format)),
    max_size=30,
)


@settings(max_examples=50)
@given(_PAIRS, st.lists(_PAIRS, max_size=3))
def test_what_stays_shares_no_side_and_what_goes_shares_one(
    tmp_path_factory, corpus: Pairs, sets: list[Pairs]
):
    found = _found(tmp_path_factory.mktemp("keys"), corpus, sets)
    left = {one for pairs in sets for one, _ in pairs}
    right = {other for pairs in sets for _, other in pairs}
    expected = [row for row, (one, other) in enumerate(corpus) if one in left or other in right]
    assert found == expected
