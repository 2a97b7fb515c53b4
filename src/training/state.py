"""Where a run stands: the few numbers besides weights and optimizer that a resume needs.

Random numbers are not among them: before each step every rank seeds its generator from (run seed,
step, rank), so the generator's state is a pure function of what is here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from src.errors import CheckpointError
from src.training.health import HealthRecord
from src.training.noise import NoiseScale

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass
class TrainingState:
    """Counters of a run; every field is saved.

    Attributes:
        step: Optimizer steps done.
        epoch: Epoch of the next batch, from 0.
        batch: Next batch within the epoch, from 0.
        global_batch_size: Pairs per step over all ranks; fixed for the run.
        pairs_seen: Pairs trained on.
        tokens_seen: Real (not padding) tokens trained on, prompt and source included.
        seconds: Time spent training, over all starts.
        loss: Mean training loss of the last logged steps, nats per target token.
        best_eval_loss: Smallest evaluation loss so far.
        best_step: Where it was reached.
        evaluated_step: Last step that was evaluated.
        evaluations_without_improvement: In a row, for early stopping.
        health: What judging steps remembers.
        noise: Averages behind the gradient noise scale; untouched while that is off.
        configured_batch_size: `batch_size` of the start at which memory ran out; 0: it never did.
        micro_batch_size: What `batch_size` was lowered to then, so that it fits.
        starts: Processes that have trained this run, the present one included.
        stall_seconds: How long training stood still for the last save that was measured.
        next_save_step: Where the next save is due when save_steps is auto; 0: not decided yet.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    global_batch_size: int = 0
    pairs_seen: int = 0
    tokens_seen: int = 0
    seconds: float = 0.0
    loss: float | None = None
    best_eval_loss: float | None = None
    best_step: int | None = None
    evaluated_step: int = 0
    evaluations_without_improvement: int = 0
    health: HealthRecord = field(default_factory=HealthRecord)
    noise: NoiseScale = field(default_factory=NoiseScale)
    configured_batch_size: int = 0
    micro_batch_size: int = 0
    starts: int = 0
    stall_seconds: float | None = None
    next_save_step: int = 0

    def to_json(self) -> str:
        """The content of state.json, without what others add to it."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> TrainingState:
        """Reads `to_json`'s text.

        Raises:
            CheckpointError: If fields are missing or unknown.
        """
        values = json.loads(text)
        _require_fields(cls, values)
        for name, part in (("health", HealthRecord), ("noise", NoiseScale)):
            _require_fields(part, values[name])
            values[name] = part(**values[name])
        return cls(**values)


def _require_fields(kind: type[DataclassInstance], values: dict[str, Any]) -> None:
    names = {each.name for each in fields(kind)}
    if set(values) != names:
        raise CheckpointError(
            f"state.json has other fields than this version writes: "
            f"{sorted(set(values) ^ names)}; resume with the version that made it"
        )


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of a rank's random numbers for one step, in [0, 2³¹)."""
    digest = hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1
