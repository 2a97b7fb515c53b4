#!/usr/bin/env bash
# Turns the ranges of pyproject.toml into the three pinned requirement files. `make lock` runs it.
# Pins that still fit stay as they are; arguments go to uv (e.g. --upgrade).
set -euo pipefail

cd "$(dirname "$0")/.."
if ! uv --version >/dev/null 2>&1; then
    echo "make lock needs uv: pip install uv" >&2
    exit 1
fi

# Everything is made beside the repository and moved at the end: the files change together or not.
workspace=$(mktemp -d)
trap 'rm -rf "$workspace"' EXIT
root=$PWD
cp pyproject.toml requirements*.txt "$workspace"
cd "$workspace"

compile() {
    uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
        --custom-compile-command "make lock" "$@" >/dev/null
}
compile pyproject.toml --extra cpu --output-file requirements.txt "$@"
compile --group dev --constraint requirements.txt --output-file requirements-dev.txt "$@"

# Paddle's own index gives no hashes, and pip wants hashes for all lines or none: hence none in it.
{
    cat <<'HEADER'
# For machines with NVIDIA GPUs (Linux x86_64, CUDA 12.6): the versions of requirements.txt with
# the GPU build of Paddle, which is not on PyPI (that stops at 2.6.2) but on Paddle's own package
# index. Install into an environment of its own, or `pip uninstall paddlepaddle` first:
#
#     python -m pip install -r requirements-gpu.txt
#
# For another CUDA version replace cu126 below. Made by `make lock`, without hashes because that
# index publishes none.
--extra-index-url https://www.paddlepaddle.org.cn/packages/stable/cu126/
HEADER
    awk '/^paddlepaddle==.*aarch64.*==/ && !/!=/ { next }
         /^paddlepaddle==/ { sub(/^paddlepaddle/, "paddlepaddle-gpu"); sub(/ ;.*/, "") }
         /^[A-Za-z0-9]/ { sub(/ *\\$/, ""); print }' requirements.txt
} >requirements-gpu.txt

mv requirements.txt requirements-dev.txt requirements-gpu.txt "$root"
