#!/usr/bin/env bash
# Train one run with several processes of this machine, by default one for each GPU, through torchrun.
#
#   scripts/launch_node.sh burgers residual=kiti scale=laptop
#   scripts/launch_node.sh --processes 2 burgers seed=1       2 processes
#   scripts/launch_node.sh --dry-run burgers                  print the command, write nothing
#
# data.batch_size is the total over all processes. Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2 save and stop; the same command
# resumes. The exit status is kiti-train's (docs/stopping.md). Each process has a log below runs/logs/EXPERIMENT/; that
# of rank 0 is also shown.
set -u

# shellcheck source=scripts/launching.bash
source "$(dirname "${BASH_SOURCE[0]}")/launching.bash"

processes=''
while [[ ${1-} == -* ]]; do
  case $1 in
    -h | --help) usage "$0"; exit ;;
    --dry-run) dry_run=yes ;;
    --processes) processes=${2-}; shift ;;
    *) die "no option $1; there are --processes N and --dry-run, before the experiment" ;;
  esac
  shift
done
take_experiment "$@"
: "${processes:=$(own_processes)}"
[[ $processes =~ ^[1-9][0-9]*$ ]] || die "--processes '$processes' is not 1 or more"

KITI_EXIT_FILE=$runs/logs/$experiment/exit-$HOSTNAME-$$
# torchrun gives its processes ten minutes to save.
launch "$processes" TERM env TORCH_ELASTIC_SHUTDOWN_TIMEOUT=600 "$python" -m torch.distributed.run --standalone --nproc-per-node "$processes" \
  --log-dir "$runs/logs/$experiment" --tee 3 --local-ranks-filter 0 \
  -m kiti.train "experiment=$experiment" "${overrides[@]}"
