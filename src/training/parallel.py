"""Several processes as one trainer: data parallelism over Paddle's collectives.

Each rank sums the gradients of its micro-batches; one all-reduce adds them up. Because the loss is
already divided by the token count of the whole global batch, a sum is all that is needed, and the
result does not depend on how the batch was split.

Several machines are more ranks: `paddle.distributed.launch --nnodes 2 --master ADDRESS:PORT …` on
each gives every process its rank. Three things are asked of them. `output_dir` and the token cache
are on a disk that all see: rank 0 alone writes, and every rank reads the checkpoint it resumes
from. All start with the same configuration. And one machine's notice that it will be taken away
stops all ranks after the same step, because they agree on stopping.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import paddle
from paddle import Tensor, distributed
from paddle.base import core
from paddle.distributed.communication.group import Group

from src.errors import LinguaBridgeError
from src.models.split import join_groups
from src.units import format_seconds

PATIENCE_SECONDS = 2 * 3600.0
_LOOK_SECONDS = 0.05
_meetings = itertools.count()


@dataclass(frozen=True)
class Ranks:
    """This process among its peers.

    Attributes:
        rank: 0 to world_size - 1; rank 0 writes files and log lines.
        world_size: Number of processes, one per device.
        rank_on_machine: The same count within one machine.
        tensor_parallel: Neighbouring ranks that compute one forward pass together, a replica.
        peers: Group of the ranks that hold the same part of the model, one of each replica. None:
            all ranks.
    """

    rank: int
    world_size: int
    rank_on_machine: int = 0
    tensor_parallel: int = 1
    peers: Group | None = None

    @property
    def replica(self) -> int:
        """Which share of the data this rank computes, from 0; the rank without tensor parallel."""
        return self.rank // self.tensor_parallel

    @property
    def replicas(self) -> int:
        """Number of shares that data is split into."""
        return self.world_size // self.tensor_parallel

    @property
    def is_first_on_machine(self) -> bool:
        """Whether this rank watches what concerns its machine: one rank of each does."""
        return self.rank_on_machine == 0

    @property
    def is_main(self) -> bool:
        """Whether this rank writes what is shared."""
        return self.rank == 0

    def barrier(self, *, patience: float = PATIENCE_SECONDS) -> None:
        """Waits until every rank is here, as long as honest work may take.

        A collective gives up on a rank that comes half a minute (gloo) or half an hour (NCCL) after
        another. So ranks come here first wherever one of them may have been busy alone: with
        checking, downloading, merging or writing what is large. They count each other in the store
        through which they have found each other.

        Args:
            patience: Seconds after which the others are believed lost, as on a machine that was
                taken away; their own launcher tells of those that die on this one.

        Raises:
            LinguaBridgeError: If others do not come.
        """
        if self.world_size == 1:
            return
        _meet(self.world_size, patience)
        # The store is gone when the main rank leaves, so it must not before all have looked.
        distributed.barrier()

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all ranks; exact for the same number of ranks."""
        if self.world_size == 1:
            return list(values)
        tensor = paddle.to_tensor(np.asarray(values, dtype=np.float64))
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.numpy()]

    def sum_replicas(self, values: Sequence[float]) -> list[float]:
        """The sum over replicas, whose ranks all have the same values."""
        is_first = self.rank % self.tensor_parallel == 0
        return self.sum(values if is_first else [0.0] * len(values))

    def collect(self, value: float) -> list[float]:
        """Every rank's value, in the order of ranks, on every rank."""
        return self.sum([value if rank == self.rank else 0.0 for rank in range(self.world_size)])

    def from_main(self, value: float) -> float:
        """The main rank's value, on every rank."""
        return self.collect(value)[0]

    def share_text(self, text: str, *, source: int = 0) -> str:
        """The text of rank `source`, on every rank."""
        if self.world_size == 1:
            return text
        encoded = text.encode("utf-8") if self.rank == source else b""
        length = int(self.sum([float(len(encoded))])[0])
        if length == 0:
            return ""
        content = np.zeros(length, dtype=np.int64)
        content[: len(encoded)] = np.frombuffer(encoded, dtype=np.uint8)
        tensor = paddle.to_tensor(content)
        distributed.broadcast(tensor, src=source)
        return bytes(tensor.numpy().astype(np.uint8)).decode("utf-8")

    def ask_main(self, find: Callable[[], str]) -> str:
        """What the main rank finds out alone, on every rank; the others wait, see `barrier`."""
        text = find() if self.is_main else ""
        self.barrier()
        return self.share_text(text)

    def sum_gradients(self, parameters: Mapping[str, Tensor]) -> None:
        """Replaces every gradient by its sum over replicas; one collective per data type."""
        if self.replicas == 1:
            return
        groups: dict[str, list[Tensor]] = {}
        for parameter in parameters.values():
            if parameter.grad is None:
                parameter.grad = paddle.zeros_like(parameter)
            groups.setdefault(str(parameter.grad.dtype), []).append(parameter.grad)
        for gradients in groups.values():
            _sum_over_ranks(gradients, self.peers)

    def copy_from_main(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites the tensors of every replica with those of the first."""
        if self.replicas > 1:
            source = self.rank % self.tensor_parallel
            for tensor in tensors:
                distributed.broadcast(tensor, src=source, group=self.peers)


def _meet(count: int, patience: float) -> None:
    """Returns when so many ranks have called it as often as this one."""
    place = f"meeting-{next(_meetings)}"
    deadline = time.monotonic() + patience
    try:
        store = core.create_or_get_global_tcp_store()
        here = store.add(place, 1)
        while here < count and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            here = store.add(place, 0)
    except (ValueError, RuntimeError, OSError) as error:  # Paddle has all three for a lost peer
        raise LinguaBridgeError(
            "the main rank ended while this one waited for it; see the log of rank 0"
        ) from error
    if here < count:
        raise LinguaBridgeError(
            f"{count - here} of {count} ranks did not come within {format_seconds(patience)}; "
            "see their logs, and start again: training goes on from the last checkpoint"
        )


ALONE = Ranks(rank=0, world_size=1)
"""A process without peers."""


def join_ranks() -> Ranks:
    """Joins the processes that `paddle.distributed.launch` started; alone without it."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
        return ALONE
    # Paddle writes the flags that its own launcher has set to stderr, once per rank.
    with contextlib.redirect_stderr(io.StringIO()):
        distributed.init_parallel_env()
    return Ranks(
        rank=distributed.get_rank(),
        world_size=distributed.get_world_size(),
        rank_on_machine=int(os.environ.get("PADDLE_RANK_IN_NODE", "0")),
    )


def form_replicas(ranks: Ranks, *, tensor_parallel: int) -> Ranks:
    """Sorts the ranks into replicas of `tensor_parallel` neighbours; every rank calls it."""
    if tensor_parallel == 1:
        return ranks
    return replace(ranks, tensor_parallel=tensor_parallel, peers=join_groups(tensor_parallel))


@paddle.no_grad()
def _sum_over_ranks(gradients: list[Tensor], group: Group | None) -> None:
    flat = paddle.concat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat, group=group)
    pieces = paddle.split(flat, [int(gradient.size) for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        paddle.assign(piece.reshape(gradient.shape), output=gradient)
