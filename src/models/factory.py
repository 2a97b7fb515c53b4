"""Building and reading Qwen2 models, and the few things the rest of the house does with them.

The layers are PaddleNLP's; this room alone imports it, so that a move to its successor costs one
folder. How weights stand in files is `src.models.layout`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import paddle
from paddle import Tensor, nn
from paddlenlp.transformers import Qwen2Config, Qwen2ForCausalLM

from src.checkpoint.format import HostTensor
from src.environment import keep_freed_memory
from src.errors import ModelError
from src.models.borders import Borders, border_arguments
from src.models.description import cut_config, model_settings
from src.models.hub import (
    ADAPTER_FILE,
    CONFIG_FILE,
    find_model_folder,
    is_adapter,
    weight_files,
)
from src.models.layout import host_arrays, named_weights, read_weights, set_tensors
from src.models.lora import adapter_scaling, add_lora, merge_adapter, require_base
from src.models.norm import RMSNorm
from src.models.quantize import quantize_base
from src.models.split import find_split, split_settings
from src.models.split_on_cpu import adapt_to_cpu
from src.schema import ArchitectureConfig, TrainerConfig
from src.schema.model_sizes import find_model_size, known_names
from src.units import format_bytes, format_count

logger = logging.getLogger(__name__)

FloatType: TypeAlias = Literal["float32", "float16", "bfloat16"]
Model: TypeAlias = Qwen2ForCausalLM
"""The model type that the rest of the house handles; only this room knows what it is."""


_ROTARY_POSITIONS = 4096


def build_model(
    architecture: ArchitectureConfig, *, vocab_size: int, seed: int, tensor_parallel: int = 1
) -> Model:
    """A new model with random weights; the same seed gives the same weights on every rank.

    Args:
        architecture: Sizes.
        vocab_size: Rows of the embedding matrix: highest token id + 1.
        seed: Seed of the initial weights.
        tensor_parallel: Devices that the model is cut over; it has the weights of one that is not.
    """
    settings = dict(
        vocab_size=vocab_size,
        max_position_embeddings=_ROTARY_POSITIONS,
        bos_token_id=None,
        eos_token_id=None,  # the tokenizer knows; see the published config.json
        **architecture.model_dump(),
    )
    config = cut_config(settings, tensor_parallel)
    paddle.seed(seed)
    model = _finish(Qwen2ForCausalLM(Qwen2Config(**settings)))
    if tensor_parallel == 1:
        return model
    part = Qwen2ForCausalLM(config)
    set_weights(part, weight_arrays(model), source="the new model")
    return _finish(part)


def load_model(name: str, *, dtype: FloatType = "float32", tensor_parallel: int = 1) -> Model:
    """Reads a model folder in Hugging Face layout, or downloads a PaddleNLP name.

    Args:
        name: Folder, or a name such as "Qwen/Qwen2.5-0.5B".
        dtype: Type of the weights in memory, e.g. "float32" or "bfloat16".
        tensor_parallel: Devices that the model is cut over.

    Raises:
        ModelError: If files are missing, are not a Qwen2 model or do not fit its configuration,
            or the download fails.
    """
    folder = find_model_folder(name)
    if folder is None:
        return _finish(_download(name, dtype, **split_settings(tensor_parallel)))
    config = cut_config(model_settings(folder / CONFIG_FILE), tensor_parallel)
    previous = paddle.get_default_dtype()
    paddle.set_default_dtype(dtype)
    try:
        model = Qwen2ForCausalLM(config)
    finally:
        paddle.set_default_dtype(previous)
    set_weights(model, _folder_weights(folder), source=str(folder))
    return _finish(model)


def stored_weights(name: str) -> dict[str, HostTensor]:
    """The weights of a model in files' names, layout and types; adapters are merged.

    Args:
        name: As `load_model` takes it.

    Raises:
        ModelError, CheckpointCorrupt: As `load_model`.
    """
    folder = find_model_folder(name)
    return weight_arrays(_download(name, "bfloat16")) if folder is None else _folder_weights(folder)


def make_model(section: TrainerConfig, *, vocab_size: int) -> Model:
    """The model a training run starts from: `architecture` builds it, else `model_name` is read.

    With `lora` its weights are frozen, in low bits where `quantization` says so, and adapters are
    what is trained.

    Raises:
        ModelError: If the tokenizer has ids that the model's vocabulary lacks.
    """
    if section.architecture is not None:
        return build_model(
            section.architecture,
            vocab_size=vocab_size,
            seed=section.seed,
            tensor_parallel=section.tensor_parallel,
        )
    model = load_model(
        section.model_name, dtype=_loaded_dtype(section), tensor_parallel=section.tensor_parallel
    )
    require_vocabulary(model, vocab_size=vocab_size, name=section.model_name)
    if section.quantization != "none":
        quantize_base(model, section.quantization)
    if section.lora is not None:
        add_lora(model, section.lora, seed=section.seed)
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


def hidden_states(model: Model, input_ids: Tensor, borders: Borders | None = None) -> Tensor:
    """Last hidden states `[B, T, D]` for token ids `[B, T]`, causal, right padding unseen.

    Args:
        model: The model.
        input_ids: `[B, T]`.
        borders: Of the sequences in each row. None: a row is one sequence.
    """
    output = model.qwen2(
        input_ids, **border_arguments(model, borders), use_cache=False, return_dict=True
    )
    states: Tensor = output.last_hidden_state
    return states


def hidden_states_cached(
    model: Model,
    input_ids: Tensor,
    past: list[tuple[Tensor, Tensor]] | None,
    *,
    present: Tensor | None = None,
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Continues sequences with a key-value cache.

    Args:
        model: The model.
        input_ids: `[B, T]`, the new tokens; T may exceed 1 only without a past.
        past: What the previous call returned, or None at the start.
        present: `[B, positions so far + T]` bool, whether a position holds a token; the others are
            not seen and not counted. None: all do.

    Returns:
        Hidden states of the new tokens `[B, T, D]` and, per layer, keys and values
        `[B, positions so far, H, D / H]`.
    """
    batch, length = input_ids.shape
    seen = 0 if past is None else past[0][0].shape[1]
    # PaddleNLP counts positions from 0 on every call, also with a past: they must be given.
    if present is None:
        present = paddle.ones([batch, seen + length], dtype="bool")
        positions = paddle.arange(seen, seen + length, dtype="int64").expand([batch, length])
    else:
        counts = present.astype("int64").cumsum(axis=1)[:, seen:]
        positions = paddle.clip(counts - 1, min=0)
    output = model.qwen2(
        input_ids,
        position_ids=positions,
        attention_mask=present,
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


def decoder_layers(model: Model) -> tuple[nn.Layer, list[nn.Layer]]:
    """The model up to its last hidden states, and the layers that run within it, in order."""
    return model.qwen2, list(model.qwen2.layers)


def logits(model: Model, hidden: Tensor) -> Tensor:
    """Logits `[..., V]` of hidden states `[..., D]`."""
    weight, is_rows = output_projection(model)
    scores: Tensor = paddle.matmul(hidden, weight, transpose_y=is_rows)
    return scores


def trainable_parameters(model: Model) -> dict[str, Tensor]:
    """Name in files → parameter, in name order, each shared parameter once."""
    named = named_weights(model)
    return {name: value for name, value in named.items() if not value.stop_gradient}


def weight_arrays(model: Model) -> dict[str, HostTensor]:
    """A copy of all weights in host memory, in Hugging Face names and layout."""
    return host_arrays(named_weights(model))


def set_weights(model: Model, weights: Mapping[str, HostTensor], *, source: str) -> None:
    """Copies weights in Hugging Face names and layout into the model.

    Raises:
        ModelError: If a name is missing or unknown, or a shape differs.
    """
    ignored = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    split = find_split(model)
    part = None if split is None else split.part
    set_tensors(named_weights(model), weights, source=source, ignored=ignored, part=part)


def _folder_weights(folder: Path) -> dict[str, HostTensor]:
    if not is_adapter(folder):
        return read_weights(weight_files(folder))
    return merge_adapter(
        stored_weights(require_base(folder)),
        read_weights([folder / ADAPTER_FILE]),
        scaling=adapter_scaling(folder),
    )


def _loaded_dtype(section: TrainerConfig) -> FloatType:
    """Frozen weights are held in the low precision from the start; trained ones are cast later."""
    if section.lora is None or section.fp16_opt_level != "O2":
        return "float32"
    return "float16" if section.fp16 else "bfloat16" if section.bf16 else "float32"


def _finish(model: Model) -> Model:
    """Makes a model fast on a CPU, among others by layers that have the same names and values."""
    adapt_to_cpu(model)
    if paddle.device.is_compiled_with_cuda():
        return model
    keep_freed_memory()
    for layer in model.qwen2.layers:
        for name in ("input_layernorm", "post_attention_layernorm"):
            slow = getattr(layer, name)
            setattr(layer, name, RMSNorm(slow.weight, slow.variance_epsilon))
    model.qwen2.norm = RMSNorm(model.qwen2.norm.weight, model.qwen2.norm.variance_epsilon)
    return model


def _download(name: str, dtype: FloatType, **split: int) -> Model:
    try:
        return Qwen2ForCausalLM.from_pretrained(name, dtype=dtype, convert_from_torch=True, **split)
    except Exception as error:  # PaddleNLP raises whatever its download client raises
        reason = str(error).splitlines()[0] if str(error) else "no text"
        raise ModelError(
            f"model {name} {_size_in_words(name)} is not a local folder and could not be "
            f"downloaded ({type(error).__name__}: {reason}); download it elsewhere and give the "
            "folder"
        ) from error


def _size_in_words(name: str) -> str:
    size = find_model_size(name)
    if size is None:
        return f"(none of the known {known_names()})"
    weights = format_bytes(2 * size.parameters)
    return f"({format_count(size.parameters)} parameters, {weights} in bfloat16)"
