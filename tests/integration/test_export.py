"""Exported models: what `transformers` computes with them, what they hold, and how they travel."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml

from src.checkpoint.format import HostTensor, Manifest, hash_file, read_tensors, write_folder
from src.checkpoint.manifest import MANIFEST_NAME, read_manifest
from src.errors import CheckpointCorrupt, ConfigError, ModelError
from src.evaluation.trained_model import TrainedModel
from src.export.check import check_folder
from src.export.folder import EXPORTED, WeightType, export_model
from src.export.hub import parse_address
from src.export.probes import make_probes
from src.models.hub import model_fingerprint
from src.models.lora import adapter_document
from src.schema import LoraConfig
from tests.fakes.local_server import serving
from tests.fakes.model_hub import ModelHub, _Handler

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "exported"
TRANSFORMERS = ROOT / "tests" / "golden" / "exported_transformers.json"


@pytest.fixture
def trained(tmp_path):
    """A model folder as training leaves it: <run>/final with a manifest."""
    folder = tmp_path / "student" / "final"
    folder.parent.mkdir()
    settings = json.loads((GOLDEN / "config.json").read_text(encoding="utf-8"))
    write_folder(
        folder,
        step=250,
        tensors={"model.safetensors": read_tensors(GOLDEN / "model.safetensors")},
        documents={
            "config.json": json.dumps(settings),
            **{
                name: (GOLDEN / name).read_text(encoding="utf-8")
                for name in ("tokenizer.json", "tokenizer_config.json")
            },
        },
        facts={"ingredients": {"corpus": "text/tokens"}},
    )
    return folder


def answers(folder: Path) -> dict[str, list[list[int]]]:
    return {
        direction: [probe["output_ids"] for probe in group["probes"]]
        for direction, group in make_probes(folder)["directions"].items()
    }


def card(folder: Path) -> tuple[dict[str, object], str]:
    _, head, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), text


def reseal(folder: Path) -> None:
    """Makes the manifest agree with changed files."""
    old = read_manifest(folder)
    files = {name: hash_file(folder / name) for name in old.files}
    manifest = Manifest(old.step, old.parent, old.facts, files)
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")


def test_our_ids_are_those_of_transformers():
    """Prompts and greedy answers of the stored model, id by id."""
    theirs = json.loads(TRANSFORMERS.read_text(encoding="utf-8"))["directions"]
    eos_id = TrainedModel(GOLDEN).tokenizer.eos_id
    ours = make_probes(GOLDEN)["directions"]
    assert set(ours) == set(theirs) == {"en-zh", "zh-en"}
    for direction, group in ours.items():
        for probe, answer in zip(group["probes"], theirs[direction], strict=True):
            assert probe["prompt_ids"] == answer["prompt_ids"]
            assert probe["ended"]
            assert [*probe["output_ids"], eos_id] == answer["output_ids"]


@pytest.mark.slow
def test_transformers_itself_answers_as_we_do(trained, tmp_path):
    """Installs torch and transformers in an environment of their own; needs a package index."""
    environment = tmp_path / "reference"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", "torch", "transformers", "safetensors"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"torch cannot be installed here: {installed.stderr.splitlines()[-1]}")
    types: tuple[WeightType, ...] = ("float32", "bfloat16")
    for weights in types:
        output = tmp_path / weights
        export_model(str(trained), output, weight_type=weights)
        script = ROOT / "scripts" / "check_with_transformers.py"
        subprocess.run([python, script, output], check=True)


def test_export_holds_what_others_need(trained, tmp_path):
    output = tmp_path / "out"
    result = export_model(str(trained), output, license_id="apache-2.0")
    assert set(result["files"]) == {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "probes.json",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert {path.name for path in output.iterdir()} == {*result["files"], MANIFEST_NAME}
    assert check_folder(output) == {
        "folder": str(output), "files": 7, "bytes": result["bytes"], "probes": 12,
    }  # fmt: skip
    generation = json.loads((output / "generation_config.json").read_text(encoding="utf-8"))
    tokenizer = TrainedModel(output).tokenizer
    assert generation["eos_token_id"] == tokenizer.eos_id
    assert generation["pad_token_id"] == tokenizer.pad_id
    assert generation["do_sample"] is False
    head, text = card(output)
    assert head["license"] == "apache-2.0"
    assert head["language"] == ["en", "zh"]
    assert "{text}<to_zh>" in text
    assert "not evaluated" in text


def test_every_type_and_any_number_of_files_gives_a_working_model(trained, tmp_path):
    expected = answers(trained)
    export_model(str(trained), tmp_path / "split", shard_bytes=40_000)
    shards = sorted(path.name for path in (tmp_path / "split").glob("model-*.safetensors"))
    assert shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    assert len(shards) >= 3
    assert answers(tmp_path / "split") == expected
    assert check_folder(tmp_path / "split")["probes"] == 12
    types: tuple[tuple[WeightType, str], ...] = (("bfloat16", "BF16"), ("float16", "F16"))
    for weights, dtype in types:
        export_model(str(trained), tmp_path / weights, weight_type=weights)
        tensors = read_tensors(tmp_path / weights / "model.safetensors")
        assert {tensor.dtype for tensor in tensors.values()} == {dtype}
        config = json.loads((tmp_path / weights / "config.json").read_text(encoding="utf-8"))
        assert config["torch_dtype"] == weights
        check_folder(tmp_path / weights)


def test_adapter_is_merged(trained, tmp_path):
    """The exported weights are the base's plus B A · alpha / r, computed here in NumPy."""
    target = "model.layers.0.self_attn.q_proj.weight"
    base = read_tensors(trained / "model.safetensors")
    random = np.random.default_rng(3)
    lower = random.normal(size=(2, 32)).astype(np.float32)
    upper = random.normal(size=(32, 2)).astype(np.float32)
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    adapter = tmp_path / "tuned" / "final"
    adapter.parent.mkdir()
    documents = {
        name: (trained / name).read_text(encoding="utf-8")
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json")
    }
    documents["adapter.json"] = adapter_document(
        LoraConfig(r=2, alpha=4, targets=("q_proj",)),
        base=str(trained),
        base_fingerprint=model_fingerprint(str(trained)),
    )
    tensors = {
        f"{stem}.lora_A.weight": HostTensor.from_numpy(lower),
        f"{stem}.lora_B.weight": HostTensor.from_numpy(upper),
    }
    write_folder(
        adapter, step=1, tensors={"adapter.safetensors": tensors}, documents=documents, facts={}
    )
    export_model(str(adapter), tmp_path / "out")
    merged = read_tensors(tmp_path / "out" / "model.safetensors")
    assert set(merged) == set(base)
    wanted = base[target].data + 2.0 * (upper @ lower)
    np.testing.assert_allclose(merged[target].data, wanted, rtol=1e-6, atol=1e-6)
    other = "model.layers.1.self_attn.q_proj.weight"
    np.testing.assert_array_equal(merged[other].data, base[other].data)


