#!/usr/bin/env bash
# An experiment over coll_coef = 0.1, 0.2 ... 0.9: KITINet (kiti), and KO's soft and hard collisions, each against the
# vanilla network. Trains what is missing, prints the table and writes it and its figure to
# runs/tables/sweep/coll_coef/EXPERIMENT.<scale>.{md,csv,tex,png,svg}. The same command continues where it stopped.
#
#   scripts/sweep_coll_coef.sh burgers                     at laptop, or paper for experiments without laptop; 3 seeds
#   scripts/sweep_coll_coef.sh fashion_ko --only soft hard --seeds 5 --jobs 2
#   scripts/sweep_coll_coef.sh burgers_mat data.path=/data/burgers_data_R10.mat       overrides are those of every run
#   scripts/sweep_coll_coef.sh burgers --dry-run           prints the commands of its runs, and writes nothing
#
# Exit status and all other options are those of kiti-table; docs/sweeps.md.
set -eu

# shellcheck source=scripts/launching.bash
source "$(dirname "${BASH_SOURCE[0]}")/launching.bash"

if [[ ${1-} == -h || ${1-} == --help ]]; then
  usage "$0"
  exit
fi
sweep coll_coef "$@"
