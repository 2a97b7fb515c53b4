"""Prompts: the ids around source and target."""

import pytest

from src.errors import ConfigError, ModelError
from src.tokens.prompts import build_prompt, build_prompts
from src.tokens.tokenizer import Tokenizer
from tests.fakes.small_tokens import DIRECTIONS, small_tokenizer
from tests.fakes.texts import real_tokenizer


def spell(tokenizer: Tokenizer, ids: tuple[int, ...]) -> str:
    """Text with special tokens spelt out."""
    names = {index: content for content, index in tokenizer.vocabulary.special_ids.items()}
    return "".join(names.get(index) or tokenizer.decode([index]) for index in ids)


def test_compact_prompt_is_one_marker_and_the_end():
    tokenizer = small_tokenizer()
    prompt = build_prompt("compact", tokenizer, "en", "zh")
    assert (prompt.prefix, spell(tokenizer, prompt.infix)) == ((), "<to_zh>")
    assert prompt.suffix == (tokenizer.eos_id,)


def test_chatml_prompt_is_a_chat_without_system_turn():
    tokenizer = small_tokenizer()
    prompt = build_prompt("chatml", tokenizer, "zh", "en")
    assert spell(tokenizer, prompt.prefix) == (
        "<|im_start|>user\nTranslate the following text from Chinese to English.\n\n"
    )
    assert spell(tokenizer, prompt.infix) == "<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.suffix == (tokenizer.eos_id,)


def test_other_languages_are_named_in_the_chat_and_marked_by_a_code_in_the_compact_prompt():
    chat = build_prompt("chatml", small_tokenizer(), "pt", "uk")
    assert "from Portuguese to Ukrainian." in spell(small_tokenizer(), chat.prefix)
    qwen = real_tokenizer()
    compact = build_prompt("compact", qwen, "zh", "fr")
    assert (compact.prefix, compact.suffix) == ((), (qwen.eos_id,))
    assert spell(qwen, compact.infix) == "<|box_start|>fr"


@pytest.mark.parametrize("kind", ["compact", "chatml"])
def test_directions_differ_and_lengths_add_up(kind):
    first, second = build_prompts(kind, small_tokenizer(), DIRECTIONS)
    assert (first.prefix, first.infix) != (second.prefix, second.infix)
    opening = first.opening([7, 8, 9])
    assert opening == [*first.prefix, 7, 8, 9, *first.infix]
    assert first.length(3, 2) == len(opening) + 2 + len(first.suffix)


def test_unknown_kind_and_language_are_refused():
    with pytest.raises(ConfigError, match="prompt 'alpaca' is unknown; use compact or chatml"):
        build_prompt("alpaca", small_tokenizer(), "en", "zh")
    with pytest.raises(ConfigError, match="language 'xx' is not supported; use one of en, zh, ar"):
        build_prompt("compact", small_tokenizer(), "en", "xx")


def test_tokenizer_without_the_needed_special_tokens_is_refused():
    trained = small_tokenizer()
    vocabulary = trained.vocabulary
    few = tuple(
        token
        for token in vocabulary.special_tokens
        if token.content in ("<|im_end|>", "<|endoftext|>")
    )
    poor = type(vocabulary)(vocabulary.tokens, vocabulary.merges, few)
    tokenizer = Tokenizer(poor, trained.config, None, "poor")
    with pytest.raises(ModelError, match="has no direction marker <to_en>"):
        build_prompt("compact", tokenizer, "zh", "en")
    with pytest.raises(ModelError, match=r"has no special token <\|im_start\|>"):
        build_prompt("chatml", tokenizer, "zh", "en")
