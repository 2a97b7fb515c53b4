"""Building and reading Qwen2 models, and the few things the rest of the house does with them.

The layers are PaddleNLP's; this room alone imports it, so that a move to its successor costs one
folder. Weights are read and written in the Hugging Face (torch) layout: linear weights stand
`[out, in]` in files and `[in, out]` in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor
from paddlenlp.transformers import Qwen2Config, Qwen2ForCausalLM

from src.checkpoint.format import HostTensor, read_tensors
from src.errors import ModelError
from src.models.hub import CONFIG_FILE, find_model_folder, read_json, weight_files
from src.models.norm import RMSNorm
from src.schema import ArchitectureConfig, TrainerConfig

logger = logging.getLogger(__name__)

FloatType: TypeAlias = Literal["float32", "float16", "bfloat16"]
Model: TypeAlias = Qwen2ForCausalLM
"""The model type that the rest of the house handles; only this room knows what it is."""

_ROTARY_POSITIONS = 4096
_FILE_PREFIX = "model."
_MEMORY_PREFIX = "qwen2."
_PUBLISHED_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "rope_theta",
    "tie_word_embeddings",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
)


def build_model(architecture: ArchitectureConfig, *, vocab_size: int, seed: int) -> Model:
    """A new model with random weights; the same seed gives the same weights on every rank.

    Args:
        architecture: Sizes.
        vocab_size: Rows of the embedding matrix: highest token id + 1.
        seed: Seed of the initial weights.
    """
    paddle.seed(seed)
    config = Qwen2Config(
        vocab_size=vocab_size,
        max_position_embeddings=_ROTARY_POSITIONS,
        **architecture.model_dump(),
    )
    return _finish(Qwen2ForCausalLM(config))


def load_model(name: str, *, dtype: FloatType = "float32") -> Model:
    """Reads a model folder in Hugging Face layout, or downloads a PaddleNLP name.

    Args:
        name: Folder, or a name such as "Qwen/Qwen2.5-0.5B".
        dtype: Type of the weights in memory, e.g. "float32" or "bfloat16".

    Raises:
        ModelError: If files are missing, are not a Qwen2 model or do not fit its configuration,
            or the download fails.
    """
    folder = find_model_folder(name)
    if folder is None:
        return _finish(_download(name, dtype))
    settings = read_json(folder / CONFIG_FILE)
    if settings.get("model_type") != "qwen2":
        raise ModelError(
            f"{folder / CONFIG_FILE} says model_type={settings.get('model_type')!r}; "
            "only qwen2 models are supported"
        )
    previous = paddle.get_default_dtype()
    paddle.set_default_dtype(dtype)
    try:
        model = Qwen2ForCausalLM(Qwen2Config(**_known_settings(settings)))
    finally:
        paddle.set_default_dtype(previous)
    weights: dict[str, HostTensor] = {}
    for path in weight_files(folder):
        weights.update(read_tensors(path))
    set_weights(model, weights, source=str(folder))
    return _finish(model)


def make_model(section: TrainerConfig, *, vocab_size: int) -> Model:
    """The model a training run starts from: `architecture` builds it, else `model_name` is read.

    Raises:
        ModelError: If the tokenizer has ids that the model's vocabulary lacks.
    """
    if section.architecture is not None:
        return build_model(section.architecture, vocab_size=vocab_size, seed=section.seed)
    model = load_model(section.model_name)
    require_vocabulary(model, vocab_size=vocab_size, name=section.model_name)
    return model


def require_vocabulary(model: Model, *, vocab_size: int, name: str) -> None:
    """Refuses a model whose vocabulary is smaller than the tokenizer's.

    Raises:
        ModelError: With both sizes.
    """
    rows = model.config.vocab_size
    if rows < vocab_size:
        raise ModelError(
            f"the tokenizer has {vocab_size} ids but model {name} has {rows} vocabulary rows; "
            "use the tokenizer that belongs to the model"
        )


def hidden_states(model: Model, input_ids: Tensor) -> Tensor:
    """Last hidden states `[B, T, D]` for token ids `[B, T]`, causal, right padding unseen."""
    output = model.qwen2(input_ids, use_cache=False, return_dict=True)
    states: Tensor = output.last_hidden_state
    return states


def hidden_states_cached(
    model: Model, input_ids: Tensor, past: list[tuple[Tensor, Tensor]] | None
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Continues sequences of equal length with a key-value cache.

    Args:
        model: The model.
        input_ids: `[B, T]`, the new tokens; T may exceed 1 only without a past.
        past: What the previous call returned, or None at the start.

    Returns:
        Hidden states of the new tokens `[B, T, D]` and, per layer, keys and values
        `[B, positions so far, H, D / H]`.
    """
    batch, length = input_ids.shape
    seen = 0 if past is None else past[0][0].shape[1]
    # PaddleNLP counts positions from 0 on every call, also with a past: they must be given.
    positions = paddle.arange(seen, seen + length, dtype="int64").expand([batch, length])
    output = model.qwen2(
        input_ids,
        position_ids=positions,
        attention_mask=paddle.ones([batch, seen + length], dtype="bool"),
        past_key_values=past,
        use_cache=True,
        return_dict=True,
    )
    return output.last_hidden_state, list(output.past_key_values)


