"""A tokenizer, text shards and token caches that are made in milliseconds."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from src.tokens.cache import TokenCache
from src.tokens.tokenizer import Tokenizer, train_tokenizer
from src.tokens.write_cache import write_token_cache

LANGUAGES = ("en", "zh")
DIRECTIONS = ("en-zh", "zh-en")
WORDS = {
    "en": ("Monday", "March", "the", "meeting", "5", "2029", "begins", "on", "naïve", "price"),
    "zh": ("星期一", "三月", "会议", "5", "2029", "开始", "于", "价格", "。", ","),
    "fr": ("lundi", "mars", "la", "réunion", "5", "2029", "commence", "le", "naïf", "prix"),
}

Pairs = list[tuple[str, str]]


@functools.cache
def small_tokenizer() -> Tokenizer:
    """400 tokens, learned from the words above."""
    sides = zip(*make_pairs(200, longest=12), strict=True)
    return train_tokenizer((text for side in sides for text in side), 400)


def make_pairs(
    count: int, *, longest: int = 8, seed: int = 0, languages: tuple[str, str] = LANGUAGES
) -> Pairs:
    """Random sentences of 0 to `longest` words a side."""
    random = np.random.default_rng(seed)

    def sentence(language: str) -> str:
        words = random.choice(WORDS[language], size=random.integers(0, longest + 1))
        return ("" if language == "zh" else " ").join(words)

    left, right = languages
    return [(sentence(left), sentence(right)) for _ in range(count)]


def write_text_shard(
    path: Path,
    pairs: Pairs,
    *,
    languages: tuple[str, str] = LANGUAGES,
    rows_per_group: int = 1_000_000,
) -> Path:
    """A Parquet file with these pairs, in row groups of this many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(languages, ([], []) if not pairs else zip(*pairs, strict=True), strict=True))
    schema = pa.schema([(language, pa.string()) for language in languages])
    pq.write_table(pa.table(columns, schema=schema), path, row_group_size=rows_per_group)
    return path


def write_cache(
    folder: Path,
    pairs: Pairs,
    *,
    shard_pairs: int = 1_000_000,
    others: dict[tuple[str, str], Pairs] | None = None,
) -> TokenCache:
    """A cache with these pairs in train and the first ten of them in dev.

    Args:
        folder: Of the cache; the text lies beside it.
        pairs: English and Chinese.
        shard_pairs: Pairs in a shard.
        others: Further pairs of train, by their languages.
    """
    text = folder.with_name(f"{folder.name}-text")
    train = [
        write_text_shard(
            text / f"train-{left}-{right}-00000.parquet",
            content,
            languages=(left, right),
            rows_per_group=shard_pairs,
        )
        for (left, right), content in {LANGUAGES: pairs, **(others or {})}.items()
    ]
    dev = write_text_shard(text / "dev-en-zh-00000.parquet", pairs[:10])
    write_token_cache(
        folder,
        splits={"train": train, "dev": [dev]},
        tokenizer=small_tokenizer(),
        text_fingerprint="0" * 64,
        shard_rows=shard_pairs,
    )
    return TokenCache.open(folder)
