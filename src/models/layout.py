"""Weights between Paddle's memory and safetensors files in Hugging Face (torch) layout.

In files linear weights stand `[out, in]`, in memory `[in, out]`; names differ by a prefix. An
adapter's matrices are named and laid out as the `peft` library does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn

from src.checkpoint.format import HostTensor, read_tensors
from src.errors import ModelError

TakePart: TypeAlias = Callable[[str, NDArray[Any]], NDArray[Any]]
"""Given a name in files and a whole array in memory layout, the part that this device holds."""

_FILE_PREFIX = "model."
_MEMORY_PREFIX = "qwen2."
_ADAPTER_PREFIX = "base_model.model."
_ADAPTER_MATRICES = (".lora_A", ".lora_B")


def named_weights(model: nn.Layer) -> dict[str, Tensor]:
    """Name in files → parameter, in name order, each shared parameter once."""
    named = {_file_name(name): parameter for name, parameter in model.named_parameters()}
    return {name: named[name] for name in sorted(named)}


def host_arrays(tensors: Mapping[str, Tensor]) -> dict[str, HostTensor]:
    """A copy of the tensors in host memory, laid out as in files, in name order.

    Args:
        tensors: Name in files → tensor as it stands in memory.
    """
    arrays = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        array = file_layout(name, tensor.numpy())
        dtype = "BF16" if tensor.dtype == paddle.bfloat16 else None
        arrays[name] = HostTensor.from_numpy(np.ascontiguousarray(array), dtype=dtype)
    return arrays


def set_tensors(
    tensors: Mapping[str, Tensor],
    arrays: Mapping[str, HostTensor],
    *,
    source: str,
    ignored: Collection[str] = (),
    part: TakePart | None = None,
) -> None:
    """Copies arrays into the tensors of the same names.

    Args:
        tensors: Name in files → tensor in memory; changed in place.
        arrays: What a file holds.
        source: Where they come from, for messages.
        ignored: Names that a file may hold and the model does not need.
        part: Takes this device's part of a whole array in memory layout. None: it holds whole ones.

    Raises:
        ModelError: If a name is missing or unknown, or a shape differs.
    """
    missing = sorted(set(tensors) - set(arrays))
    unknown = sorted(set(arrays) - set(tensors) - set(ignored))
    if missing or unknown:
        raise ModelError(
            f"weights in {source} do not fit the model: "
            f"missing {missing[:3] or 'none'}, unknown {unknown[:3] or 'none'}"
        )
    for name, tensor in tensors.items():
        array = file_layout(name, arrays[name].data)
        if part is not None:
            array = part(name, array)
        if list(array.shape) != list(tensor.shape):
            needed = list(reversed(tensor.shape)) if _is_transposed(name) else list(tensor.shape)
            raise ModelError(
                f"{name} in {source} has shape {list(arrays[name].shape)}, the model needs {needed}"
            )
        values = np.ascontiguousarray(to_float32(arrays[name], array))
        tensor.set_value(paddle.to_tensor(values).astype(tensor.dtype))


def read_weights(files: Collection[Path]) -> dict[str, HostTensor]:
    """All tensors of several safetensors files, mapped into memory.

    Raises:
        CheckpointCorrupt: If a file is damaged.
    """
    weights: dict[str, HostTensor] = {}
    for path in files:
        weights.update(read_tensors(path))
    return weights


def to_float32(tensor: HostTensor, array: NDArray[Any] | None = None) -> NDArray[Any]:
    """The numbers of a tensor, bfloat16 widened to float32; other types are left as they are.

    Args:
        tensor: Gives the type.
        array: Its data in another layout.
    """
    values = tensor.data if array is None else array
    if tensor.dtype == "BF16":
        # bfloat16 is the upper half of float32: widening is exact.
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def from_float32(array: NDArray[np.float32], dtype: str) -> HostTensor:
    """A tensor of the safetensors type `dtype`; bfloat16 is rounded to nearest, ties to even."""
    if dtype == "BF16":
        bits = array.view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
        return HostTensor.from_numpy(rounded.astype(np.uint16), dtype="BF16")
    storage = {"F16": np.float16, "F32": np.float32}[dtype]
    return HostTensor.from_numpy(array.astype(storage))


def adapted_weight(adapter_name: str) -> str:
    """The weight in files that an adapter matrix changes.

    `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` →
    `model.layers.0.self_attn.q_proj.weight`
    """
    name = adapter_name.removeprefix(_ADAPTER_PREFIX).removesuffix(".weight")
    return name.rpartition(".")[0] + ".weight"


def file_layout(file_name: str, array: NDArray[Any]) -> NDArray[Any]:
    """An array from memory as it stands in files, or the other way round; never a copy."""
    return array.T if array.ndim > 1 and _is_transposed(file_name) else array


def _file_name(memory_name: str) -> str:
    name = memory_name
    if name.startswith(_MEMORY_PREFIX):
        name = _FILE_PREFIX + name.removeprefix(_MEMORY_PREFIX)
    if name.endswith(_ADAPTER_MATRICES):
        name = f"{_ADAPTER_PREFIX}{name}.weight"
    return name


def _is_transposed(file_name: str) -> bool:
    """Whether a matrix stands the other way round in files than in memory."""
    return "embed_tokens" not in file_name
