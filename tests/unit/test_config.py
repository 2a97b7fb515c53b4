"""Reading the configuration: every problem at once, each with a remedy."""

from pathlib import Path

import pytest
import yaml

from src.config import config_fingerprint, config_to_yaml, load_config
from src.errors import ConfigError
from src.schema import Config

USER_GUIDE = Path("tests/golden/user_guide.yaml").read_text(encoding="utf-8")


def problems_of(tmp_path: Path, text: str, *overrides: str) -> tuple[str, ...]:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config([path], overrides)
    return tuple(line.replace(str(path), "my.yaml") for line in caught.value.problems)


def test_user_guide_loads_with_its_values(tmp_path):
    path = tmp_path / "guide.yaml"
    path.write_text(USER_GUIDE, encoding="utf-8")
    config = load_config([path])
    written = yaml.safe_load(USER_GUIDE)
    loaded = config.model_dump(mode="json")
    for section, keys in written.items():
        assert {key: loaded[section][key] for key in keys} == keys


def test_unknown_keys_are_named_with_the_nearest_known_one(tmp_path):
    text = "teacher: {batchsize: 3}\nbatch_size: 2\nstudent:\n  lerning_rate: 1\n"
    assert problems_of(tmp_path, text, "teacher.temperature=2") == (
        "teacher.batchsize: unknown key; did you mean teacher.batch_size? (my.yaml line 1)",
        "teacher.temperature: unknown key; did you mean student.temperature? (command line)",
        "student.lerning_rate: unknown key; did you mean student.learning_rate? (my.yaml line 4)",
        "batch_size: unknown key; did you mean teacher.batch_size? (my.yaml line 2)",
    )


def test_wrong_types_and_ranges_name_key_value_and_place(tmp_path):
    text = "data:\n  quality_threshold: 1.5\nteacher:\n  learning_rate: fast\n  packing: maybe\n"
    assert problems_of(tmp_path, text) == (
        "data.quality_threshold: input should be less than or equal to 1, got 1.5 (my.yaml line 2)",
        "teacher.learning_rate: input should be a valid number, got 'fast' (my.yaml line 4)",
        "teacher.packing: input should be true or false, got 'maybe' (my.yaml line 5)",
    )


@pytest.mark.parametrize(
    ("override", "both"),
    [
        ("teacher.bf16=true", ("fp16", "bf16")),
        ("teacher.warmup_ratio=0.1", ("warmup_steps", "warmup_ratio")),
        ("teacher.max_steps=5", ("warmup_steps=2000", "max_steps=5")),
        ("teacher.min_lr=1", ("min_lr", "learning_rate")),
        ("teacher.use_paddlenlp=false", ("use_paddlenlp", "PaddleNLP")),
    ],
)
def test_contradictions_name_both_keys(tmp_path, override, both):
    (problem,) = problems_of(tmp_path, USER_GUIDE, override)
    assert all(word in problem for word in both)


def test_override_wins_over_files_and_later_files_over_earlier(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("teacher: {batch_size: 1, seed: 1, num_epochs: 7}", encoding="utf-8")
    second.write_text("teacher: {batch_size: 2, seed: 2}", encoding="utf-8")
    config = load_config([first, second], ["teacher.batch_size=3", "teacher.learning_rate=1e-4"])
    teacher = config.teacher
    assert (teacher.batch_size, teacher.seed, teacher.num_epochs) == (3, 2, 7)
    assert teacher.learning_rate == 1e-4


def test_sources_may_be_one_string_or_a_list(tmp_path):
    one = load_config([], ["data.sources=corpus/train.{en,zh}"])
    many = load_config([], ["data.sources=[a.tsv.gz, {path: b.tsv, name: b}]"])
    assert [source.path for source in one.data.sources] == ["corpus/train.{en,zh}"]
    assert [source.name for source in many.data.sources] == [None, "b"]


@pytest.mark.parametrize(
    "override",
    [
        "data.sources=['https://user:sesame@example.org/a.tsv']",
        "data.sources=[{path: 's3://key:sesame@bucket/a.tsv'}]",
        "teacher.checkpoint_store='oss://key:sesame@bucket/run'",
        "evaluation.sets=['https://:sesame@example.org/a.tsv']",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_shown(tmp_path, override):
    (problem,) = problems_of(tmp_path, "", override)
    assert problem.startswith(override.partition("=")[0])
    assert ": holds a password, " in problem
    assert "sesame" not in problem


@pytest.mark.parametrize(
    "path",
    ["https://user@example.org/a.tsv", "a:b@c.tsv", "s3://bucket/a:b@c", "http://[::1]:80/a"],
)
def test_what_only_looks_like_one_is_a_path(path):
    assert load_config([], [f"data.sources=['{path}']"]).data.sources[0].path == path


def test_missing_file_bad_yaml_and_bad_override_are_one_sentence_each(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml does not exist"):
        load_config([tmp_path / "none.yaml"])
    (problem,) = problems_of(tmp_path, "", "teacher")
    assert problem == "'teacher' is not an override; write section.key=value"
    broken = tmp_path / "broken.yaml"
    broken.write_text("teacher: {batch_size: 3\nstudent: {}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.yaml line \d is not valid YAML"):
        load_config([broken])
    broken.write_text("teacher: {}\nteacher: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 2: teacher stands twice, first on line 1"):
        load_config([broken])
    broken.write_text("- teacher\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="must hold sections"):
        load_config([broken])


def test_a_folder_or_another_encoding_in_place_of_the_configuration_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory$"):
        load_config([tmp_path])
    other = tmp_path / "utf16.yaml"
    other.write_text("data: {}\n", encoding="utf-16")
    with pytest.raises(ConfigError, match=r"utf16\.yaml is not UTF-8 at byte 0; save it as UTF-8$"):
        load_config([other])


def test_printed_configuration_reads_back_to_the_same_values(tmp_path):
    config = load_config([], ["data.sources=[a.tsv]", "teacher.max_steps=10"])
    path = tmp_path / "printed.yaml"
    path.write_text(config_to_yaml(config), encoding="utf-8")
    assert load_config([path]) == config


def test_fingerprint_follows_values_and_ignores_named_keys():
    config = Config()
    other = load_config([], ["teacher.logging_steps=7"])
    assert config_fingerprint(config.teacher) != config_fingerprint(other.teacher)
    without = ("logging_steps",)
    assert config_fingerprint(config.teacher, without=without) == config_fingerprint(
        other.teacher, without=without
    )


@pytest.mark.parametrize("path", sorted(Path("configs").rglob("*.yaml")), ids=str)
def test_every_shipped_configuration_loads(path):
    load_config([path])
