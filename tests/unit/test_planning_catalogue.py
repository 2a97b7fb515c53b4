"""GPUs, instance types and prices; presets; machines by name."""

import re

import pytest

from src.config import load_config, preset_file, preset_names
from src.errors import ConfigError
from src.planning.catalogue import (
    CATALOGUE_FILE,
    catalogue,
    find_gpu,
    find_instance,
    instance_types,
    instances_with,
    read_catalogue,
)
from src.planning.machine import find_machine, gpu_of_driver_name
from src.planning.plan import plan_stage
from src.planning.presets import WHOLE_CORPUS_PAIRS, all_presets

PRESETS = (
    "balanced",
    "fast_4gpu_1h",
    "full_1epoch",
    "full_3epochs",
    "hybrid_10m",
    "multi_gpu_4x",
    "quality",
    "sampled_5m",
    "speed",
    "t4_small",
)


def test_an_instance_has_its_published_shape_and_price():
    found = find_instance("ecs.gn7i-c16g1.4xlarge")
    assert (found.gpu, found.gpu_count, found.vcpus, found.memory_gib) == ("a10", 1, 16, 60)
    assert found.prices["cn-hangzhou"].on_demand == pytest.approx(10.0934)
    assert found.prices["cn-heyuan"].on_demand == pytest.approx(9.084)
    assert found.prices["cn-hangzhou"].spot == pytest.approx(10.0934 * catalogue().spot_ratio)
    assert found.cheapest_region == "cn-heyuan"
    assert find_instance("GN7I-c16g1.4xlarge") is found


def test_every_instance_has_a_known_gpu_and_positive_prices():
    for instance in instance_types():
        assert find_gpu(instance.gpu).memory_gib == instance.gpu_memory_gib
        assert all(0 < price.spot < price.on_demand for price in instance.prices.values())


def test_a_short_name_means_the_larger_edition():
    assert find_gpu("A100").name == "a100-80g"


@pytest.mark.parametrize(
    ("find", "name", "hint"),
    [
        (find_gpu, "a11", "did you mean a10?"),
        (find_gpu, "voodoo3", "known are t4, "),
        (find_instance, "ecs.gn7i-c16g1.4xlarg", "did you mean ecs.gn7i-c16g1.4xlarge?"),
    ],
)
def test_an_unknown_name_gets_a_hint(find, name, hint):
    with pytest.raises(ConfigError, match=re.escape(hint)):
        find(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("gpus: [", "is no YAML in UTF-8: while parsing"),
        ("as_of: today", "is not of the form"),
        ("42", "is not of the form"),
    ],
)
def test_a_price_file_that_cannot_be_used_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "prices.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_catalogue(path)


def test_another_price_file_is_used(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(
        CATALOGUE_FILE.read_text(encoding="utf-8").replace("spot_ratio: 0.30", "spot_ratio: 0.5"),
        encoding="utf-8",
    )
    price = find_instance("ecs.gn7i-c8g1.2xlarge", read_catalogue(path)).prices["cn-hangzhou"]
    assert price.spot == pytest.approx(price.on_demand / 2)


def test_instances_with_certain_gpus_come_cheapest_first():
    found = instances_with("a10", 4)
    cheapest = [each.prices[each.cheapest_region].on_demand for each in found]
    assert cheapest == sorted(cheapest)
    assert {(each.gpu, each.gpu_count) for each in found} == {("a10", 4)}


@pytest.mark.parametrize(
    ("gpu", "instance", "message"),
    [
        ("a10:0", None, "is no number of GPUs"),
        ("a10:x", None, "is no number of GPUs"),
        ("a10", "ecs.gn7i-c8g1.2xlarge", "name two machines"),
    ],
)
def test_a_machine_that_makes_no_sense_is_refused(gpu, instance, message):
    with pytest.raises(ConfigError, match=message):
        find_machine(gpu, instance, catalogue())


def test_machines_by_name():
    assert find_machine("a10:4", None, catalogue()).count == 4
    machine = find_machine(None, "ecs.gn7i-c32g1.32xlarge", catalogue())
    assert (machine.count, machine.memory_gib) == (4, find_gpu("a10").memory_gib)


@pytest.mark.parametrize(
    ("name", "memory", "gpu"),
    [
        ("NVIDIA A100-SXM4-80GB", 80.0, "a100-80g"),
        ("NVIDIA A100-PCIE-40GB", 40.0, "a100-40g"),
        ("NVIDIA A10", 22.5, "a10"),
        ("NVIDIA A10G", 22.5, "a10g"),
        ("Tesla T4", 15.0, "t4"),
        ("Tesla V100-SXM2-16GB", 16.0, "v100-16g"),
        ("NVIDIA GeForce RTX 4090", 24.0, "rtx4090"),
        ("NVIDIA RTX A6000", 48.0, "a6000"),
        ("NVIDIA H100 80GB HBM3", 79.6, "h100"),
    ],
)
def test_the_drivers_names_are_known(name, memory, gpu):
    assert gpu_of_driver_name(name, memory, catalogue()).name == gpu


def test_an_unknown_gpu_here_asks_for_a_name():
    with pytest.raises(ConfigError, match="name a similar one with --gpu"):
        gpu_of_driver_name("Voodoo 3", 0.1, catalogue())


def test_all_presets_are_there():
    assert tuple(preset_names()) == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_it_costs_and_gives(name):
    text = preset_file(name).read_text(encoding="utf-8")
    assert "# Cost: " in text
    assert "# Quality: " in text


@pytest.mark.parametrize("preset", all_presets(), ids=lambda preset: preset.name)
@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_every_preset_fits_its_machine(preset, stage):
    config = load_config([], preset=preset.name)
    machine = find_machine(preset.gpu, None, catalogue())
    pairs = config.data.sample_size or WHOLE_CORPUS_PAIRS
    plan = plan_stage(config, stage, machine, prices=catalogue(), pairs=pairs)
    assert plan.outlook.verdict == "fits"
    assert plan.outlook.costs


def test_a_preset_lies_between_files_and_overrides(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("teacher: {batch_size: 7, num_epochs: 5}", encoding="utf-8")
    section = load_config([file], ["teacher.learning_rate=0.5"], preset="t4_small").teacher
    assert (section.batch_size, section.num_epochs) == (32, 5)
    assert section.learning_rate == pytest.approx(0.5)


def test_an_unknown_preset_gets_a_hint():
    with pytest.raises(ConfigError, match=r"did you mean balanced\?"):
        load_config([], preset="ballanced")