def output_projection(model: Model) -> tuple[Tensor, bool]:
    """The matrix that turns hidden states into logits.

    Returns:
        The weight, and whether it stands `[V, D]` (tied embeddings) rather than `[D, V]`.
    """
    if model.config.tie_word_embeddings:
        return model.qwen2.embed_tokens.weight, True
    return model.lm_head.weight, bool(model.lm_head.transpose_y)


def logits(model: Model, hidden: Tensor) -> Tensor:
    """Logits `[..., V]` of hidden states `[..., D]`."""
    weight, is_rows = output_projection(model)
    scores: Tensor = paddle.matmul(hidden, weight, transpose_y=is_rows)
    return scores


def trainable_parameters(model: Model) -> dict[str, Tensor]:
    """Name in files → parameter, in name order, each shared parameter once."""
    named = {_file_name(name): parameter for name, parameter in model.named_parameters()}
    return {name: named[name] for name in sorted(named) if not named[name].stop_gradient}


def weight_arrays(model: Model) -> dict[str, HostTensor]:
    """A copy of all weights in host memory, in Hugging Face names and layout."""
    arrays = {}
    for name, parameter in model.named_parameters():
        array = parameter.numpy()
        array = array.T if _is_transposed(name, array) else array
        dtype = "BF16" if parameter.dtype == paddle.bfloat16 else None
        arrays[_file_name(name)] = HostTensor.from_numpy(np.ascontiguousarray(array), dtype=dtype)
    return dict(sorted(arrays.items()))


def set_weights(model: Model, weights: Mapping[str, HostTensor], *, source: str) -> None:
    """Copies weights in Hugging Face names and layout into the model.

    Raises:
        ModelError: If a name is missing or unknown, or a shape differs.
    """
    parameters = {_file_name(name): (name, value) for name, value in model.named_parameters()}
    ignored = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    missing = sorted(set(parameters) - set(weights))
    unknown = sorted(set(weights) - set(parameters) - ignored)
    if missing or unknown:
        raise ModelError(
            f"weights in {source} do not fit the model: "
            f"missing {missing[:3] or 'none'}, unknown {unknown[:3] or 'none'}"
        )
    for name, (memory_name, parameter) in parameters.items():
        tensor = weights[name]
        array = tensor.data.reshape(tensor.shape)
        array = array.T if _is_transposed(memory_name, array) else array
        if list(array.shape) != list(parameter.shape):
            raise ModelError(
                f"{name} in {source} has shape {list(tensor.shape)}, "
                f"the model needs {list(parameter.shape)} (in memory order)"
            )
        parameter.set_value(_to_device(array, tensor.dtype, parameter))


def published_config(model: Model) -> dict[str, object]:
    """The content of `config.json`, as `transformers` and PaddleNLP read it."""
    values = {key: getattr(model.config, key) for key in _PUBLISHED_KEYS}
    return {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **values}


def _known_settings(settings: Mapping[str, object]) -> dict[str, object]:
    return {key: settings[key] for key in _PUBLISHED_KEYS if key in settings}


def _finish(model: Model) -> Model:
    """On CPU, replaces the normalisation layers by the fast ones (same parameters and names)."""
    if paddle.device.is_compiled_with_cuda():
        return model
    for layer in model.qwen2.layers:
        for name in ("input_layernorm", "post_attention_layernorm"):
            slow = getattr(layer, name)
            setattr(layer, name, RMSNorm(slow.weight, slow.variance_epsilon))
    model.qwen2.norm = RMSNorm(model.qwen2.norm.weight, model.qwen2.norm.variance_epsilon)
    return model


def _download(name: str, dtype: FloatType) -> Model:
    try:
        return Qwen2ForCausalLM.from_pretrained(name, dtype=dtype, convert_from_torch=True)
    except Exception as error:  # PaddleNLP raises whatever its download client raises
        raise ModelError(
            f"model {name} is not a local folder and could not be downloaded "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}); "
            "download it elsewhere and give the folder"
        ) from error


def _to_device(array: NDArray[Any], dtype: str, parameter: Tensor) -> Tensor:
    if dtype == "BF16":
        # bfloat16 is the upper half of float32: widening is exact.
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return paddle.to_tensor(np.ascontiguousarray(array)).astype(parameter.dtype)


def _is_transposed(memory_name: str, array: NDArray[Any]) -> bool:
    return array.ndim > 1 and "embed_tokens" not in memory_name


def _file_name(memory_name: str) -> str:
    if memory_name.startswith(_MEMORY_PREFIX):
        return _FILE_PREFIX + memory_name.removeprefix(_MEMORY_PREFIX)
    return memory_name
