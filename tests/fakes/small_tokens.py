"""A tokenizer and token caches that are made in milliseconds."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from src.tokens.cache import TokenCache, write_token_cache
from src.tokens.tokenizer import Tokenizer, train_tokenizer

LANGUAGES = ("en", "zh")
DIRECTIONS = ("en-zh", "zh-en")
WORDS = {
    "en": ("Monday", "March", "the", "meeting", "5", "2029", "begins", "on", "naïve", "price"),
    "zh": ("星期一", "三月", "会议", "5", "2029", "开始", "于", "价格", "。", ","),
}

Pairs = list[tuple[str, str]]


@functools.cache
def small_tokenizer() -> Tokenizer:
    """400 tokens, learned from the words above."""
    sides = zip(*make_pairs(200, longest=12), strict=True)
    return train_tokenizer((text for side in sides for text in side), 400)


def make_pairs(count: int, *, longest: int = 8, seed: int = 0) -> Pairs:
    """Random sentences of 0 to `longest` words a side."""
    random = np.random.default_rng(seed)

    def sentence(language: str) -> str:
        words = random.choice(WORDS[language], size=random.integers(0, longest + 1))
        return (" " if language == "en" else "").join(words)

    return [(sentence("en"), sentence("zh")) for _ in range(count)]


def write_cache(folder: Path, pairs: Pairs, *, shard_pairs: int = 1_000_000) -> TokenCache:
    """A cache with these pairs in train and the first ten of them in dev."""
    splits = {
        name: [([en for en, _ in part], [zh for _, zh in part])]
        for name, part in (("train", pairs), ("dev", pairs[:10]))
    }
    write_token_cache(
        folder,
        splits=splits,
        tokenizer=small_tokenizer(),
        text_fingerprint="0" * 64,
        shard_pairs=shard_pairs,
    )
    return TokenCache.open(folder)
