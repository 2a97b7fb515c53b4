"""The published runs of data/published_runs.yaml, as workloads that the planner can predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from src.planning.shape import ModelShape
from src.planning.workload import ALL_LAYERS, ATTENTION_INPUT_LAYERS, Adapters, Workload

DATA = Path(__file__).resolve().parent / "data" / "published_runs.yaml"
UNITS = {"GB": 1e9, "GiB": 2.0**30, "MiB": 2.0**20}
TARGETS = {"all": ALL_LAYERS, "qv": ATTENTION_INPUT_LAYERS}
SMALLEST_STATE_WITH_GRADIENTS = 8


@dataclass(frozen=True)
class Point:
    """One published run.

    Attributes:
        group: Its table.
        source: Where it stands.
        title: For the list.
        workload: What was computed.
        gpu: On what.
        memory: Published peak in bytes, per device; None where it is not published or not judged.
        memory_devices: Devices whose sum was published.
        speed: Published tokens per second and device; None likewise.
        left_out: Why something is not judged.
    """

    group: str
    source: str
    title: str
    workload: Workload
    gpu: str
    memory: float | None
    memory_devices: int
    speed: float | None
    left_out: str | None


def read_points(path: Path = DATA) -> list[Point]:
    """All published runs of the file, in its order."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    shapes = {name: _shape(name, sizes) for name, sizes in content["models"].items()}
    points = []
    for group in content["groups"]:
        shared = {key: value for key, value in group.items() if key not in ("table", "points")}
        for model, row in group.get("table", {}).items():
            for length, (memory, seconds) in row.items():
                fields = {"model": model, "length": length, "memory": memory, "seconds": seconds}
                points.append(_point({**shared, **fields}, shapes))
        points += [_point({**shared, **fields}, shapes) for fields in group.get("points", ())]
    return points


def _shape(name: str, sizes: Sequence[Any]) -> ModelShape:
    width, layers, inner, heads, keys, vocabulary, is_tied = sizes
    return ModelShape(name, vocabulary, width, layers, inner, heads, keys, is_tied)


def _point(fields: Mapping[str, Any], shapes: Mapping[str, ModelShape]) -> Point:
    workload = _workload(fields, shapes[fields["model"]])
    speed = fields.get("tokens_per_second")
    if "seconds" in fields:
        speed = workload.tokens * fields["passes"] / fields["seconds"]
    memory = fields.get("memory")
    everything = fields.get("leave_out")
    return Point(
        group=fields["name"],
        source=fields["source"],
        title=f"{fields['model']} {fields['method']} {fields['gpu']} "
        f"{fields['rows']}x{fields['length']}",
        workload=workload,
        gpu=fields["gpu"],
        memory=None if memory is None or everything else memory * UNITS[fields["unit"]],
        memory_devices=fields.get("gpus", 1) if fields.get("memory_of_all") else 1,
        speed=None if everything or fields.get("leave_out_speed") else speed,
        left_out=everything or fields.get("leave_out_speed"),
    )


def _workload(fields: Mapping[str, Any], shape: ModelShape) -> Workload:
    adapters = None
    if fields["method"] != "full":
        adapters = Adapters(fields["lora_rank"], TARGETS[fields["lora_targets"]])
    is_fused = fields["state"] < SMALLEST_STATE_WITH_GRADIENTS
    return Workload(
        shape=shape,
        rows=fields["rows"],
        length=fields["length"],
        passes=fields.get("passes", 1),
        devices=fields.get("gpus", 1),
        tensor_parallel=fields.get("tensor_parallel", 1),
        sharding=fields.get("sharding", 0),
        # Trained weights and gradients are in bfloat16; the rest of the recipe's state is the
        # optimizer's. An update fused into the backward pass keeps no gradients.
        weight_bytes=2,
        gradient_bytes=0 if is_fused else 2,
        optimizer_bytes=fields["state"] - (2 if is_fused else 4),
        bits="nf4" if fields["method"] == "qlora" else "none",
        adapters=adapters,
        recomputes=fields["recompute"],
        loss="whole" if fields["loss"] == "whole" else "eighths",
        kernels=fields["framework"],
        flash_attention=True,
        offloads=fields.get("offload", False),
        counts_runtime=fields.get("measure") == "device",
    )


def published_memory(point: Point) -> float:
    """Bytes."""
    if point.memory is None:
        raise ValueError(f"{point.title} has no memory")
    return point.memory


def published_speed(point: Point) -> float:
    """Tokens per second and device."""
    if point.speed is None:
        raise ValueError(f"{point.title} has no speed")
    return point.speed
