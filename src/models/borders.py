"""Rows that hold several sequences: what tells attention where one ends and the next begins.

A sequence attends to itself alone and counts its positions from 0, so it is computed as if it were
alone in its row. Everywhere that takes a mask `[B, T, T]`, which PaddleNLP adds to the scores. On a
GPU with bfloat16 or float16, FlashMask (Wang et al., arXiv 2410.01359) takes one number per
position instead and passes over blocks between which nothing is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor
from paddlenlp.transformers import Qwen2ForCausalLM

_AMPERE = 8


@dataclass(frozen=True)
class Borders:
    """Where the sequences of packed rows lie.

    Attributes:
        position_ids: Position within the own sequence `[B, T]`, int64.
        sequence_ends: Position in the row where the own sequence has ended `[B, T]`, int64. Padding
            is a sequence at every position.
    """

    position_ids: Tensor
    sequence_ends: Tensor

    def mask(self) -> Tensor:
        """Whether position i sees position j: bool `[B, T, T]`, rows i, columns j."""
        places = paddle.arange(self.sequence_ends.shape[1])
        is_past = places.unsqueeze(0) <= places.unsqueeze(1)  # [T, T]
        is_running = places.reshape([1, -1, 1]) < self.sequence_ends.unsqueeze(1)  # [B, T, T]
        return is_past.logical_and(is_running)


def border_arguments(model: Qwen2ForCausalLM, borders: Borders | None) -> dict[str, Any]:
    """What PaddleNLP's Qwen2 is given for packed rows; nothing for rows of one sequence."""
    if borders is None:
        return {}
    given: dict[str, Any] = {"position_ids": borders.position_ids}
    if model.config.use_flash_attention:
        ends = borders.sequence_ends.astype("int32")
        return {**given, "attn_mask_startend_row_indices": ends}
    return {**given, "attention_mask": borders.mask()}


def prepare_for_borders(model: Qwen2ForCausalLM, *, is_low_precision: bool) -> None:
    """Makes a model that will compute packed rows use FlashMask, where the device has it.

    Args:
        model: The model; has the same results afterwards, within its precision.
        is_low_precision: Whether it computes in bfloat16 or float16.
    """
    if not is_low_precision or not paddle.device.is_compiled_with_cuda():
        return
    major, _ = paddle.device.cuda.get_device_capability()
    model.config.use_flash_attention = major >= _AMPERE