def test_raw_weights_beside_a_moving_average_are_left_behind(trained, tmp_path):
    shutil.copy(trained / "model.safetensors", trained / "raw.safetensors")
    result = export_model(str(trained), tmp_path / "out")
    assert "raw.safetensors" not in result["files"]
    ours = read_tensors(tmp_path / "out" / "model.safetensors")
    theirs = read_tensors(trained / "model.safetensors")
    assert all((ours[name].data == theirs[name].data).all() for name in theirs)


def test_card_tells_scores_of_these_weights_only(trained, tmp_path):
    scores = {
        "split": "test", "n": 1234, "bleu": 31.5, "chrf": 28.25, "chrf++": 22.125,
        "signatures": {"bleu": "nrefs:1|tok:zh"},
        "model_fingerprint": model_fingerprint(str(trained)),
    }  # fmt: skip
    path = trained.parent / "evaluation" / "scores.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"en-zh": scores}), encoding="utf-8")
    export_model(str(trained), tmp_path / "out")
    _, text = card(tmp_path / "out")
    assert "| en-zh | test | 1,234 | 31.50 | 28.25 | 22.12 |" in text
    assert "`nrefs:1|tok:zh`" in text
    path.write_text(json.dumps({"en-zh": {**scores, "model_fingerprint": "x"}}), encoding="utf-8")
    export_model(str(trained), tmp_path / "out")
    assert "31.50" not in card(tmp_path / "out")[1]


