"""Are int8 weights faster than float32 on this machine's CPU, for one projection of Qwen2.5-0.5B?

    OMP_NUM_THREADS=1 python -m benchmarks.weight_int8

Tries Paddle's own weight-only layer and says so where it has no kernel for this device, then int8
weights that are unpacked before each product, which is what is left.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import paddle
from paddle import Tensor

from benchmarks.harness import store_result, summarise

_WIDTH, _INNER = 896, 4864  # the feed-forward layer of Qwen2.5-0.5B


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parsed = parser.parse_args()
    paddle.seed(0)
    weight = paddle.randn([_WIDTH, _INNER])
    scale = weight.abs().max(axis=0) / 127.0
    packed = paddle.round(weight / scale).astype("int8")
    results: dict[str, object] = {"weight_only_kernel": _weight_only_kernel(weight)}
    for rows in (1, 8, 32):
        given = paddle.randn([rows, _WIDTH])
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "float32": lambda x: paddle.matmul(x, weight),
            "int8_unpacked": lambda x: paddle.matmul(x, packed.astype("float32")) * scale,
        }
        samples: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(parsed.repeats):
            for name, way in ways.items():
                began = time.process_time()
                way(given)
                samples[name].append(1000 * (time.process_time() - began))
        medians = {name: summarise(values) for name, values in samples.items()}
        slow, fast = (float(str(medians[name]["median"])) for name in ("int8_unpacked", "float32"))
        results[f"rows_{rows}"] = {
            **{f"{name}_cpu_milliseconds": value for name, value in medians.items()},
            "int8_over_float32": round(slow / fast, 2),
        }
    for name, value in results.items():
        print(f"{name}: {value}")
    path = store_result(
        "weight_int8",
        question="Are int8 weights faster than float32 on a CPU?",
        baseline="the same product in float32, in turns",
        settings={"shape": [_WIDTH, _INNER], "repeats": parsed.repeats},
        results=results,
        packages=("paddlepaddle",),
    )
    print(path)


def _weight_only_kernel(weight: Tensor) -> str:
    try:
        packed, scale = paddle.nn.quant.weight_quantize(weight, algo="weight_only_int8")
        paddle.nn.quant.weight_only_linear(
            paddle.randn([1, _WIDTH]), packed, weight_scale=scale, weight_dtype="int8"
        )
    except RuntimeError as error:
        return f"none here: {str(error).strip().splitlines()[0][:120]}"
    return "runs here"


if __name__ == "__main__":
    main()
