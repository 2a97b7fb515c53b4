"""The two encoders behind the tokenizer, both built from one vocabulary.

Neither knows any special token: text that spells one is encoded as ordinary characters.
"""

from __future__ import annotations

import tiktoken
import tokenizers  # type: ignore[import-untyped]
from tokenizers import decoders, models, normalizers, pre_tokenizers

from src.errors import ModelError
from src.tokens.vocabulary import Vocabulary, byte_alphabet


def build_reference(vocabulary: Vocabulary, name: str) -> tokenizers.Tokenizer:
    """Hugging Face's encoder; what it says is right.

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


def build_fast(vocabulary: Vocabulary, name: str) -> tiktoken.Encoding:
    """Tiktoken's encoder with the ids as ranks; does not normalise Unicode.

    Raises:
        ValueError: If tiktoken cannot work with this vocabulary.
    """
    alphabet = byte_alphabet()
    ranks = {
        bytes(alphabet[character] for character in token): index
        for token, index in vocabulary.tokens.items()
    }
    return tiktoken.Encoding(
        name, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={}
    )


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
