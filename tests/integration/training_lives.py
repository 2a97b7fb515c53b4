"""Runs that are killed: one process that has loaded Paddle, and forks the ranks of each life.

Reads requests as JSON lines from stdin and answers each with a line on stdout. Loading Paddle takes
seconds, so it is loaded once; nothing is computed before the fork, so there are no threads yet.

    {"config": FILE, "overrides": [...], "ranks": 2, "kind": "inside", "count": 17}

`inside`: rank 0 is killed by itself at its count-th change to the disk, a write half done.
`outside`: all ranks are killed when rank 0 begins its count-th forward pass.
`never`: the life ends by itself. When a rank dies the others are killed: a machine is gone at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from src.config import load_config
from src.errors import Interrupted
from src.logs import set_up_logging
from src.models.factory import Model
from src.training.run import LossFunction
from tests.fakes.faulty_training import step_of, train
from tests.fakes.micro_batches import sequences_of
from tests.integration.checkpoint_lives import ACTION, Actions

FORWARD = b"f"


def live(request: Mapping[str, Any], rank: int, progress: int) -> None:
    """One rank of one life; `progress` is the writing end of a pipe that outlives it."""
    write = os.write

    def observed(loss: LossFunction, _model: Model) -> LossFunction:
        def watched(micro_batch: Any) -> Any:
            if step_of(micro_batch) >= 0:
                note_rows(request, rank, micro_batch)
                if rank == 0:
                    write(progress, FORWARD)
            return loss(micro_batch)

        return watched

    set_up_logging()
    config = load_config([Path(request["config"])], request["overrides"])
    if rank == 0:
        fatal = request["count"] if request["kind"] == "inside" else 0
        Actions(lambda sign: write(progress, sign), fatal)
    train(config, fault=observed)


def note_rows(request: Mapping[str, Any], rank: int, micro_batch: Mapping[str, Any]) -> None:
    """Appends which sequences were learned from at which step, where the request asks for it."""
    if "seen" not in request:
        return
    rows = [
        hashlib.sha256(np.array(sequence.ids).tobytes()).hexdigest()[:16]
        for sequence in sequences_of(micro_batch)
    ]
    with (Path(request["seen"]) / f"rank-{rank}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps([step_of(micro_batch), rows]) + "\n")


def start_rank(request: Mapping[str, Any], rank: int, ports: list[int], progress: int) -> int:
    """Forks one rank, with the environment that Paddle's launcher would give it."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if len(ports) > 1:
            os.environ |= rank_environment(rank, ports)
        live(request, rank, progress)
        code = 0
    except Interrupted as error:
        code = error.exit_code
    except BaseException:  # noqa: BLE001  reported by the exit code, with the reason on stderr
        traceback.print_exc()
    finally:
        os._exit(code)


def rank_environment(rank: int, ports: list[int]) -> dict[str, str]:
    """What Paddle's launcher tells a rank; the first port is the meeting point of all."""
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return {
        "PADDLE_TRAINER_ID": str(rank),
        "PADDLE_TRAINERS_NUM": str(len(ports) - 1),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(addresses[1:]),
        "PADDLE_CURRENT_ENDPOINT": addresses[rank + 1],
        "PADDLE_MASTER": addresses[0],
        "PADDLE_DISTRI_BACKEND": "gloo",
        "PADDLE_RANK_IN_NODE": str(rank),
    }


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def observe(request: Mapping[str, Any]) -> dict[str, int]:
    """One life of all its ranks; tells what became of it."""
    readable, writable = os.pipe()
    ranks = request["ranks"]
    ports = free_ports(ranks + 1) if ranks > 1 else [0]
    children = {start_rank(request, rank, ports, writable): rank for rank in range(ranks)}
    os.close(writable)
    forwards, actions = watch(request, readable, children)
    codes = []
    while children:
        child, status = os.wait()
        codes.append(os.waitstatus_to_exitcode(status))
        del children[child]
        if codes[-1] != 0:
            kill_all(children)
    return {"forwards": forwards, "actions": actions, "code": min(codes)}


def watch(
    request: Mapping[str, Any], readable: int, children: Mapping[int, int]
) -> tuple[int, int]:
    """Reads the signs of life of rank 0 until it says no more, and kills from outside."""
    forwards = actions = 0
    main = next(child for child, rank in children.items() if rank == 0)
    while sign := os.read(readable, 1):
        forwards += sign == FORWARD
        actions += sign == ACTION
        if request["kind"] == "outside" and forwards == request["count"]:
            kill_all(children)
            break
        if request["kind"] == "inside" and actions == request["count"] - 1:
            os.waitid(os.P_PID, main, os.WEXITED | os.WNOWAIT)
            break
    os.close(readable)
    return forwards, actions


def kill_all(children: Mapping[int, int]) -> None:
    for child in children:
        os.kill(child, signal.SIGKILL)


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(observe(json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
