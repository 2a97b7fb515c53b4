"""What a model is, in config.json and for PaddleNLP: its sizes, and what of them is supported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paddlenlp.transformers import Qwen2Config, Qwen2ForCausalLM

from src.errors import ModelError
from src.models.hub import read_json
from src.models.split import require_divisible, split_settings

_DEFAULT_ROTARY_BASE = 10_000.0
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


def published_config(model: Qwen2ForCausalLM) -> dict[str, object]:
    """The content of `config.json`, as `transformers` and PaddleNLP read it."""
    values = {key: getattr(model.config, key) for key in _PUBLISHED_KEYS}
    return {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **values}


def model_settings(path: Path) -> dict[str, Any]:
    """What PaddleNLP needs of a model's config.json, old and new spelling.

    Raises:
        ModelError: If it describes something that PaddleNLP's Qwen2 would compute otherwise.
    """
    settings = read_json(path)
    if settings.get("model_type") != "qwen2":
        raise ModelError(
            f"{path} says model_type={settings.get('model_type')!r}; "
            "only qwen2 models are supported"
        )
    # transformers 5 keeps the rotary base inside rope_parameters, older versions beside it.
    rotary = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    kind = rotary.get("rope_type", rotary.get("type", "default"))
    if kind != "default":
        raise ModelError(
            f"{path} scales its positions (rope_type={kind!r}); only unscaled rotary positions "
            "are supported, use the model as it was published"
        )
    if settings.get("use_sliding_window"):
        raise ModelError(
            f"{path} says use_sliding_window=true; only full attention is supported, use the "
            "model as it was published"
        )
    base = rotary.get("rope_theta", settings.get("rope_theta", _DEFAULT_ROTARY_BASE))
    known = {key: settings[key] for key in _PUBLISHED_KEYS if key in settings}
    return {**known, "rope_theta": base}


def cut_config(settings: dict[str, Any], tensor_parallel: int) -> Qwen2Config:
    """PaddleNLP's description of a model that is cut over devices; 1: that is whole."""
    require_divisible(Qwen2Config(**settings), tensor_parallel)
    return Qwen2Config(**settings, **split_settings(tensor_parallel))
