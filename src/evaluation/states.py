"""What a model has computed so far for a batch of prompts, and one more token at a time.

Prompts of different lengths stand together with their ends in line: shorter ones are filled up on
the left with positions that no attention sees and that positions do not count. So the next token
always follows the last column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor

from src.errors import ModelError
from src.evaluation.search import Search
from src.models.factory import Model, hidden_states_cached, logits

Cache = list[tuple[Tensor, Tensor]]
Ids = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_FILLER = 0  # any id: nothing looks at it


@dataclass(frozen=True)
class States:
    """Sequences `[B, positions so far]` as the model has read them.

    Attributes:
        model: That has read them.
        last: Hidden states of the last positions, `[B, D]`.
        cache: Keys and values of all positions, per layer.
        present: `[B, positions so far]` whether a position holds a token; None where all do.
    """

    model: Model
    last: Tensor
    cache: Cache
    present: Flags | None

    @classmethod
    def of(cls, model: Model, prompts: Sequence[Sequence[int]]) -> States:
        """Reads B prompts of any lengths."""
        lengths = np.array([len(prompt) for prompt in prompts])
        longest = int(lengths.max())
        ids = np.full([len(prompts), longest], _FILLER, dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = prompt
        present = None
        if (lengths < longest).any():
            present = np.arange(longest) >= (longest - lengths)[:, None]
        hidden, cache = hidden_states_cached(
            model, paddle.to_tensor(ids), None, present=_on_device(present)
        )
        return cls(model, hidden[:, -1], cache, present)

    def chosen(self, rows: Rows) -> States:
        """The sequences of these rows, in this order; a row may come several times."""
        on_device = paddle.to_tensor(rows)
        cache = [
            (paddle.index_select(keys, on_device), paddle.index_select(values, on_device))
            for keys, values in self.cache
        ]
        present = None if self.present is None else self.present[rows]
        if present is not None and present.all():
            present = None
        return States(self.model, paddle.index_select(self.last, on_device), cache, present)

    def extended(self, tokens: Tensor) -> States:
        """The sequences with one more token each, `[B]`."""
        present = self.present
        if present is not None:
            present = np.pad(present, ((0, 0), (0, 1)), constant_values=True)
        hidden, cache = hidden_states_cached(
            self.model, tokens.unsqueeze(1), self.cache, present=_on_device(present)
        )
        return States(self.model, hidden[:, -1], cache, present)

    def next_logits(self, search: Search) -> Tensor:
        """Float32 logits `[B, vocab_size]` of what comes next.

        Raises:
            ModelError: If they are not finite.
        """
        values = logits(self.model, self.last).astype("float32")
        # The mean is NaN or infinite if any logit is; the tokens are needed on the host anyway.
        if not paddle.isfinite(values.mean()).item():
            raise ModelError(
                "the model computes numbers that are not finite, so its weights are damaged or "
                "its training diverged; use an earlier checkpoint"
            )
        return values if values.shape[-1] == search.vocab_size else values[:, : search.vocab_size]


def _on_device(present: Flags | None) -> Tensor | None:
    return None if present is None else paddle.to_tensor(present)
