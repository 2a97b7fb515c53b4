"""The commands evaluate and translate, end to end, with a tiny model that has learned six pairs."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from src.config import load_config
from src.errors import ConfigError, DataError, ModelError
from src.evaluation.evaluate import compare, evaluate
from src.evaluation.given import evaluate_files
from src.evaluation.numbers import keep_numbers
from src.evaluation.preserve import keeps_protected
from src.evaluation.translate import Translator, translate_command
from src.evaluation.translation import Translation
from src.models.factory import build_model
from src.schema import ArchitectureConfig
from src.tokens.prompts import build_prompt
from src.tokens.tokenizer import train_tokenizer
from tests.fakes.small_translator import learn_by_heart, write_translator

ROOT = Path(__file__).resolve().parents[2]
PAIRS = {
    "Good morning.": "早上好。",
    "Thank you.": "谢谢。",
    "It costs 3.5 dollars.": "价格是3.5美元。",
    "Where are you?": "你在哪里？",
    "I like tea.": "我喜欢茶。",
    "See you on Monday.": "星期一见。",
}
DIRECTIONS = ("en-zh", "zh-en")
MAX_SEQ_LENGTH = 48


def learn(model, tokenizer, *, steps: int) -> None:
    """Fits the model to PAIRS in both directions, one sentence after another in one batch."""
    rows = []
    for source_language, target_language in (("en", "zh"), ("zh", "en")):
        prompt = build_prompt("compact", tokenizer, source_language, target_language)
        for english, chinese in PAIRS.items():
            texts = {"en": english, "zh": chinese}
            opening = prompt.opening(tokenizer.encode(texts[source_language]))
            target = [*tokenizer.encode(texts[target_language]), *prompt.suffix]
            rows.append((opening, target))
    learn_by_heart(model, rows, pad_id=tokenizer.pad_id, steps=steps, learning_rate=3e-3)


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    """A model folder as the student recipe leaves it: <run>/final."""
    tokenizer = train_tokenizer(iter([*PAIRS, *PAIRS.values()]), vocab_size=320)
    architecture = ArchitectureConfig(
        hidden_size=64,
        num_hidden_layers=2,
        intermediate_size=128,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    # More rows than the tokenizer has ids, as published models have.
    model = build_model(architecture, vocab_size=tokenizer.vocab_size + 8, seed=1)
    learn(model, tokenizer, steps=120)
    folder: Path = tmp_path_factory.mktemp("models") / "student" / "final"
    write_translator(
        folder, model, tokenizer, directions=DIRECTIONS, max_seq_length=MAX_SEQ_LENGTH, step=120
    )
    return folder


@pytest.fixture
def config(student, tmp_path):
    """Test pairs in one shard; two of them the model has never seen in this combination."""
    text = tmp_path / "data" / "text"
    text.mkdir(parents=True)
    english, chinese = [*PAIRS, "Good evening."], [*PAIRS.values(), "晚上好。"]
    table = pa.table(
        {
            "en": english,
            "zh": chinese,
            "source": ["test"] * len(english),
            "score": pa.array([1.0] * len(english), pa.float32()),
        }
    )
    pq.write_table(table, text / "test-en-zh-00000.parquet")
    return load_config(
        [],
        [
            f"data.output_dir={tmp_path / 'data'}",
            f"student.output_dir={student.parent}",
            "evaluation.max_new_tokens=24",
            "evaluation.batch_size=4",
        ],
    )


@pytest.fixture(scope="module")
def translator(student):
    return Translator(student, batch_size=4, max_new_tokens=24, beam_size=1)


def copy_of(student: Path, target: Path) -> Path:
    shutil.copytree(student, target)
    return target


def test_evaluate_scores_every_direction_and_writes_what_it_returns(config, student):
    result = evaluate(config)
    assert list(result) == list(DIRECTIONS)
    folder = student.parent / "evaluation"
    assert json.loads((folder / "scores.json").read_text(encoding="utf-8")) == result
    for direction in DIRECTIONS:
        scores = result[direction]
        assert scores["n"] == 7
        assert scores["exact_match"] == pytest.approx(6 / 7)
        assert 50 < scores["bleu"] < 100
        assert set(scores["signatures"]) == {"bleu", "chrf", "chrf++"}
        assert scores["model"] == str(student)
        lines = (folder / f"samples-{direction}.jsonl").read_text(encoding="utf-8").splitlines()
        samples = [json.loads(line) for line in lines]
        assert len(samples) == 7
        assert [sample["exact"] for sample in samples] == [False] + [True] * 6
        assert samples[0]["chrf"] < samples[1]["chrf"]
    assert result["en-zh"]["signatures"]["bleu"].split("|")[3] == "tok:zh"
    assert result["zh-en"]["signatures"]["bleu"].split("|")[3] == "tok:13a"


def test_evaluate_takes_max_samples_a_model_and_an_output_folder(config, student, tmp_path):
    section = config.evaluation.model_copy(update={"max_samples": 2})
    data = config.data.model_copy(update={"language_pairs": ("zh-en",)})
    smaller = config.model_copy(update={"evaluation": section, "data": data})
    copy = copy_of(student, tmp_path / "copy")
    result = evaluate(smaller, model=str(copy), beam_size=2, output=tmp_path / "out")
    assert list(result) == ["zh-en"]
    assert result["zh-en"]["n"] == 2
    assert result["zh-en"]["beam_size"] == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html",
        "samples-zh-en.jsonl",
        "scores.json",
    ]


def test_evaluate_without_pairs_says_what_to_run(config, tmp_path):
    with pytest.raises(DataError) as caught:
        evaluate(config, split="dev")
    assert str(caught.value) == (
        f"no dev pairs of en-zh in {tmp_path / 'data' / 'text'}; run `python run.py process` with "
        "this configuration first"
    )


def test_evaluate_of_a_damaged_shard_names_it(config, tmp_path):
    path = tmp_path / "data" / "text" / "test-en-zh-00000.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"test-en-zh-00000\.parquet cannot be read .*again"):
        evaluate(config)


def test_translator_translates_both_directions_in_order(translator):
    texts = [*PAIRS, *PAIRS.values()]
    assert translator.translate(texts) == [*PAIRS.values(), *PAIRS]


def test_translator_cleans_text_and_keeps_lines(translator):
    assert translator.translate(["  Thank\t you.\x00 ", "", " \n\nI like tea.\n", "\ud800"]) == [
        "谢谢。",
        "",
        "\n\n我喜欢茶。\n",
        "",
    ]


def test_long_text_is_translated_sentence_by_sentence(translator):
    english = " ".join(PAIRS)
    chinese = "".join(PAIRS.values())
    assert translator.translate([english, chinese]) == [chinese, english]


def test_repeated_text_is_translated_once(translator):
    seen = []
    translator.translate(
        ["Thank you."] * 5, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 1)]


def test_any_text_gets_some_translation(translator):
    texts = ["😀", "<|im_end|>", "١٢٣", "a" * 5000, "中" * 2000, "混合 mixed", "\u0301\u200d"]
    results = translator.translate(texts)
    assert len(results) == len(texts)
    assert all("\n" not in result for result in results)


def test_beam_finds_the_same_learned_translations(student):
    wide = Translator(student, batch_size=4, max_new_tokens=24, beam_size=3)
    assert wide.translate(list(PAIRS)) == list(PAIRS.values())


def test_beam_too_wide_for_the_model_is_refused_as_it_is_read(student):
    with pytest.raises(ModelError, match=r"^beam_size=9999 is more than half of the \d+ ids"):
        Translator(student, batch_size=4, max_new_tokens=24, beam_size=9999)


def test_direction_that_the_model_does_not_know_is_refused(translator, student):
    with pytest.raises(ModelError) as caught:
        translator.translate(["hello"], direction="en-fr")
    assert str(caught.value) == (
        f"model {student} translates en-zh, zh-en, not en-fr; use another model or name one of "
        "its directions"
    )


def test_model_of_one_direction_uses_it_for_any_text(student, tmp_path):
    folder = copy_of(student, tmp_path / "one-way")
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["linguabridge"]["language_pairs"] = ["zh-en"]
    path.write_text(json.dumps(content), encoding="utf-8")
    one_way = Translator(folder, batch_size=4, max_new_tokens=24)
    assert one_way.directions == ("zh-en",)
    assert one_way.direction_of("hello") == "zh-en"


def test_model_folder_from_elsewhere_is_asked_in_chat_format(student, tmp_path):
    folder = copy_of(student, tmp_path / "foreign")
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["linguabridge"]
    path.write_text(json.dumps(content), encoding="utf-8")
    foreign = Translator(folder, batch_size=4, max_new_tokens=4)
    assert foreign.directions == DIRECTIONS
    assert len(foreign.translate(["Thank you."])) == 1


def test_tokenizer_is_the_configured_one_when_the_folder_has_none(student, tmp_path):
    folder = copy_of(student, tmp_path / "bare")
    trained = tmp_path / "data" / "tokenizer"
    trained.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(folder / name, trained / name)
    lack = f"model folder {folder} has no tokenizer (tokenizer.json or merges.txt)"
    with pytest.raises(ModelError) as caught:
        Translator(folder, batch_size=4, max_new_tokens=24)
    assert str(caught.value) == f"{lack}; copy the one it was trained with there"
    config = load_config([], [f"data.tokenizer={tmp_path / 'nowhere'}"])
    with pytest.raises(ModelError) as caught:
        Translator(folder, batch_size=4, max_new_tokens=24, config=config)
    assert str(caught.value).startswith(f"{lack}, nor has the configuration: no tokenizer")
    config = load_config([], [f"data.tokenizer={trained}"])
    found = Translator(folder, batch_size=4, max_new_tokens=24, config=config)
    assert found.translate(["Thank you."]) == ["谢谢。"]


def test_missing_model_says_how_to_get_one(config, tmp_path):
    missing = tmp_path / "nothing"
    with pytest.raises(ModelError) as caught:
        evaluate(config, model=str(missing))
    assert str(caught.value) == (
        f"no model in {missing}; train one first (`python run.py student`) or name a folder with "
        "--model FOLDER"
    )


def test_incomplete_or_damaged_model_folder_says_what_is_wrong(student, tmp_path):
    folder = copy_of(student, tmp_path / "broken")
    weights = folder / "model.safetensors"
    messages = []
    for break_it in (
        lambda: weights.write_bytes(weights.read_bytes()[:-100]),
        weights.unlink,
        (folder / "config.json").unlink,
    ):
        break_it()
        with pytest.raises(ModelError) as caught:
            Translator(folder, batch_size=1, max_new_tokens=1)
        messages.append(str(caught.value))
    assert messages[0].startswith(f"model folder {folder} is damaged: model.safetensors holds")
    assert messages[0].endswith("; copy it again, or train again")
    assert messages[1].startswith(f"model folder {folder} has no weights")
    assert messages[2] == (
        f"{folder} is not a model folder, it has no config.json; name one such as "
        "models/student/final"
    )


def test_tokenizer_of_another_model_is_refused(student, tmp_path):
    folder = copy_of(student, tmp_path / "mixed")
    train_tokenizer(iter(["some other text " * 9, *PAIRS, *PAIRS.values()]), 400).save(folder)
    with pytest.raises(ModelError, match=r"the tokenizer has \d+ ids but model .* vocabulary rows"):
        Translator(folder, batch_size=1, max_new_tokens=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prompt": "poem"}, "prompt 'poem' is unknown"),
        ({"language_pairs": ["enzh"]}, "a direction that is none: 'enzh' is not two languages"),
        ({"max_seq_length": "long"}, 'has an unusable object "linguabridge"'),
        (["compact"], 'has an unusable object "linguabridge"'),
    ],
)
def test_unusable_settings_in_a_model_folder_are_named(student, tmp_path, content, message):
    folder = copy_of(student, tmp_path / "model")
    path = folder / "config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "linguabridge": content}), encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        Translator(folder, batch_size=1, max_new_tokens=1)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_direction_that_the_script_does_not_tell_has_to_be_named(student, tmp_path):
    folder = copy_of(student, tmp_path / "model")
    path = folder / "config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    ours = {**document["linguabridge"], "prompt": "chatml"}
    ours["language_pairs"] = ["en-zh", "zh-en", "en-fr"]
    path.write_text(json.dumps({**document, "linguabridge": ours}), encoding="utf-8")
    translator = Translator(folder, batch_size=1, max_new_tokens=1)
    assert translator.direction_of("谢谢。") == "zh-en"
    with pytest.raises(ConfigError, match=r"'Thank you\.' may be for en-zh or en-fr.*--direction"):
        translator.translate(["Thank you."])
    assert len(translator.translate(["Thank you."], direction="en-fr")) == 1


def command(config, texts, **changes) -> int:
    settings = {"model": None, "direction": None, "beam_size": 1, "as_json": False, **changes}
    return translate_command(config, texts, **settings)


def test_translate_command_prints_one_line_per_text_and_nothing_else(config, capsys):
    assert command(config, ["Thank you.", "", "谢谢。"]) == 0
    assert capsys.readouterr().out == "谢谢。\n\nThank you.\n"


def test_translate_command_reads_lines_of_stdin(config, capsys, monkeypatch):
    given = b"Thank you.\r\n\nI like tea."
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert command(config, []) == 0
    assert capsys.readouterr().out == "谢谢。\n\n我喜欢茶。\n"


def test_translate_command_reads_lines_of_a_file(config, capsys, tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"Thank you.\r\n\nI like tea.\n")
    assert command(config, [], source_file=path) == 0
    assert capsys.readouterr().out == "谢谢。\n\n我喜欢茶。\n"
    with pytest.raises(DataError, match=r"nothing.txt cannot be read: No such file"):
        command(config, [], source_file=tmp_path / "nothing.txt")


def test_what_a_model_loses_is_put_back(translator):
    """The model never saw a placeholder, so it loses them all."""
    source = "Thank you. %s {name} <b>I like tea.</b>"
    found = translator.translate([source])[0]
    assert keeps_protected(source, found)
    assert found == "谢谢。%s {name} <b>我喜欢茶。</b>"
    assert translator.translate(["谢谢。%s"])[0] == "Thank you. %s"


WRONG_NUMBER = "It costs 8.5 dollars."


def test_a_number_that_the_model_cannot_write_is_kept_all_the_same_or_named(translator):
    """The model has learned one price by heart, and says it of everything."""
    long = "It costs 84372.61 dollars."
    plain, wrong, found = translator.translate_checked(["Thank you.", WRONG_NUMBER, long])
    assert plain == Translation("谢谢。")
    for source, translation, number in ((WRONG_NUMBER, wrong, "8.5"), (long, found, "84372.61")):
        is_kept = keep_numbers("en-zh", [(source, translation.text)]) == [True]
        assert is_kept is (number in translation.text)
        assert is_kept is (translation.warnings == ())
        assert is_kept or number in translation.warnings[0]


def test_a_lost_number_is_warned_of_by_line_and_in_json(config, caplog, capsys):
    without = config.evaluation.model_copy(update={"preserve": False})
    unchecked = config.model_copy(update={"evaluation": without})
    texts = ["Thank you.", *[f"{WRONG_NUMBER} {n}" for n in range(30, 52)]]
    assert command(config, texts) == 0
    named = [record for record in caplog.messages if record.startswith("line ")]
    assert len(named) == 20
    assert named[0].startswith("line 2: ")
    assert caplog.messages[-1].startswith("22 of 23 lines lost something, as told of the first 20")
    caplog.clear()
    assert command(unchecked, texts) == 0
    assert caplog.messages == []
    capsys.readouterr()
    assert command(config, texts[:2], as_json=True) == 0
    records = json.loads(capsys.readouterr().out)["translations"]
    assert records[0]["warnings"] == []
    assert "8.5" in records[1]["warnings"][0]


def test_preserving_can_be_switched_off(student):
    plain = Translator(student, batch_size=4, max_new_tokens=24, preserve=False)
    source = "Thank you. %s {name} <b>I like tea.</b>"
    assert not keeps_protected(source, plain.translate([source])[0])
    assert plain.translate(["Thank you."]) == ["谢谢。"]


def test_comparison_tests_every_model_against_the_first(config, student, tmp_path):
    """A copy with damaged weights is worse, a plain copy is not."""
    same, worse = copy_of(student, tmp_path / "same"), copy_of(student, tmp_path / "worse")
    weights = load_file(worse / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    weights[name] = weights[name] * np.float32(-1.0)
    save_file(weights, worse / "model.safetensors")
    models = [str(student), str(same), str(worse)]
    result = compare(config, models, output=tmp_path / "out")
    names = list(result["systems"])
    assert len(names) == 3
    for direction in DIRECTIONS:
        tests = result["tests"][direction]
        assert list(tests) == names[1:]
        assert tests[names[1]]["bleu"] == {
            "difference": 0.0, "p_value": 1.0, "interval": tests[names[1]]["bleu"]["interval"],
        }  # fmt: skip
        assert tests[names[2]]["chrf"]["difference"] < -10
        assert tests[names[2]]["chrf"]["p_value"] < 0.05
    written = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert written == result
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert page.count('<svg class="reliability"') == 6
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def test_confident_and_right_is_well_calibrated(config, student):
    """The model has learned six of the seven pairs by heart."""
    scores = evaluate(config)["en-zh"]
    assert scores["token_accuracy"] > 0.85
    assert 0.0 <= scores["expected_calibration_error"] < 0.2
    assert scores["cross_entropy"] > 0.0
    low, high = scores["intervals"]["bleu"]
    assert low < high
    assert scores["comet"] is None
    assert "evaluation.comet_model" in scores["comet_missing"]
    assert (student.parent / "evaluation" / "report.html").is_file()


def test_a_model_compared_with_itself_is_refused(config, student):
    with pytest.raises(ConfigError, match="names a model twice"):
        compare(config, [str(student), f"{student}/"])


def test_several_files_are_tested_against_the_first(tmp_path):
    lines = {"ref": "a b c d\nb c d e\nc d e f\n", "one": "a b c d\nb c d e\nc d e f\n",
             "two": "a b x d\nb x d e\nc d e f\n"}  # fmt: skip
    for name, text in lines.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    one, two = tmp_path / "one", tmp_path / "two"
    result = evaluate_files([one, two], [tmp_path / "ref"], target_language="en")
    assert list(result) == [str(one), str(two)]
    assert "test" not in result[str(one)]
    assert result[str(two)]["test"]["bleu"]["difference"] < 0
    (tmp_path / "three").write_text("a\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"one has 3 lines but .*three has 1; line n of both"):
        evaluate_files([one, tmp_path / "three"], [tmp_path / "ref"])


class Keyboard(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_translate_command_answers_each_typed_line_at_once(config, capsys, monkeypatch):
    """Lines before a bad one are already on the screen; a block would hold them back."""
    given = b"Thank you.\nI like tea.\n\xff\n"
    monkeypatch.setattr(sys, "stdin", Keyboard(io.BytesIO(given)))
    with pytest.raises(DataError, match=r"^line 3 of the input"):
        command(config, [])
    assert capsys.readouterr().out == "谢谢。\n我喜欢茶。\n"


def test_translate_command_names_the_line_that_is_not_utf8(config, monkeypatch):
    given = "Thank you.\n星期一\n".encode("gbk")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    with pytest.raises(DataError, match=r"^line 2 of the input is not UTF-8 .* at byte 1 of"):
        command(config, [])


def test_translate_command_gives_one_json_object(config, capsys, student):
    assert command(config, ["Thank you.", "茶"], direction="en-zh", as_json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == str(student)
    assert result["translations"][0] == {
        "direction": "en-zh",
        "source": "Thank you.",
        "translation": "谢谢。",
        "warnings": [],
    }
    assert result["translations"][1]["direction"] == "en-zh"


def test_command_line_in_a_pipe(student):
    """The real process: translations alone on stdout, whatever Paddle says elsewhere."""
    result = subprocess.run(
        [sys.executable, "run.py", "translate", "--model", str(student)],
        cwd=ROOT,
        input="Thank you.\n谢谢。\n".encode(),
        capture_output=True,
        check=False,
    )
    assert result.stdout.decode() == "谢谢。\nThank you.\n"
    assert result.returncode == 0


def test_evaluate_files_scores_given_translations(tmp_path):
    (tmp_path / "hyp.txt").write_bytes("你好。\r\n谢谢你。\n".encode())
    (tmp_path / "ref.txt").write_text("你好。\n谢谢。\n", encoding="utf-8")
    (tmp_path / "ref2.txt").write_text("您好。\n谢谢你。", encoding="utf-8")
    references = [tmp_path / "ref.txt", tmp_path / "ref2.txt"]
    result = evaluate_files([tmp_path / "hyp.txt"], references)
    assert result["target_language"] == "zh"
    assert result["n"] == 2
    assert result["exact_match"] == 1.0
    one = evaluate_files([tmp_path / "hyp.txt"], references[:1], target_language="en")
    assert "tok:13a" in one["signatures"]["bleu"]
    assert one["exact_match"] == 0.5


def test_evaluate_files_names_both_line_counts(tmp_path):
    hypotheses, reference = tmp_path / "hyp.txt", tmp_path / "ref.txt"
    hypotheses.write_text("a\nb\n", encoding="utf-8")
    reference.write_text("a\nb\nc\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        evaluate_files([hypotheses], [reference])
    assert str(caught.value) == (
        f"{hypotheses} has 2 lines but {reference} has 3; line n of both must belong to the same "
        "sentence"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is not UTF-8 text (invalid start byte at byte 0); convert it first"),
        (b"", "is empty; it needs one line per sentence"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_evaluate_files_names_an_unusable_file(tmp_path, content, message):
    hypotheses = tmp_path / "hyp.txt"
    hypotheses.write_text("a\n", encoding="utf-8")
    reference = tmp_path / "ref.txt"
    if content is not None:
        reference.write_bytes(content)
    with pytest.raises(DataError) as caught:
        evaluate_files([hypotheses], [reference])
    assert str(caught.value) == f"{reference} {message}"