def test_card_names_base_teacher_and_data_and_takes_the_base_models_licence(trained, tmp_path):
    content = {
        "data": {"sources": [{"path": "corpus/{en,zh}.txt", "name": "talks"}]},
        "student": {"output_dir": str(trained.parent), "model_name": "Qwen/Qwen2.5-0.5B"},
        "teacher": {"model_name": "Qwen/Qwen2.5-7B"},
    }
    (trained / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    export_model(str(trained), tmp_path / "out")
    head, text = card(tmp_path / "out")
    assert head["license"] == "apache-2.0"
    assert head["base_model"] == "Qwen/Qwen2.5-0.5B"
    assert "distilled from `Qwen/Qwen2.5-7B`" in text
    assert "Sources: `talks`" in text


def test_card_states_no_licence_and_no_origin_that_is_not_known(trained, tmp_path, caplog):
    export_model(str(trained), tmp_path / "out")
    head, text = card(tmp_path / "out")
    assert head["license"] == "unknown"
    assert "random weights" not in text
    assert "tuned from" not in text
    assert any("--license" in record.message for record in caplog.records)


def test_an_export_replaces_an_export_and_nothing_else(trained, tmp_path):
    output = tmp_path / "out"
    export_model(str(trained), output)
    first = hash_file(output / MANIFEST_NAME)
    export_model(str(trained), output)
    assert hash_file(output / MANIFEST_NAME) == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    for occupied in (tmp_path / "mine", tmp_path / "mine" / "letter.txt"):
        with pytest.raises(ConfigError, match=r"exists and is no exported model"):
            export_model(str(trained), occupied)
    with pytest.raises(ConfigError, match=r"is the model itself"):
        export_model(str(trained), trained)
    assert (tmp_path / "mine" / "letter.txt").read_text(encoding="utf-8") == "dear"


def test_check_finds_damage_and_changed_answers(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(GOLDEN, folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 0x40
    weights.write_bytes(data)
    with pytest.raises(CheckpointCorrupt, match=r"model.safetensors has SHA-256"):
        check_folder(folder)
    # Somebody fixes the manifest, too: the probes still tell.
    data[-2000:] = bytes(2000)
    weights.write_bytes(data)
    reseal(folder)
    with pytest.raises(ModelError, match=r"of 12 probes are answered otherwise"):
        check_folder(folder)


def test_check_of_a_checkpoint_says_how_to_export_it(trained):
    with pytest.raises(ModelError, match=r"is a checkpoint, not an exported model; export it"):
        check_folder(trained)


def test_a_killed_export_leaves_no_folder_and_the_next_one_works(trained, tmp_path):
    output = tmp_path / "out"
    program = (
        "import sys; from pathlib import Path; from src.export.folder import export_model; "
        "export_model(sys.argv[1], Path(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(trained), str(output)],
        cwd=ROOT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    partial = tmp_path / "out.partial" / "model.safetensors"
    while not partial.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    export_model(str(trained), output)
    check_folder(output)
    assert not partial.exists()


class CardHandler(_Handler):
    """The hub with the check of model cards that it makes before a commit."""

    def _route(self, path: str, body: bytes) -> None:
        if path != "/api/validate-yaml":
            super()._route(path, body)
            return
        head = json.loads(body)["content"].split("---\n", 2)[1]
        errors = [] if yaml.safe_load(head).get("license") else [{"message": "no license"}]
        self._send_json({"errors": errors, "warnings": []})

    def _send(self, content, status, headers) -> None:
        """Downloads name the commit and the content, as snapshot_download asks for."""
        if match := re.fullmatch(r"/[^/]+/[^/]+/resolve/([^/]+)/.+", self.path):
            etag = hashlib.sha256(content).hexdigest()
            headers = {**headers, "X-Repo-Commit": match[1], "ETag": f'"{etag}"'}
        super()._send(content, status, headers)


@contextmanager
def card_hub():
    hub = ModelHub()
    with serving(type("HubHandler", (CardHandler,), {"hub": hub})) as address:
        yield hub, address


def command(address: str, token: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "run.py", "export", *arguments],
        cwd=ROOT, env=environment, capture_output=True, check=False, text=True,
    )  # fmt: skip


def test_push_then_check_from_the_hub(trained, tmp_path):
    with card_hub() as (hub, address):
        place = "hf://me/small"
        model = ("--model", str(trained), "--output", str(tmp_path / "out"))
        pushed = command(address, hub.token, *model, "--push", place, "--json")
        assert pushed.returncode == 0, pushed.stderr
        assert json.loads(pushed.stdout)["pushed_to"].startswith(f"{address}/me/small/commit/")
        files = hub.files("me/small")
        local = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        assert {name: files.get(name) for name in local} == local
        checked = command(address, hub.token, "--check", place, "--json")
        assert checked.returncode == 0, checked.stderr
        assert json.loads(checked.stdout)["probes"] == 12
        refused = command(address, "wrong", "--check", place)
        assert refused.returncode == 1
        sentence = refused.stderr.strip().splitlines()[-1]
        assert sentence.startswith("export: downloading hf://me/small: the hub answers 401")
        assert sentence.endswith("put a token that may write there into HF_TOKEN")
        unknown = command(address, hub.token, "--check", "hf://me/nothing")
        assert unknown.returncode == 1
        assert (
            unknown.stderr.strip()
            .splitlines()[-1]
            .endswith("check the name; a private model needs a token in HF_TOKEN")
        )
    gone = command(address, hub.token, "--check", place)
    assert gone.returncode == 1
    assert "the hub cannot be reached" in gone.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "text", ["hf://", "hf://me", "hf://me/a/b", "me/a", "hf://../x", "s3://a/b"]
)
def test_addresses_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="write it as hf://user/model"):
        parse_address(text)


def test_addresses_may_name_a_revision():
    model = parse_address("hf://me/small@v1.0")
    assert (model.name, model.revision, str(model)) == ("me/small", "v1.0", "hf://me/small@v1.0")


def test_exported_folder_is_known_by_its_manifest():
    assert EXPORTED in read_manifest(GOLDEN).facts
