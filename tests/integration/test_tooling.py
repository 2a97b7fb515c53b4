"""The scripts behind `make` and `.ci/run`, with stand-ins for Python, pip and make on PATH.

Nothing is installed: what is tested is which commands are run, in which order, and what a person
reads when the machine lacks something.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    *("awk", "bash", "cat", "chmod", "cp", "dirname", "env", "grep", "mkdir", "mktemp"),
    *("rm", "tail", "tee", "touch"),
)

SUPPORTED = """\
case "$*" in
*version_info*) exit 0 ;;
*"import ensurepip"*) exit 0 ;;
"-m venv .venv") mkdir -p .venv/bin && cp "$0.installed" .venv/bin/python ;;
*) exit 99 ;;
esac
"""
UNSUPPORTED = 'case "$*" in --version) echo "Python 3.13.1" ;; *) exit 1 ;; esac\n'
WITHOUT_ENSUREPIP = 'case "$*" in *ensurepip*) exit 1 ;; esac\n'
RECORDING = 'echo "$*" >> log\n'


class Checkout:
    """A copy of the scripts in a folder with a space in its name, and a PATH with basic tools."""

    def __init__(self, folder: Path):
        self.root = folder / "my checkout"
        self.binaries = folder / "bin"
        self.binaries.mkdir()
        for name in TOOLS:
            self.binaries.joinpath(name).symlink_to(shutil.which(name) or name)
        for name in ("scripts/environment.sh", ".ci/run", "Makefile"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        for name in ("requirements.txt", "requirements-dev.txt"):
            shutil.copy(ROOT / name, self.root / name)

    def add(self, name: str, content: str) -> None:
        path = self.binaries / name
        path.write_text(f"#!{shutil.which('bash')}\n{content}", encoding="utf-8")
        path.chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / command[0]), *command[1:]],
            env={"PATH": str(self.binaries), **environment},
            cwd=self.root,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    def log(self) -> list[str]:
        return (self.root / "log").read_text(encoding="utf-8").splitlines()

    def is_ready(self, name: str) -> bool:
        return (self.root / ".venv" / f".ready-{name}").exists()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_named_interpreter_of_another_version_is_refused(checkout):
    checkout.add("python3", SUPPORTED)
    checkout.add("old", UNSUPPORTED)
    result = checkout.run("scripts/environment.sh", "runtime", PYTHON="old")
    assert result.returncode == 1
    assert result.stderr == (
        "make: PYTHON=old is not a Python 3.10, 3.11 or 3.12; name one that is\n"
    )


def test_machine_without_a_supported_python_is_told_so(checkout):
    checkout.add("python3", UNSUPPORTED)
    result = checkout.run("scripts/environment.sh", "runtime")
    assert result.returncode == 1
    assert result.stderr == (
        "make: Python 3.10, 3.11 or 3.12 is needed and python3 is Python 3.13.1; "
        "install one, or name it: make PYTHON=…\n"
    )


def test_python_without_ensurepip_names_the_package_to_install(checkout):
    checkout.add("python3", WITHOUT_ENSUREPIP)
    result = checkout.run("scripts/environment.sh", "runtime")
    assert result.returncode == 1
    assert result.stderr == (
        "make: python3 lacks venv and ensurepip; "
        "on Debian and Ubuntu: apt-get install python3-venv\n"
    )


def test_older_python_beside_too_new_one_is_found(checkout):
    checkout.add("python3", UNSUPPORTED)
    checkout.add("python3.11", SUPPORTED)
    checkout.add("python3.11.installed", RECORDING)
    assert checkout.run("scripts/environment.sh", "runtime").returncode == 0
    assert checkout.is_ready("runtime")


def test_everything_is_installed_with_hashes_and_what_builds_packages_first(checkout):
    checkout.add("python3", SUPPORTED)
    checkout.add("python3.installed", RECORDING)
    assert checkout.run("scripts/environment.sh", "runtime").returncode == 0
    assert checkout.run("scripts/environment.sh", "dev").returncode == 0
    installs = [line for line in checkout.log() if line.startswith("-m pip install")]
    assert [line.rpartition(" ")[2] for line in installs] == [
        ".venv/build-requirements.txt",
        "requirements.txt",
        "requirements-dev.txt",
    ]
    assert all("--require-hashes" in line for line in installs)
    assert "import paddle" in next(line for line in checkout.log() if "-c" in line.split())
    build = (checkout.root / ".venv/build-requirements.txt").read_text(encoding="utf-8")
    names = re.findall(r"^([a-z-]+)==", build, flags=re.MULTILINE)
    assert names == [
        "packaging",
        "pip",
        "setuptools",
        "setuptools-scm",
        "tomli",
        "typing-extensions",
        "wheel",
    ]
    assert build.count("--hash=sha256:") >= len(names)
    assert checkout.is_ready("runtime")
    assert checkout.is_ready("dev")


@pytest.mark.parametrize("failing", ["build-requirements", "requirements.txt", "import paddle"])
def test_failed_installation_is_not_taken_for_a_whole_one(checkout, failing):
    checkout.add("python3", SUPPORTED)
    checkout.add("python3.installed", f'case "$*" in *"{failing}"*) exit 1 ;; esac\n')
    assert checkout.run("scripts/environment.sh", "runtime").returncode != 0
    assert not checkout.is_ready("runtime")


def test_uv_is_used_when_it_works(checkout):
    checkout.add("python3", 'case "$*" in *sys.executable*) echo /the/python ;; esac\n')
    checkout.add(
        "uv",
        'echo "$*" >> log\n'
        'case "$1" in venv) mkdir -p .venv/bin && cp "$(dirname "$0")/nothing" .venv/bin/python;; '
        "esac\n",
    )
    checkout.add("nothing", "exit 0\n")
    assert checkout.run("scripts/environment.sh", "runtime").returncode == 0
    assert "venv --quiet --python /the/python .venv" in checkout.log()
    installs = [line for line in checkout.log() if line.startswith("pip install")]
    assert len(installs) == 2
    assert all("--require-hashes" in line for line in installs)


def test_ci_ends_with_the_summary_of_pytest_also_after_failure(checkout):
    summary = "===== 1 failed, 2 passed in 3.45s ====="
    checkout.add(
        "make",
        'echo "$*" >> log\ncase "$*" in *test*) '
        f'echo "{summary}"; echo "make: *** [test] Error 1" >&2; exit 2 ;; esac\n',
    )
    result = checkout.run(".ci/run")
    assert result.returncode == 2
    assert result.stdout.splitlines()[-1] == summary
    assert [line.rpartition(" ")[2] for line in checkout.log()] == ["check", "test"]


def test_ci_does_not_test_what_does_not_pass_the_checks(checkout):
    checkout.add("make", 'echo "$*" >> log\nexit 2\n')
    assert checkout.run(".ci/run").returncode == 2
    assert len(checkout.log()) == 1


def test_make_help_lists_the_targets():
    result = subprocess.run(
        ["make", "--no-print-directory", "help"],  # noqa: S607  make is what the user types
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    listed = re.findall(r"^  make (\S+) +\S", result.stdout, flags=re.MULTILINE)
    assert listed == ["help", "demo", "test", "check", "coverage", "docs", "lock", "clean"]
