#!/usr/bin/env bash
# Installs torch, torchtune, TRL and Liger from PyPI into a virtual environment of their own, for
# benchmarks/distillation_speed.py --torch FOLDER/bin/python.
#
#     benchmarks/distillation_torch/install.sh [FOLDER]      (default: runs/benchmarks/torch)
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${1:-$here/../../runs/benchmarks/torch}"

python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
"$folder/bin/python" -c "import liger_kernel, torchtune, trl"
echo "the baselines are in $folder"
