#!/usr/bin/env bash
# Watches a training run on another machine from this one (Linux, macOS); monitor_training.ps1 does
# the same on Windows. Nothing here can disturb the run: Ctrl-C ends only the watching.
#
#   monitor_training.sh root@47.96.0.1                       # the default runs below ~/linguabridge
#   monitor_training.sh -i ~/.ssh/key root@host models/teacher
#   monitor_training.sh --once --json root@host | jq .
#   monitor_training.sh --spot --config my.yaml              # a run of spot.py, through its bucket
set -Eeuo pipefail

readonly EXIT_USAGE=2 SSH_FAILED=255 FIRST_WAIT=5 LONGEST_WAIT=60
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

usage() {
  cat << 'HELP'
usage: monitor_training.sh [options] USER@HOST [FOLDER …]
       monitor_training.sh --spot [--config FILE …]

FOLDER is the output_dir of a run on that machine (default: the teacher's and the student's).

options:
  -i FILE        private key for ssh
  -p PORT        port of ssh (default: ssh's own)
  -d FOLDER      where the project is on that machine (default: linguabridge)
  --python PATH  Python there (default: .venv/bin/python of the project)
  --once         show the state and end
  --json         one JSON object on stdout, once
  --spot         a run that spot.py rents machines for: its state, then its log as it grows
  --config FILE  with --spot: the configuration of the run
  -h, --help     this text
HELP
}

refuse() {
  echo "monitor_training.sh: $1; --help tells more" >&2
  exit "$EXIT_USAGE"
}

value_of() { # option, number of arguments that are left
  (($2 >= 2)) || refuse "$1 needs a value"
}

ssh_options=(-o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=4)
remote_folder="linguabridge"
remote_python=".venv/bin/python"
monitor_options=()
configs=()
spot=false
is_once=false
host=""
folders=()

while (($#)); do
  case "$1" in
    -i) value_of "$1" $#; ssh_options+=(-i "$2"); shift ;;
    -p) value_of "$1" $#; ssh_options+=(-p "$2"); shift ;;
    -d) value_of "$1" $#; remote_folder="$2"; shift ;;
    --python) value_of "$1" $#; remote_python="$2"; shift ;;
    --config) value_of "$1" $#; configs+=(--config "$2"); shift ;;
    --once) monitor_options+=(--once); is_once=true ;;
    --json) monitor_options+=(--json); is_once=true ;;
    --spot) spot=true ;;
    -h | --help) usage; exit 0 ;;
    -*) refuse "unknown option $1" ;;
    *) if [[ -z "$host" ]]; then host="$1"; else folders+=("$1"); fi ;;
  esac
  shift
done

if "$spot"; then
  [[ -z "$host" ]] || refuse "--spot takes no host: the run's bucket says where it is"
  python="${PYTHON:-$ROOT/.venv/bin/python}"
  "$python" "$ROOT/deploy/aliyun/spot.py" status ${configs[@]+"${configs[@]}"}
  if ! "$is_once"; then
    exec "$python" "$ROOT/deploy/aliyun/spot.py" logs --follow ${configs[@]+"${configs[@]}"}
  fi
  exit 0
fi

[[ -n "$host" ]] || refuse "name the machine, e.g. root@47.96.0.1"
((${#configs[@]} == 0)) || refuse "--config goes with --spot"

# The words pass through a shell over there, so each is quoted for it.
words=("$remote_python" run.py monitor
  ${folders[@]+"${folders[@]}"} ${monitor_options[@]+"${monitor_options[@]}"})
printf -v command '%q ' "${words[@]}"
printf -v command 'cd %q && %s' "$remote_folder" "$command"

# A picture that moves needs a terminal over there, too.
if [[ -t 1 ]] && ! "$is_once"; then
  ssh_options+=(-t)
fi

wait=$FIRST_WAIT
while true; do
  began=$SECONDS
  code=0
  ssh "${ssh_options[@]}" -- "$host" "$command" || code=$?
  if ((code != SSH_FAILED)) || "$is_once"; then
    exit "$code"
  fi
  # A connection that held shows that the machine is there: begin with short waits again.
  if ((SECONDS - began > LONGEST_WAIT)); then
    wait=$FIRST_WAIT
  fi
  echo "monitor_training.sh: no connection to $host; trying again in $wait s (Ctrl-C ends)" >&2
  sleep "$wait"
  wait=$((wait * 2 > LONGEST_WAIT ? LONGEST_WAIT : wait * 2))
done
