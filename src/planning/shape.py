"""The sizes of a model that its memory and its work follow from."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import ConfigError
from src.schema import TrainerConfig
from src.schema.model_sizes import find_model_size, known_names

QWEN_VOCABULARY = 151_936
_CONFIG_FILE = "config.json"
# Width and layers of the Qwen2.5 family by parameters, for a model of which only the number of
# parameters is known.
_FAMILY = (
    (0.494e9, 896, 24),
    (1.544e9, 1536, 28),
    (3.086e9, 2048, 36),
    (7.616e9, 3584, 28),
    (14.77e9, 5120, 48),
    (32.76e9, 5120, 64),
    (72.71e9, 8192, 80),
)
_HEAD_WIDTH = 128


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder of the Qwen2 and Llama kind.

    Attributes:
        name: For messages.
        vocabulary: Rows of the embedding matrix, V.
        width: Hidden size, D.
        layers: Transformer layers, L.
        feed_forward: Width of the feed-forward layers, F.
        heads: Query heads, H.
        key_value_heads: Key and value heads.
        is_tied: Whether the output projection is the embedding matrix.
        given_parameters: The number of weights where it is known and the rest is an estimate.
    """

    name: str
    vocabulary: int
    width: int
    layers: int
    feed_forward: int
    heads: int
    key_value_heads: int
    is_tied: bool
    given_parameters: int | None = None

    @property
    def key_value_width(self) -> int:
        """Width of the keys, and of the values."""
        return self.width // self.heads * self.key_value_heads

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers in the blocks: what low bits and adapters apply to."""
        width = self.width
        attention = 2 * width * width + 2 * width * self.key_value_width
        return self.layers * (attention + 3 * width * self.feed_forward)

    @property
    def projection_parameters(self) -> int:
        """Weights of the output projection."""
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All weights; tied embeddings count once."""
        if self.given_parameters is not None:
            return self.given_parameters
        embeddings = self.projection_parameters * (1 if self.is_tied else 2)
        biases = self.layers * (self.width + 2 * self.key_value_width)
        norms = self.layers * 2 * self.width + self.width
        return embeddings + self.linear_parameters + biases + norms

    @property
    def other_parameters(self) -> int:
        """Everything but the linear layers in the blocks."""
        return self.parameters - self.linear_parameters

    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the linear layers of one block, by name."""
        width, inner, keys = self.width, self.feed_forward, self.key_value_width
        return {
            "q_proj": (width, width),
            "k_proj": (width, keys),
            "v_proj": (width, keys),
            "o_proj": (width, width),
            "gate_proj": (width, inner),
            "up_proj": (width, inner),
            "down_proj": (inner, width),
        }

    def adapter_parameters(self, rank: int, targets: Collection[str]) -> int:
        """Weights of low-rank adapters of this rank on these layers of every block."""
        layers = self.linear_layers()
        return self.layers * rank * sum(sum(layers[name]) for name in targets)

    def adapter_inputs(self, targets: Collection[str]) -> int:
        """Numbers per token and block that go into the adapters."""
        layers = self.linear_layers()
        return sum(layers[name][0] for name in targets)


def shape_of_section(section: TrainerConfig, *, vocabulary: int | None, key: str) -> ModelShape:
    """The shape of the model a section trains.

    Args:
        section: `teacher:` or `student:`.
        vocabulary: Of the corpus' tokenizer, for `architecture`; None takes Qwen's.
        key: Name of the section, for messages.

    Raises:
        ConfigError: If the sizes are not known here.
    """
    built = section.architecture
    if built is None:
        return shape_of_model(section.model_name, key=f"{key}.model_name")
    return ModelShape(
        f"{key}.architecture",
        vocabulary or QWEN_VOCABULARY,
        built.hidden_size,
        built.num_hidden_layers,
        built.intermediate_size,
        built.num_attention_heads,
        built.num_key_value_heads,
        built.tie_word_embeddings,
    )


def shape_of_model(name: str, *, key: str = "model") -> ModelShape:
    """The shape behind a folder in Hugging Face layout or a published name.

    Raises:
        ConfigError: If it is neither, or the folder's config.json lacks a size.
    """
    path = Path(name) / _CONFIG_FILE
    if path.is_file():
        return _from_config_file(path, name)
    size = find_model_size(name)
    if size is None:
        raise ConfigError(
            f"{key}={name} cannot be planned for: it is no model folder on this machine and its "
            f"sizes are not known; give a folder, or one of {known_names()}"
        )
    return ModelShape(
        size.name,
        size.vocab_size,
        size.hidden_size,
        size.num_hidden_layers,
        size.intermediate_size,
        size.num_attention_heads,
        size.num_key_value_heads,
        size.tie_word_embeddings,
    )


def shape_of_parameters(parameters: float) -> ModelShape:
    """A plausible shape for a number of weights: between the nearest Qwen2.5 models.

    Raises:
        ConfigError: If the number is no model's.
    """
    smallest, largest = 1e6, 2e12
    if not smallest <= parameters <= largest:
        raise ConfigError(
            f"a model of {parameters:g} parameters cannot be planned for; give a number such as "
            "7e9, from 1e6 to 2e12"
        )
    points = sorted(_FAMILY, key=lambda point: abs(math.log(point[0] / parameters)))
    known, width, layers = points[0]
    # Away from the family width and depth grow together: parameters go with the cube.
    factor = (parameters / known) ** (1 / 3)
    width = max(_HEAD_WIDTH, round(width * factor / _HEAD_WIDTH) * _HEAD_WIDTH)
    layers = max(1, round(layers * factor))
    heads = width // _HEAD_WIDTH
    return ModelShape(
        f"{parameters / 1e9:g}B",
        QWEN_VOCABULARY,
        width,
        layers,
        round(3.5 * width),
        heads,
        max(1, heads // 7),
        is_tied=False,
        given_parameters=int(parameters),
    )


def _from_config_file(path: Path, name: str) -> ModelShape:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return ModelShape(
            name,
            int(content["vocab_size"]),
            int(content["hidden_size"]),
            int(content["num_hidden_layers"]),
            int(content["intermediate_size"]),
            int(content["num_attention_heads"]),
            int(content.get("num_key_value_heads") or content["num_attention_heads"]),
            bool(content.get("tie_word_embeddings", False)),
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} does not give the sizes of a model: {error!r}") from error
