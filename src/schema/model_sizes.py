"""The published sizes of the Qwen2.5 family, known by name.

From the models' own `config.json`. With them a model can be planned for, named in an error, or
built anew in the same shape, without its files on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass

_INSTRUCT = "-instruct"


@dataclass(frozen=True)
class ModelSize:
    """Sizes of one published model.

    Attributes:
        name: As it is published, e.g. "Qwen/Qwen2.5-0.5B".
        vocab_size: Rows of the embedding matrix; more than the tokenizer has ids.
        hidden_size: Width D.
        num_hidden_layers: Layers L.
        intermediate_size: Width of the feed-forward layers.
        num_attention_heads: Query heads.
        num_key_value_heads: Key and value heads.
        tie_word_embeddings: Whether the output projection is the embedding matrix.
    """

    name: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    tie_word_embeddings: bool

    @property
    def parameters(self) -> int:
        """Number of weights; tied embeddings count once."""
        width, inner = self.hidden_size, self.intermediate_size
        key_width = width // self.num_attention_heads * self.num_key_value_heads
        attention = 2 * width * width + width + 2 * (width + 1) * key_width  # q, o; q bias; k, v
        layer = attention + 3 * width * inner + 2 * width  # and feed-forward, two norms
        embeddings = self.vocab_size * width * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * layer + width


MODEL_SIZES = (
    ModelSize("Qwen/Qwen2.5-0.5B", 151_936, 896, 24, 4864, 14, 2, tie_word_embeddings=True),
    ModelSize("Qwen/Qwen2.5-1.5B", 151_936, 1536, 28, 8960, 12, 2, tie_word_embeddings=True),
    ModelSize("Qwen/Qwen2.5-3B", 151_936, 2048, 36, 11_008, 16, 2, tie_word_embeddings=True),
    ModelSize("Qwen/Qwen2.5-7B", 152_064, 3584, 28, 18_944, 28, 4, tie_word_embeddings=False),
)


def find_model_size(name: str) -> ModelSize | None:
    """The size behind a name such as "Qwen/Qwen2.5-7B-Instruct" or "qwen2.5-7b", or None."""
    wanted = name.lower().rpartition("/")[2].removesuffix(_INSTRUCT)
    for size in MODEL_SIZES:
        if wanted == size.name.lower().rpartition("/")[2]:
            return size
    return None


def known_names() -> str:
    """All names, for messages."""
    return ", ".join(size.name for size in MODEL_SIZES)
