"""Low-bit weights: what a machine lacks for them, in words."""

import pytest

from src.models.quantize import why_unavailable


@pytest.mark.parametrize(
    ("kind", "capability", "has_layers", "expected"),
    [
        ("int8", None, True, "needs a GPU: Paddle's kernels for low-bit weights exist for CUDA"),
        ("nf4", None, False, "needs a GPU"),
        ("int8", 61, True, "needs a GPU of compute capability 70, 75, 80"),
        ("nf4", 80, False, "needs the packages paddleslim and paddleslim_ops"),
        ("int8", 90, False, "needs the packages paddleslim and paddleslim_ops"),
    ],
)
def test_what_is_missing_is_named(kind, capability, has_layers, expected):
    problem = why_unavailable(kind, capability=capability, has_layers=has_layers)
    assert problem is not None
    assert problem.startswith(expected)


def test_nothing_is_missing_on_a_machine_that_has_all():
    assert why_unavailable("int8", capability=80, has_layers=True) is None
    assert why_unavailable("nf4", capability=61, has_layers=True) is None
