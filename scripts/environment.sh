#!/usr/bin/env bash
# Makes .venv. `make` runs it; arguments: runtime (anew, from requirements.txt) or dev (adds
# requirements-dev.txt). The marker .venv/.ready-NAME is written last, so an interrupted
# installation is never taken for a whole one.
#   PYTHON  interpreter to use; otherwise python3 or the newest of 3.12, 3.11, 3.10 on PATH
#   UV      uv, or empty to use pip
set -euo pipefail

cd "$(dirname "$0")/.."
readonly venv_python=.venv/bin/python
uv=${UV-uv}
if [ -n "$uv" ] && ! "$uv" --version >/dev/null 2>&1; then
    uv=""
fi
# Byte code is made once here and not at each start, whatever the caller's shell says.
unset PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

fail() {
    echo "make: $*" >&2
    exit 1
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_supported "$PYTHON" && echo "$PYTHON" && return
        fail "PYTHON=$PYTHON is not a Python 3.10, 3.11 or 3.12; name one that is"
    fi
    for candidate in python3 python3.12 python3.11 python3.10; do
        is_supported "$candidate" && echo "$candidate" && return
    done
    fail "Python 3.10, 3.11 or 3.12 is needed and python3 is" \
        "$(python3 --version 2>/dev/null || echo absent); install one, or name it: make PYTHON=…"
}

make_venv() {
    local python
    python=$(find_python)
    rm -rf .venv
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
    elif "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv .venv
    else
        fail "$python lacks venv and ensurepip; on Debian and Ubuntu: apt-get install python3-venv"
    fi
}

# Without byte-compiling everything: of 12,000 modules a tenth is ever loaded, and compiling them
# all is nearly half of pip's time. `warm_up` compiles those that are.
install() {
    if [ -n "$uv" ]; then
        "$uv" pip install --quiet --python "$venv_python" --no-build-isolation --require-hashes "$@"
    else
        "$venv_python" -m pip install --quiet --no-compile --no-build-isolation --require-hashes "$@"
    fi
}

# The lines of requirements.txt that build the two source-only packages, hashes included. With pip,
# which is better replaced before it does the real work.
build_requirements() {
    awk '/^(packaging|pip|setuptools|setuptools-scm|tomli|typing-extensions|wheel)==/ { inside = 1 }
         inside { print }
         inside && !/\\$/ { inside = 0 }' requirements.txt
}

warm_up() {
    local modules="paddle, paddlenlp.transformers, paddlenlp.peft, pyarrow.parquet, visualdl"
    "$venv_python" -W ignore -c "import $modules" >/dev/null ||
        fail "the packages are installed but Paddle does not load (see above)"
}

case ${1:-} in
runtime)
    make_venv
    echo "Filling .venv from requirements.txt: about 120 packages, 1.6 GB; a minute or two." >&2
    # In a file and not a pipe: pip opens the argument by name.
    build_requirements >.venv/build-requirements.txt
    install -r .venv/build-requirements.txt
    install -r requirements.txt
    warm_up
    ;;
dev)
    echo "Adding requirements-dev.txt to .venv." >&2
    install -r requirements-dev.txt
    ;;
*)
    fail "usage: scripts/environment.sh runtime|dev"
    ;;
esac
touch ".venv/.ready-$1"
