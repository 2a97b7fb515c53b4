"""Frozen weights in 8 or 4 bits (QLoRA, Dettmers et al. 2023), with PaddleNLP's own layers.

The linear layers of the transformer blocks are replaced one after another, so that at no time more
than one of them exists twice; embeddings, norms and the output projection stay as they are. int8
keeps one scale per output column; nf4 keeps 16 levels spaced for normally distributed weights and
one scale per block of 64. Both kernels are CUDA: nothing here runs on a CPU.
"""

from __future__ import annotations

from typing import Any, Literal

import paddle
from paddle import Tensor, nn
from paddlenlp.peft.lora import lora_model
from paddlenlp.quantization.quantization_config import QuantizationConfig
from paddlenlp.quantization.quantization_linear import QuantizationLinear
from paddlenlp.quantization.quantization_utils import convert_to_quantize_state_dict

from src.errors import ConfigError
from src.schema import TrainerConfig

_ALGORITHMS = {"int8": "weight_only_int8", "nf4": "nf4"}
# What paddle.nn.quant.weight_quantize accepts.
_INT8_CAPABILITIES = (70, 75, 80, 86, 89, 90, 92, 100)


def require_quantization(section: TrainerConfig, *, name: str) -> None:
    """Refuses low-bit weights where this machine cannot have them.

    Args:
        section: The section that is trained.
        name: Of the section, for the message.

    Raises:
        ConfigError: With the reason.
    """
    if section.quantization == "none":
        return
    capability = None
    if paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0:
        major, minor = paddle.device.cuda.get_device_capability()
        capability = 10 * major + minor
    problem = why_unavailable(
        section.quantization,
        capability=capability,
        has_layers=lora_model.QuantizationLoRALinear is not None,
    )
    if problem:
        raise ConfigError(
            f"{name}.quantization={section.quantization} {problem}; or set {name}.quantization=none"
        )


def why_unavailable(kind: str, *, capability: int | None, has_layers: bool) -> str | None:
    """What a device lacks for low-bit weights, completing "quantization=… "; None if nothing.

    Args:
        kind: "int8" or "nf4".
        capability: 10 · major + minor of the GPU; None without one.
        has_layers: Whether PaddleNLP could import its low-bit layers for adapters.
    """
    if capability is None:
        return (
            "needs a GPU: Paddle's kernels for low-bit weights exist for CUDA only and this "
            "machine has no GPU that Paddle can use; train on one"
        )
    if kind == "int8" and capability not in _INT8_CAPABILITIES:
        return (
            f"needs a GPU of compute capability {', '.join(map(str, _INT8_CAPABILITIES))}, this "
            f"one has {capability}; train on another"
        )
    if not has_layers:
        return (
            "needs the packages paddleslim and paddleslim_ops, without which PaddleNLP has no "
            "low-bit layers for adapters; install them from PaddleSlim's source "
            "(csrc/setup_cuda.py)"
        )
    return None


def quantize_base(model: nn.Layer, kind: Literal["int8", "nf4"]) -> None:
    """Replaces the linear layers of the transformer blocks by low-bit ones, in place.

    Args:
        model: With float16 or bfloat16 weights on a GPU.
        kind: Of the weights.
    """
    settings = QuantizationConfig(weight_quantize_algo=_ALGORITHMS[kind])
    for block in model.qwen2.layers:
        for parent in (block.self_attn, block.mlp):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(parent, name, _quantized(child, settings))
    paddle.device.cuda.empty_cache()


def _quantized(linear: nn.Linear, settings: Any) -> nn.Layer:
    """The low-bit layer of one linear layer, whose weight stands `[in, out]`."""
    inputs, outputs = linear.weight.shape
    bias = getattr(linear, "bias", None)
    dtype = str(linear.weight.dtype).removeprefix("paddle.")
    layer: nn.Layer = QuantizationLinear(
        inputs,
        outputs,
        settings.weight_quantize_algo,
        dtype,
        bias_attr=False if bias is None else None,
        block_size=settings.weight_blocksize,
        double_quant_block_size=settings.weight_double_quant_block_size,
        double_quant=settings.weight_double_quant,
    )
    state: dict[str, Tensor] = convert_to_quantize_state_dict(
        {"linear.weight": linear.weight}, ["linear"], settings, dtype
    )
    for name, value in state.items():
        getattr(layer, name.removeprefix("linear.")).set_value(value)
    if bias is not None:
        layer.bias.set_value(bias)
    return layer
