"""What a model needs in memory, and what there is."""

from __future__ import annotations

from pathlib import Path

import paddle

from src.checkpoint.format import read_tensors
from src.errors import ModelError
from src.host_memory import free_memory_bytes
from src.models.factory import FloatType
from src.models.hub import weight_files
from src.units import format_bytes

_BYTES: dict[FloatType, int] = {"float32": 4, "float16": 2, "bfloat16": 2}


def require_room(folder: Path, *, dtype: FloatType, advice: str) -> None:
    """Refuses a model whose weights alone do not fit in the memory that is free.

    Args:
        folder: Of the model.
        dtype: Type of the weights in memory.
        advice: What to do instead.

    Raises:
        ModelError: With both sizes.
    """
    needed = _BYTES[dtype] * sum(
        tensor.data.size for path in weight_files(folder) for tensor in read_tensors(path).values()
    )
    free = free_bytes()
    if needed > free:
        raise ModelError(
            f"the weights of {folder} take {format_bytes(needed)} as {dtype} and "
            f"{format_bytes(free)} of memory are free; {advice}"
        )


def free_bytes() -> int:
    """Memory this process can still get: of the GPU where Paddle computes on one."""
    if paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0:
        total = paddle.device.cuda.get_device_properties().total_memory
        return int(total - paddle.device.cuda.memory_reserved())
    return free_memory_bytes()
