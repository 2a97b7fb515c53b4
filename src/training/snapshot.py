"""Copies of tensors in host memory, into the same memory at every save.

Fresh memory is slow to touch (see `HostBuffers`), and on a CPU the tensors can be read where they
lie, so a snapshot is one copy and nothing else. It is valid until the next one is taken: whoever
takes it waits for the save in flight first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from src.checkpoint.format import HostBuffers, HostTensor
from src.models.layout import file_layout


class Snapshot:
    """The host memory of one run's saves."""

    def __init__(self) -> None:
        self._buffers = HostBuffers()

    def take(
        self, *, weights: Mapping[str, Mapping[str, Tensor]], others: Mapping[str, Tensor]
    ) -> tuple[dict[str, dict[str, HostTensor]], dict[str, HostTensor]]:
        """Copies tensors over those of the snapshot before.

        Args:
            weights: File name → name in files → parameter; laid out as in files.
            others: Name → tensor; laid out as in memory.

        Returns:
            The copies of both, valid until the next call.
        """
        tensors = {
            (file, name): value for file, group in weights.items() for name, value in group.items()
        }
        views = {
            f"{file}/{name}": file_layout(name, _view(value))
            for (file, name), value in tensors.items()
        }
        views |= {f"/{name}": _view(value) for name, value in others.items()}
        copies = self._buffers.copy_all(views)
        files: dict[str, dict[str, HostTensor]] = {file: {} for file in weights}
        for (file, name), value in sorted(tensors.items(), key=lambda item: item[0]):
            files[file][name] = _host_tensor(copies[f"{file}/{name}"], value)
        rest = {name: _host_tensor(copies[f"/{name}"], value) for name, value in others.items()}
        return files, rest


def _view(tensor: Tensor) -> NDArray[Any]:
    """The tensor's own memory on a CPU; a copy from a GPU, or where NumPy lacks the type."""
    if tensor.place.is_cpu_place() and tensor.dtype != paddle.bfloat16:
        view: NDArray[Any] = np.from_dlpack(tensor.detach())
        return view
    copy: NDArray[Any] = tensor.numpy()
    return copy


def _host_tensor(array: NDArray[Any], tensor: Tensor) -> HostTensor:
    return HostTensor.from_numpy(array, dtype="BF16" if tensor.dtype == paddle.bfloat16 else None)
