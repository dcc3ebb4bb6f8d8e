#!/usr/bin/env bash
# KITINet over collision_heads: every power of two that divides the model's D, against the vanilla network. Trains what is
# missing, prints the table and writes it and its figure to
# runs/tables/sweep/collision_heads/EXPERIMENT.<scale>.{md,csv,tex,png,svg}. The same command continues where it stopped.
#
#   scripts/sweep_collision_heads.sh burgers               at laptop, or paper for experiments without laptop; 3 seeds
#   scripts/sweep_collision_heads.sh burgers --scale smoke --seeds 2 --jobs 2
#   scripts/sweep_collision_heads.sh burgers --dry-run     prints the commands of its runs, and writes nothing
#
# Exit status and all other options are those of kiti-table; docs/sweeps.md.
set -eu

# shellcheck source=scripts/launching.bash
source "$(dirname "${BASH_SOURCE[0]}")/launching.bash"

if [[ ${1-} == -h || ${1-} == --help ]]; then
  usage "$0"
  exit
fi
sweep collision_heads "$@"
