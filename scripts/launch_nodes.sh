#!/usr/bin/env bash
# Train one run on several machines through torchrun: start the same command on each of them.
#
#   scripts/launch_nodes.sh --nodes 2 --rendezvous node7:29400 imagenet_resnet50 collision=hard
#   scripts/launch_nodes.sh --nodes 2 --rendezvous node7:29400 --dry-run burgers      print the command, write nothing
#
# --rendezvous names one of the machines, and a port there that the others reach. --processes N is the number on this
# machine, by default one for each GPU; --id tells runs apart that meet at the same port. Two machines need the same
# code, and runs/ and data/ on a file system that they share. Signals, logs and the exit status are those of
# launch_node.sh; a stop on one machine stops and saves on all.
set -u

# shellcheck source=scripts/launching.bash
source "$(dirname "${BASH_SOURCE[0]}")/launching.bash"

processes='' nodes='' rendezvous='' id=kiti
while [[ ${1-} == -* ]]; do
  case $1 in
    -h | --help) usage "$0"; exit ;;
    --dry-run) dry_run=yes ;;
    --nodes) nodes=${2-}; shift ;;
    --rendezvous) rendezvous=${2-}; shift ;;
    --id) id=${2-}; shift ;;
    --processes) processes=${2-}; shift ;;
    *) die "no option $1; there are --nodes N, --rendezvous HOST:PORT, --id ID, --processes N and --dry-run" ;;
  esac
  shift
done
take_experiment "$@"
[[ $nodes =~ ^[1-9][0-9]*$ ]] || die "--nodes '$nodes' is not 1 or more"
[[ $rendezvous =~ ^.+:[0-9]+$ ]] || die "--rendezvous '$rendezvous' is not HOST:PORT"
: "${processes:=$(own_processes)}"
[[ $processes =~ ^[1-9][0-9]*$ ]] || die "--processes '$processes' is not 1 or more"

KITI_EXIT_FILE=$runs/logs/$experiment/exit-$HOSTNAME-$$
# torchrun gives its processes ten minutes to save.
launch "$processes" TERM env TORCH_ELASTIC_SHUTDOWN_TIMEOUT=600 "$python" -m torch.distributed.run --nnodes "$nodes" --nproc-per-node "$processes" \
  --rdzv-backend c10d --rdzv-endpoint "$rendezvous" --rdzv-id "$id" \
  --log-dir "$runs/logs/$experiment" --tee 3 --local-ranks-filter 0 \
  -m kiti.train "experiment=$experiment" "${overrides[@]}"
