#!/usr/bin/env bash
# Installs OpusFilter from PyPI into a virtual environment of its own, for benchmarks/process.py.
#
#     benchmarks/opusfilter/install.sh [FOLDER]      (default: runs/benchmarks/opusfilter)
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${1:-$here/../../runs/benchmarks/opusfilter}"

python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
"$folder/bin/opusfilter" --help > /dev/null
echo "OpusFilter is in $folder"
