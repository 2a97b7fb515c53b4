"""The reference encoder: Hugging Face `tokenizers`, built from our vocabulary."""

from __future__ import annotations

import tokenizers  # type: ignore[import-untyped]
from tokenizers import decoders, models, normalizers, pre_tokenizers

from src.errors import ModelError
from src.tokens.vocabulary import Vocabulary


def build_reference(vocabulary: Vocabulary, name: str) -> tokenizers.Tokenizer:
    """Hugging Face's encoder; what it says is right.

    It knows no special token: text that spells one is encoded as ordinary characters.

    Raises:
        ModelError: If the merges need tokens that the vocabulary lacks.
    """
    try:
        model = models.BPE(vocab=vocabulary.tokens, merges=list(vocabulary.merges))
        reference = tokenizers.Tokenizer(model)
        set_text_rules(reference, vocabulary.pattern, vocabulary.normal_form)
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(
            f"tokenizer {name}: vocabulary and merges do not fit together ({error}); "
            "use the files published with the model"
        ) from error
    return reference


def set_text_rules(tokenizer: tokenizers.Tokenizer, pattern: str, normal_form: str | None) -> None:
    """Gives `tokenizer` the normaliser, the pre-tokeniser and the decoder of byte-level BPE."""
    if normal_form is not None:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()


def well_formed(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
