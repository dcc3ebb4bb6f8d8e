#!/usr/bin/env bash
# Train a grid of runs as a SLURM job array, one member per run, through Hydra's submitit launcher.
#
#   scripts/slurm_array.sh burgers residual=add,kiti seed=0,1,2 scale=laptop
#   scripts/slurm_array.sh burgers residual=kiti residual.coll_coef=0.1,0.3,0.5 hydra.launcher.partition=gpu \
#     hydra.launcher.gpus_per_node=1 hydra.launcher.timeout_min=240
#   scripts/slurm_array.sh --dry-run burgers seed=0,1         print the command, write nothing
#
# Two minutes before its time limit a member saves, goes into the queue again and continues, up to 20 times. A member
# that failed or was stopped is FAILED in SLURM. This command waits for the array and prints a table; the array goes on
# without it. Needs pip install 'kiti[slurm]'; all options: kiti-train -m experiment=burgers hydra/launcher=submitit_slurm
# --cfg hydra -p hydra.launcher
set -u

# shellcheck source=scripts/launching.bash
source "$(dirname "${BASH_SOURCE[0]}")/launching.bash"

while [[ ${1-} == -* ]]; do
  case $1 in
    -h | --help) usage "$0"; exit ;;
    --dry-run) dry_run=yes ;;
    *) die "no option $1; there is --dry-run" ;;
  esac
  shift
done
take_experiment "$@"

command=("$python" -m kiti.train -m "experiment=$experiment" hydra/launcher=submitit_slurm
  hydra.launcher.max_num_timeout=20 "${overrides[@]}")
if [[ $dry_run ]]; then
  printf '%q ' "${command[@]}"
  echo
else
  exec "${command[@]}"
fi
