"""The ids that teacher and student share.

Qwen2.5-7B has 152,064 rows of output projection, the 0.5B model 151,936; only the tokenizer's ids
mean something in both. Rows behind them get no probability on either side and no gradient.
"""

from __future__ import annotations

import paddle
from paddle import Tensor

from src.training.teacher_term import NOWHERE


def limit_columns(logits: Tensor, vocab_size: int) -> Tensor:
    """Takes all probability from columns of `[C, V]` behind the tokenizer's ids, in place."""
    if logits.shape[1] > vocab_size:
        logits[:, vocab_size:] = NOWHERE
    return logits


def with_columns(logits: Tensor, count: int) -> Tensor:
    """The same logits `[C, V]` cut off or widened to `count` columns."""
    missing = count - logits.shape[1]
    if missing > 0:
        return paddle.nn.functional.pad(logits, [0, 0, 0, missing])
    return logits if missing == 0 else logits[:, :count].contiguous()
