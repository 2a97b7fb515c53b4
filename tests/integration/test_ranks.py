"""Two ranks that share a model out compute what one rank with all of it does."""

import json
import os
import subprocess
import sys

import pytest

from tests.fakes.training_lives import ROOT
from tests.integration.training_lives import free_ports, rank_environment

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two ranks has found; one start for all tests."""
    file = tmp_path_factory.mktemp("ranks") / "found"
    ports = free_ports(3)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.integration.rank_checks", str(file)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **rank_environment(rank, ports)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [rank.communicate()[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
    return [json.loads(file.with_suffix(f".{rank}").read_text()) for rank in range(2)]


def test_with_sharding_3_ranks_share_the_weights_out_and_a_few_layers_visit(found):
    first, second = (each["visiting"] for each in found)
    assert first["between"] + second["between"] == first["total"]
    for each in (first, second):
        assert each["between"] < 0.6 * each["total"]
        # The embeddings stay to the end of the pass, and the last layer until it is computed back.
        assert each["between"] < each["after_forward"] < each["total"]
        assert each["between"] < each["after_evaluation"] < each["total"]
        assert each["at_the_end"] == each["between"]


def test_ranks_wait_for_one_that_was_busy_alone_longer_than_a_collective_would(found):
    assert found[0]["waited"] > 30
    assert found[1]["waited"] < 5


def test_a_rank_that_never_comes_is_named_lost_in_the_end(found):
    assert found[0]["lost"].startswith("1 of 2 ranks did not come within 0.5 s; ")


def test_ranks_of_one_replica_count_once(found):
    assert [each["replicas"] for each in found] == [[0, 1, [2.0]], [0, 1, [2.0]]]


@pytest.mark.parametrize("kind", ["tied", "untied", "odd_vocabulary"])
def test_a_cut_model_computes_what_the_whole_one_does(found, kind):
    for each in found:
        assert each[kind]["hidden"] < 1e-5
        assert each[kind]["gradients"] < 1e-4
        assert 0 < each[kind]["cut"] < each[kind]["weights"]


def test_a_vocabulary_that_does_not_divide_stays_whole(found):
    assert found[0]["odd_vocabulary"]["cut"] == found[0]["untied"]["cut"] - 2


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("term", ["live", "uniform_tail", "sampled_tail", "tail_bucket"])
def test_loss_and_gradients_over_a_cut_vocabulary(found, term, layout):
    for each in found:
        assert max(each[f"loss_{layout}_{term}"].values()) < 1e-5
