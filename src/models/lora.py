"""Low-rank adapters (Hu et al. 2021): small trained matrices beside frozen weights.

An adapted layer computes `x W + dropout(x) A B · alpha / r`. PaddleNLP's layers do it in memory; in
files an adapter is `adapter.safetensors` and `adapter.json`, whose content is what the `peft`
library calls `adapter_model.safetensors` and `adapter_config.json` (A `[r, in]`, B `[out, r]`).
They do not bear its names, because `transformers` takes a folder with those for an adapter even
where the merged model lies beside them. Merging is arithmetic on files: the base model's
weights plus `B A · alpha / r`, computed in float32 and rounded to the base's own type, so a
quantized or sharded model in memory never has to be put together again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddlenlp.peft import LoRAConfig, LoRAModel
from paddlenlp.utils.log import logger as paddlenlp_logger

from src.checkpoint.format import HostTensor
from src.errors import ModelError
from src.models.hub import ADAPTER_CONFIG_FILE, adapter_base, model_fingerprint, read_json
from src.models.layout import adapted_weight, from_float32, to_float32
from src.schema import LoraConfig

_A, _B = ".lora_A.weight", ".lora_B.weight"


def add_lora(model: nn.Layer, lora: LoraConfig, *, seed: int) -> None:
    """Puts adapters beside the target layers and freezes everything else; changes the model.

    A starts random, B at zero: the adapted model begins as the base model.

    Args:
        model: Its linear layers, quantized or not, are replaced in place.
        lora: Shape and targets.
        seed: Of the random matrices; equal on every rank.
    """
    paddle.seed(seed)
    settings = LoRAConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=[rf".*\.{target}" for target in lora.targets],
        tensor_parallel_degree=model.config.tensor_parallel_degree,
        dtype=str(model.qwen2.embed_tokens.weight.dtype).removeprefix("paddle."),
    )
    paddlenlp_logger.set_level("WARNING")  # it reports what was asked for, in colours
    LoRAModel(model, settings)


def adapter_document(lora: LoraConfig, *, base: str, base_fingerprint: str) -> str:
    """The text of adapter.json.

    Args:
        lora: Shape and targets.
        base: Folder or name of the model the adapter belongs to.
        base_fingerprint: See `src.models.hub.model_fingerprint`.
    """
    content = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": list(lora.targets),
        "bias": "none",
        "linguabridge": {"base_fingerprint": base_fingerprint},
    }
    return json.dumps(content, indent=2) + "\n"


def require_base(folder: Path) -> str:
    """The base model of an adapter folder, after checking that it is the one of its training.

    Returns:
        Its folder, or its name to download.

    Raises:
        ModelError: If it is missing, or another model lies in its place.
    """
    base = adapter_base(folder)
    try:
        found = model_fingerprint(base)
    except ModelError as error:
        raise ModelError(f"adapter {folder} needs its base model: {error}") from error
    facts = read_json(folder / ADAPTER_CONFIG_FILE).get("linguabridge")
    expected = facts.get("base_fingerprint") if isinstance(facts, dict) else None
    if expected is not None and expected != found:
        raise ModelError(
            f"adapter {folder} was trained on another model than {base} holds now "
            f"({found[:12]} instead of {expected[:12]}); put the original there"
        )
    return base


def adapter_scaling(folder: Path) -> float:
    """`alpha / r` of an adapter folder.

    Raises:
        ModelError: If its description does not say.
    """
    path = folder / ADAPTER_CONFIG_FILE
    match read_json(path):
        case {"r": int(r), "lora_alpha": int() | float() as alpha} if r > 0:
            return float(alpha) / r
        case content:
            raise ModelError(
                f"{path} needs a positive r and lora_alpha, it has r={content.get('r')!r} and "
                f"lora_alpha={content.get('lora_alpha')!r}"
            )


def merge_adapter(
    base: Mapping[str, HostTensor], adapter: Mapping[str, HostTensor], *, scaling: float
) -> dict[str, HostTensor]:
    """The weights of a plain model that computes what base and adapter compute together.

    Args:
        base: Weights in files' names and layout.
        adapter: Pairs A `[r, in]` and B `[out, r]`.
        scaling: alpha / r.

    Returns:
        All of `base`, the adapted weights new and in their old types.

    Raises:
        ModelError: If a matrix lacks its partner or the weight it changes, or does not fit it.
    """
    merged = dict(base)
    for name in adapter:
        stem = name.removesuffix(_A).removesuffix(_B)
        partner = stem + (_B if name.endswith(_A) else _A)
        target = adapted_weight(name)
        if partner not in adapter or target not in base:
            raise ModelError(
                f"the adapter's {name} has no {partner} or no weight {target} to adapt"
            )
        if name.endswith(_A):
            merged[target] = _adapted(
                target, base[target], adapter[name], adapter[partner], scaling
            )
    return merged


def _adapted(
    name: str, weight: HostTensor, first: HostTensor, second: HostTensor, scaling: float
) -> HostTensor:
    lower, upper = (_float32(tensor) for tensor in (first, second))
    if weight.shape != (upper.shape[0], lower.shape[1]) or upper.shape[1] != lower.shape[0]:
        raise ModelError(
            f"the adapter's matrices of {name} have shapes {list(lower.shape)} and "
            f"{list(upper.shape)}, its weight has {list(weight.shape)}: they do not fit"
        )
    return from_float32(_float32(weight) + scaling * (upper @ lower), weight.dtype)


def _float32(tensor: HostTensor) -> Any:
    return to_float32(tensor).astype("float32", copy=False)
