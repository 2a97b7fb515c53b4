#!/usr/bin/env bash
# Keeps a training run going on this machine until it is done: starts it again when it was
# interrupted or has crashed. The deciding is done by `run.py --supervise`; see docs/commands/supervise.md,
# which also holds a systemd unit that calls this script.
#
#   deploy/aliyun/supervise.sh teacher --config my.yaml
#   deploy/aliyun/supervise.sh student --config my.yaml --ranks 4
#
# PYTHON names another Python than the project's .venv.
set -Eeuo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

case "${1:-}" in
  teacher | student) ;;
  *)
    echo "supervise.sh: name the stage, teacher or student; e.g. supervise.sh teacher --config my.yaml" >&2
    exit 2
    ;;
esac

if [[ -z "${PYTHON:-}" ]]; then
  PYTHON="$ROOT/.venv/bin/python"
  if [[ ! -x "$PYTHON" ]]; then
    echo "supervise.sh: $PYTHON does not exist; run make in $ROOT, or set PYTHON" >&2
    exit 2
  fi
fi

# exec: signals, of systemd too, reach the one that passes them on.
exec "$PYTHON" "$ROOT/run.py" "$@" --supervise
