# shellcheck shell=bash disable=SC2034  # the scripts use what is set here
# What the launch scripts share; they source it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python}
runs=${KITI_RUNS_DIR:-$root/runs}
dry_run=''

die() {
  echo "$(basename "$0"): $1" >&2
  exit 2
}

# The comment at the head of the script.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$1"; }

# take_experiment EXPERIMENT [OVERRIDE...]: experiments of a plug-in are left to kiti-train.
take_experiment() {
  local known
  known=$(cd "$root/conf/experiment" && printf '%s\n' *.yaml | sed 's/\.yaml$//')
  (($#)) || die "no experiment given; there are: ${known//$'\n'/, }"
  experiment=${1#experiment=} overrides=("${@:2}")
  [[ " $* " == *" --plugin"* ]] || grep -qxF -e "$experiment" <<<"$known" ||
    die "no experiment '$experiment'; there are: ${known//$'\n'/, }"
}

# sweep AXIS [--dry-run] EXPERIMENT [ARGUMENT...]: a table over AXIS; arguments are those of kiti-table.
sweep() {
  local axis=$1
  shift
  [[ ${1-} != --dry-run ]] || set -- "${@:2}" --dry-run
  [[ ${1-} != -* ]] || die "$1: the experiment comes first"
  local experiment=${1-}
  exec "$python" -m kiti.table "sweep/$axis/${experiment#experiment=}" "${@:2}" --run
}

# One process for each GPU of this machine; without GPUs, one.
own_processes() { (cd "$root" && "$python" -c 'from kiti.launching.gpus import visible_gpus; print(len(visible_gpus()) or 1)'); }

# launch PROCESSES SIGNAL COMMAND...: run it and return the exit status of the PROCESSES of kiti-train that it starts
# here. The stopping signals are passed on to it as SIGNAL; `signalled` is the last one that came.
launch() {
  local processes=$1 signal=$2 child='' status
  shift 2
  if [[ $dry_run ]]; then
    printf 'KITI_EXIT_FILE=%q' "$KITI_EXIT_FILE"
    printf ' %q' "$@"
    echo
    return
  fi
  mkdir -p "$(dirname "$KITI_EXIT_FILE")"
  rm -f "$KITI_EXIT_FILE"
  export KITI_EXIT_FILE
  signalled=''
  for name in TERM INT HUP USR1 USR2; do
    # shellcheck disable=SC2064  # the names are those of now
    trap "signalled=$name; [[ -z \$child ]] || kill -s $signal \$child 2>/dev/null" "$name"
  done
  setsid "$@" & # out of reach of Ctrl-C, which comes through the trap
  child=$!
  wait "$child" # which a trap interrupts
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done
  wait "$child"
  status=$?
  trap - TERM INT HUP USR1 USR2
  ended "$processes" "$status"
}

# ended PROCESSES STATUS: the first status but 0 among the lines "<rank> <status>" of KITI_EXIT_FILE, since the other
# processes end in consequence; STATUS, the launcher's own, if one of the PROCESSES was killed and left no line.
ended() {
  local noted
  noted=$(awk -v n="$1" '$2 && !first { first = $2 } END { if (NR >= n) print first + 0 }' "$KITI_EXIT_FILE" 2>/dev/null)
  rm -f "$KITI_EXIT_FILE"
  return "${noted:-$2}"
}
