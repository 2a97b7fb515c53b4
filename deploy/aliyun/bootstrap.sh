#!/usr/bin/env bash
# What an instance does after its start script has fetched the program: check the driver, make the
# environment, hand over to src.cloud.worker, and switch itself off. Started in the folder that
# holds settings.json and bucket.py; whatever goes wrong before the worker runs is reported to the
# bucket from here, so that the controller need not wait for silence.
set -Eeuo pipefail

ROOT="$PWD"
PROGRAM="$ROOT/program"
STEP="bootstrap"

setting() {
  python3 -c 'import json, sys; print(json.load(open("settings.json")).get(sys.argv[1]) or "")' "$1"
}

say() {
  printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*"
}

switch_off() {
  say "switching off"
  shutdown -h now || true
}

report_failure() {
  local reason="$1"
  trap - ERR # the first reason is the one to tell
  say "failed: $reason"
  python3 - "$(setting launch)" "$reason" > failure.json <<'PYTHON'
import json, sys
launch, reason = sys.argv[1:3]
print(json.dumps({"launch": launch, "beat": 1, "phase": "failed", "exit_code": 1, "message": reason}))
PYTHON
  python3 bucket.py put "runs/$(setting run)/status/$(setting launch).json" failure.json || true
  python3 bucket.py put "runs/$(setting run)/logs/$(setting launch).txt" bootstrap.log || true
  switch_off
  exit 1
}

# Anything below that fails and is not expected to.
trap 'report_failure "$STEP: a command failed, see the log"' ERR

check_driver() {
  STEP="checking the GPU driver"
  command -v nvidia-smi > /dev/null ||
    report_failure "the image has no NVIDIA driver; set cloud.image to one that has"
  nvidia-smi -L | grep -q '^GPU' ||
    report_failure "the NVIDIA driver sees no GPU; the instance type or the image is wrong"
  nvidia-smi -L
}

make_environment() {
  STEP="making the Python environment"
  local index=()
  [[ -z "$(setting package_index)" ]] || index=(--index-url "$(setting package_index)")
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    report_failure "the image has Python $(python3 -V); 3.10 or newer is needed"
  if ! python3 -c 'import ensurepip' 2> /dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv
  fi
  python3 -m venv "$ROOT/.venv"
  "$ROOT/.venv/bin/python" -m pip install --quiet --retries 10 --timeout 30 "${index[@]}" \
    --requirement "$PROGRAM/requirements-gpu.txt"
  STEP="checking that Paddle sees the GPU"
  "$ROOT/.venv/bin/python" -c '
import sys, paddle
sys.exit(0 if paddle.device.cuda.device_count() else "no GPU")' ||
    report_failure "Paddle sees no GPU: the driver is too old for its CUDA version"
}

main() {
  local python
  check_driver
  python="$(setting python)"
  if [[ -z "$python" ]]; then
    make_environment
    python="$ROOT/.venv/bin/python"
  fi
  [[ -x "$python" ]] || report_failure "cloud.python is $python, which the image has not"
  STEP="starting the worker"
  trap - ERR
  local code=0
  PYTHONPATH="$PROGRAM" "$python" -m src.cloud.worker "$ROOT/settings.json" || code=$?
  say "the worker ended with $code"
  if [[ -n "$(setting command)" && "$(setting command)" != "[]" ]]; then
    switch_off
  fi
}

main
