"""Decoding with a tiny random model, against searches written down plainly without a cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
import pytest

from src.errors import ModelError
from src.evaluation.decode import beam_candidates, translate_ids
from src.evaluation.forced import ends_next, predict_tokens
from src.evaluation.loops import LOOP_TOKENS
from src.models.factory import build_model, hidden_states, hidden_states_cached, logits
from src.schema import ArchitectureConfig

VOCABULARY = 40
NEW_TOKENS = 12  # below LOOP_TOKENS: the plain searches have no guard against loops


def make_model(*, is_tied: bool, initializer_range: float = 0.5):
    # Large initial weights make the model decided: no two tokens tie within float rounding.
    architecture = ArchitectureConfig(
        hidden_size=32,
        num_hidden_layers=2,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=is_tied,
        initializer_range=initializer_range,
    )
    return build_model(architecture, vocab_size=VOCABULARY, seed=3)


@pytest.fixture(scope="module")
def model():
    return make_model(is_tied=False)


@pytest.fixture(scope="module")
def prompts():
    random = np.random.default_rng(5)
    lengths = random.integers(1, 7, size=23)
    return [random.integers(0, VOCABULARY, size=length).tolist() for length in lengths]


@pytest.fixture(scope="module")
def eos_id(model, prompts):
    """A token that the model likes: translations end early, at different lengths."""
    settings: dict[str, Any] = {
        "max_new_tokens": NEW_TOKENS,
        "batch_size": 64,
        "vocab_size": VOCABULARY - 1,
    }
    free = translate_ids(model, prompts, eos_id=VOCABULARY - 2, **settings)
    counts = np.bincount([token for ids in free for token in ids])
    return int(counts.argmax())


def log_probabilities(model, ids):
    """Of every token after `ids`, in float64, computed without cache."""
    with paddle.no_grad():
        hidden = hidden_states(model, paddle.to_tensor([ids]))
        values = logits(model, hidden[:, -1])[0].numpy().astype(np.float64)
    return values - values.max() - math.log(np.exp(values - values.max()).sum())


def plain_beam_search(
    model, prompt: list[int], *, eos_id: int, width: int, length_penalty: float
) -> list[int]:
    """Beam search as in a textbook, one hypothesis at a time; width 1 is greedy search."""
    live: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for step in range(1, NEW_TOKENS + 1):
        candidates = [
            (score + value, [*ids, token])
            for score, ids in live
            for token, value in enumerate(log_probabilities(model, prompt + ids))
        ]
        candidates.sort(key=lambda candidate: -candidate[0])
        finished += [
            (score / step**length_penalty, ids[:-1])
            for score, ids in candidates[:width]
            if ids[-1] == eos_id
        ]
        live = [candidate for candidate in candidates if candidate[1][-1] != eos_id][:width]
        if len(finished) >= width:
            break
    return max(finished or live, key=lambda candidate: candidate[0])[1]


def total_log_probability(model, prompt, ids, eos_id):
    """Of a translation and, where there was room for one, its end token."""
    produced = ids if len(ids) == NEW_TOKENS else [*ids, eos_id]
    return sum(
        log_probabilities(model, prompt + produced[:step])[token]
        for step, token in enumerate(produced)
    )


def test_cached_states_equal_uncached_states_at_every_position(model):
    ids = paddle.to_tensor(np.random.default_rng(0).integers(0, VOCABULARY, size=[3, 9]))
    with paddle.no_grad():
        whole = hidden_states(model, ids).numpy()
        first, cache = hidden_states_cached(model, ids[:, :4], None)
        parts = [first.numpy()]
        for position in range(4, 9):
            hidden, cache = hidden_states_cached(model, ids[:, position : position + 1], cache)
            parts.append(hidden.numpy())
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-5)


def test_greedy_equals_plain_search_without_cache(model, prompts, eos_id):
    found = translate_ids(model, prompts, eos_id=eos_id, max_new_tokens=NEW_TOKENS, batch_size=5)
    assert found == [
        plain_beam_search(model, prompt, eos_id=eos_id, width=1, length_penalty=1.0)
        for prompt in prompts
    ]
    # The comparison means something only if rows left their batches at different steps.
    assert len({len(ids) for ids in found}) > 3


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_beam_equals_plain_search_without_cache(model, prompts, eos_id, length_penalty):
    chosen = prompts[:10]
    found = translate_ids(
        model,
        chosen,
        eos_id=eos_id,
        max_new_tokens=NEW_TOKENS,
        batch_size=5,
        beam_size=3,
        length_penalty=length_penalty,
    )
    assert found == [
        plain_beam_search(model, prompt, eos_id=eos_id, width=3, length_penalty=length_penalty)
        for prompt in chosen
    ]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_result_does_not_depend_on_how_prompts_are_batched(model, prompts, eos_id, beam_size):
    settings: dict[str, Any] = {"eos_id": eos_id, "max_new_tokens": 20, "beam_size": beam_size}
    together = translate_ids(model, prompts, batch_size=64, **settings)
    assert translate_ids(model, prompts, batch_size=2, **settings) == together
    alone = [translate_ids(model, [prompt], batch_size=1, **settings)[0] for prompt in prompts[:8]]
    assert alone == together[:8]
    backwards = translate_ids(model, prompts[::-1], batch_size=64, **settings)
    assert backwards[::-1] == together


def test_beam_finds_more_probable_translations_than_greedy(model, prompts, eos_id):
    settings: dict[str, Any] = {"eos_id": eos_id, "max_new_tokens": NEW_TOKENS, "batch_size": 64}
    greedy = translate_ids(model, prompts, **settings)
    beam = translate_ids(model, prompts, beam_size=4, length_penalty=0.0, **settings)
    means = [
        np.mean(
            [
                total_log_probability(model, prompt, ids, eos_id)
                for prompt, ids in zip(prompts, found, strict=True)
            ]
        )
        for found in (greedy, beam)
    ]
    assert means[1] > means[0]


def test_ids_beyond_the_vocabulary_are_never_produced(model, prompts):
    settings: dict[str, Any] = {"eos_id": 0, "max_new_tokens": NEW_TOKENS, "batch_size": 8}
    free = translate_ids(model, prompts, **settings)
    limit = VOCABULARY // 2
    assert max(max(ids) for ids in free if ids) >= limit
    for beam_size in (1, 3):
        found = translate_ids(model, prompts, vocab_size=limit, beam_size=beam_size, **settings)
        assert max(max(ids) for ids in found if ids) < limit


@pytest.mark.parametrize("beam_size", [1, 3])
def test_row_in_a_loop_stops_and_keeps_one_copy(beam_size):
    # Layers that do nothing and large tied embeddings: out comes what went in, the last token.
    repeating = make_model(is_tied=True, initializer_range=0.01)
    embedding = repeating.qwen2.embed_tokens.weight
    embedding.set_value(embedding * 100)
    calls: list[int] = []
    prompts = [[index] for index in range(10)]
    found = translate_ids(
        repeating,
        prompts,
        eos_id=VOCABULARY - 1,
        max_new_tokens=3 * LOOP_TOKENS,
        batch_size=4,
        beam_size=beam_size,
        progress=calls.append,
    )
    assert found == prompts
    assert sum(calls) == len(prompts)
    assert max(calls) <= 4


def test_model_keeps_its_mode_and_gets_no_gradients(model, prompts):
    for set_mode in (model.train, model.eval):
        set_mode()
        was_training = model.training
        translate_ids(model, prompts[:2], eos_id=0, max_new_tokens=2, batch_size=2)
        assert model.training is was_training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_prompts_give_no_translations(model):
    assert translate_ids(model, [], eos_id=0, max_new_tokens=2, batch_size=2) == []


def test_damaged_weights_are_named():
    damaged = make_model(is_tied=True)
    weight = damaged.qwen2.layers[0].mlp.up_proj.weight
    weight.set_value(paddle.full_like(weight, float("nan")))
    with pytest.raises(ModelError, match="not finite"):
        translate_ids(damaged, [[1]], eos_id=0, max_new_tokens=2, batch_size=1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens=0; it must be at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size=0; it must be at least 1"),
        ({"beam_size": 0}, ValueError, "beam_size=0; it must be at least 1"),
        (
            {"beam_size": 21},
            ModelError,
            "beam_size=21 is more than half of the 40 ids that the model knows; "
            "name a smaller one, such as 4",
        ),
        ({"prompts": [[1], []]}, ValueError, "prompt 1 is empty; it needs at least one id"),
        (
            {"prompts": [[1, 40]]},
            ModelError,
            "prompt 0 holds id 40 but the model has 40 vocabulary rows; "
            "use the tokenizer that belongs to the model",
        ),
        (
            {"eos_id": 40},
            ModelError,
            "end token 40 and vocabulary size 40 do not fit a model with 40 vocabulary rows; "
            "use the tokenizer that belongs to the model",
        ),
    ],
)
def test_unusable_arguments_are_named(model, changes, error, message):
    settings = {
        "prompts": [[1]], "eos_id": 0, "max_new_tokens": 2, "batch_size": 1, **changes
    }  # fmt: skip
    with pytest.raises(error) as caught:
        translate_ids(model, settings.pop("prompts"), **settings)
    assert str(caught.value) == message


def test_beam_candidates_begin_with_the_best_and_hold_no_doubles(model, prompts, eos_id):
    settings: dict[str, Any] = {
        "eos_id": eos_id,
        "max_new_tokens": NEW_TOKENS,
        "batch_size": 5,
        "beam_size": 3,
    }
    best = translate_ids(model, prompts, **settings)
    found = beam_candidates(model, prompts, **settings)
    assert [candidates[0] for candidates in found] == best
    assert any(len(candidates) > 1 for candidates in found)
    for candidates in found:
        assert len({tuple(ids) for ids in candidates}) == len(candidates)


def test_forced_predictions_equal_a_softmax_written_down_plainly(model, prompts):
    """Padding and batching must not show: each pair is computed alone here."""
    random = np.random.default_rng(9)
    pairs = [
        (prompt, random.integers(0, VOCABULARY, size=random.integers(1, 6)).tolist())
        for prompt in prompts
    ]
    found = predict_tokens(model, pairs, batch_size=7, pad_id=0)
    confidence, correct, log_probability = [], [], []
    for prompt, target in pairs:
        ids = np.array([[*prompt, *target]], dtype=np.int64)
        values = logits(model, hidden_states(model, paddle.to_tensor(ids))).numpy()[0]
        for place, token in enumerate(target, start=len(prompt) - 1):
            row = values[place].astype(np.float64)
            odds = np.exp(row - row.max())
            odds /= odds.sum()
            confidence.append(odds.max())
            correct.append(int(odds.argmax()) == token)
            log_probability.append(math.log(odds[token]))
    np.testing.assert_allclose(np.sort(found.confidence), np.sort(confidence), rtol=1e-4)
    np.testing.assert_allclose(
        np.sort(found.log_probability), np.sort(log_probability), rtol=1e-4, atol=1e-5
    )
    assert found.correct.sum() == sum(correct)


def test_ends_next_is_where_greedy_search_stops(model, prompts, eos_id):
    outputs = translate_ids(model, prompts, eos_id=eos_id, max_new_tokens=NEW_TOKENS, batch_size=8)
    for prompt, output in zip(prompts, outputs, strict=True):
        if len(output) < NEW_TOKENS:
            assert ends_next(model, [*prompt, *output], eos_id)
        if output:
            assert not ends_next(model, prompt, eos_id)
