import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from src.config import known_keys, load_config
from src.config_reference import (
    REPOSITORY,
    explain,
    main,
    render_markdown,
    render_yaml,
    stale_files,
)
from src.errors import ConfigError
from src.schema import Config
from src.schema_tree import Group, Key, format_value, read_schema, walk


def test_files_in_the_repository_are_up_to_date():
    assert stale_files() == []


def test_config_yaml_loads_to_the_defaults():
    assert load_config([REPOSITORY / "config.yaml"]) == Config()


def test_config_yaml_names_every_key_in_the_order_of_the_schema():
    def assert_same(content, defaults):
        assert list(content) == list(defaults)
        for name, value in content.items():
            if isinstance(value, dict):
                assert_same(value, defaults[name])

    assert_same(yaml.safe_load(render_yaml()), Config().model_dump())


def test_lines_of_config_yaml_fit_on_a_page():
    assert max(map(len, render_yaml().splitlines())) <= 100


def test_every_key_says_what_it_means():
    nodes = [node for node in walk(read_schema()) if node.path]
    assert {node.path for node in nodes} == set(known_keys())
    silent = [node.path for node in nodes if not node.meaning]
    assert silent == []


def test_every_key_stands_in_the_documentation():
    page = render_markdown()
    for node in walk(read_schema()):
        # The student's keys that equal the teacher's are mentioned as a whole.
        if isinstance(node, Key) and not node.path.startswith("student."):
            assert f"| `{node.path}` |" in page
    assert "The keys of `teacher` with the same defaults, and:" in page
    assert "| `student.temperature` | number from 0.01 to 100 | `3.0` |" in page
    assert "| `student.learning_rate` |" not in page


def test_kinds_are_told_in_words():
    kinds = {node.path: node.kind for node in walk(read_schema()) if isinstance(node, Key)}
    assert kinds["data.language_pairs"] == "list, each text"
    assert kinds["data.max_samples"] == "mapping of names to whole number > 0"
    assert kinds["data.sample_size"] == "whole number > 0, or null"
    assert kinds["teacher.lr_scheduler"] == "one of cosine, linear, constant"
    assert kinds["teacher.fp16"] == "true or false"
    assert kinds["student.distillation_alpha"] == "number from 0 to 1"
    assert kinds["teacher.quantization"] == "one of none, int8, nf4"


def test_optional_section_is_one_key_with_a_default():
    groups = {node.path: node for node in walk(read_schema()) if isinstance(node, Group)}
    assert groups["teacher.architecture"].key is not None
    assert groups["teacher.architecture"].key.default == "null"
    assert groups["data.splits"].key is None


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text())
def test_a_formatted_value_reads_back(value):
    assert yaml.safe_load(f"key: {format_value(value)}") == {"key": value}


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_a_formatted_number_stays_a_number(value):
    read = yaml.safe_load(format_value(value))
    assert isinstance(read, float)
    assert math.isclose(read, value, rel_tol=0.0)


def test_small_numbers_are_written_as_people_do():
    assert format_value(5e-05) == "5.0e-5"


def test_explain_tells_values_default_and_meaning():
    assert explain("student.temperature") == (
        "student.temperature\n"
        "  number from 0.01 to 100; default 3.0\n"
        "  Softens teacher and student in the teacher's term, which is scaled by its square."
    )


def test_explain_finds_a_key_by_its_last_part_in_every_section():
    assert [line for line in explain("seed").splitlines() if not line.startswith(" ")] == [
        "data.seed",
        "",
        "teacher.seed",
        "",
        "student.seed",
    ]


def test_explain_of_a_section_lists_its_keys():
    text = explain("data.splits")
    assert text.startswith("data.splits\n  How many pairs are held out")
    assert "data.splits.dev\n" in text
    assert "data.splits.test\n" in text


def test_explain_without_a_name_lists_everything():
    text = explain("")
    assert all(f"{key}\n" in text for key in known_keys())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("teacher.lerning_rate", "unknown key; did you mean teacher.learning_rate?"),
        ("learnin_rate", "unknown key; did you mean teacher.learning_rate?"),
        ("qqq", "unknown key; `run.py config --explain` lists all keys"),
    ],
)
def test_explain_of_an_unknown_key_names_the_nearest(name, message):
    with pytest.raises(ConfigError) as caught:
        explain(name)
    assert str(caught.value) == f"{name}: {message}"


def test_check_names_files_that_are_out_of_date_and_write_repairs_them(tmp_path, capsys):
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == (
        "out of date: config.yaml, docs/configuration.md; run `make docs`\n"
    )
    assert main(["--write"], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "config.yaml").write_text("teacher:\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == "out of date: config.yaml; run `make docs`\n"
