"""Text that breaks encoders, and real text where this machine has it."""

from __future__ import annotations

import functools
import gzip
import os
from itertools import islice
from pathlib import Path

import pytest

from src.tokens.tokenizer import Tokenizer, load_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("LINGUABRIDGE_SHARED_DATA", ROOT / "../shared/data"))
QWEN = SHARED_DATA / "qwen_tokenizer"

NASTY = (
    "",
    " ",
    "   \n\n\t  x",
    "it's WE'LL Don't ſ'S 'ſ",
    "1234567890 ١٢٣ ¾ Ⅷ 十二",
    "e\u0301 vs é, \u1100\u1161 vs 가",
    "a\u0000b\x7f\ufeff\u200b\u200d\u3000\u2028z",
    "👩‍👩‍👧‍👦 🇨🇳 𠀀𪛖 \U000e0001",
    "!!!???。。。——……《》",
    "\r\n\r\n  \r x",
    "<|im_end|><to_zh> <|endoftext|>\n<|im_start|>user",
    "http://a.b/c?d=e&f=%20#g  {0} %s \\n",
    "中文和English混排,带 空格 与\t制表符",
    "\ud800 lone, \ud83d\ude00 pair",
)


@functools.cache
def real_tokenizer() -> Tokenizer:
    """Qwen2.5's; skips the test where it is absent."""
    if not QWEN.is_dir():
        pytest.skip(f"{QWEN} is absent; set LINGUABRIDGE_SHARED_DATA to the folder that holds it")
    return load_tokenizer(str(QWEN))


def real_sentences(lines: int) -> list[str]:
    """Both sides of the first lines of the raw corpus; skips the test where it is absent."""
    path = SHARED_DATA / "corpus" / "train_raw.tsv.gz"
    if not path.is_file():
        pytest.skip(f"{path} is absent; set LINGUABRIDGE_SHARED_DATA to the folder of corpora")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [side for line in islice(file, lines) for side in line.split("\t")]
