#!/usr/bin/env bash
# Everything that is to be seen on a CUDA GPU, in one command of eight minutes at most: docs/gpu.md.
#
#   scripts/gpu_check.sh OUT                on a machine with a GPU
#   scripts/gpu_check.sh --dry-run OUT      the same on a CPU: tiny cases, and the kernels in Triton's interpreter
#   scripts/gpu_check.sh --seconds N OUT    in N seconds instead of 480
#
# Exit status: 0, all parts passed; 1, some did not; 2, nothing was run.
set -u

usage() {
  echo "gpu_check.sh: $1; usage: scripts/gpu_check.sh [--dry-run] [--seconds N] OUT" >&2
  exit 2
}

dry='' seconds=480 out=''
while (($#)); do
  case $1 in
    --dry-run) dry=yes ;;
    --seconds)
      shift
      seconds=${1-}
      [[ $seconds =~ ^[1-9][0-9]*$ ]] || usage "--seconds '$seconds': a whole number is needed"
      ;;
    -*) usage "no option $1" ;;
    *) [[ -z $out ]] || usage "one OUT is needed" && out=$1 ;;
  esac
  shift
done
[[ -n $out ]] || usage "OUT, a folder for what is found, is needed"
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2

python=${PYTHON:-python3}
log=$out/log.txt summary=$out/summary.txt
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
export PYTHONUNBUFFERED=1 PYTHONPATH="$scratch/site:$PWD${PYTHONPATH:+:$PYTHONPATH}"
if [[ -n $dry ]]; then
  export CUDA_VISIBLE_DEVICES='' TRITON_INTERPRET=1
elif ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>"$scratch/why"; then
  why=$(tail -n 1 "$scratch/why")
  echo "gpu_check.sh: no CUDA GPU that $python's torch could use${why:+ ($why)}; --dry-run does without" >&2
  exit 2
fi
: >"$log"
: >"$summary"

# Of wheels/, those that cannot be imported here. pydantic and its core go together: one fits no other version.
missing_wheels() {
  "$python" - wheels/*.whl <<'PY'
import importlib.util, os, sys
modules = {"pytest_xdist": "xdist", "markdown_it_py": "markdown_it", "pydantic_core": "pydantic"}
for wheel in sys.argv[1:]:
    name = os.path.basename(wheel).split("-")[0]
    if importlib.util.find_spec(modules.get(name, name)) is None:
        print(wheel)
PY
}
install_wheels() {
  local wheels
  mapfile -t wheels < <(missing_wheels)
  ((${#wheels[@]})) || return 0
  "$python" -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-index \
    --find-links wheels --no-deps --target "$scratch/site" "${wheels[@]}"
}

environment() {
  nvidia-smi || [[ -n $dry ]]
  "$python" - <<'PY'
import importlib.metadata, platform, sys
import torch
print(sys.version, platform.platform(), sep="\n")
names = "torch triton torchvision transformers timm pytorch-lightning numba numpy pydantic jaxtyping beartype pytest pytest-xdist"
for name in names.split():
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        print(name, "is missing")
print(torch.cuda.get_device_properties(0) if torch.cuda.is_available() else "no GPU")
PY
}
export -f environment install_wheels missing_wheels
export python dry scratch

# A part is cut off when its share of the time is spent and what the parts before it left of theirs.
share_of_all=495 shares=0 failed=0
part() { # name, share in seconds of share_of_all, command
  local name=$1 begun=$SECONDS status said
  shares=$((shares + $2))
  shift 2
  local left=$((seconds * shares / share_of_all - SECONDS))
  ((left > 0)) || left=1
  printf '\n== %s, %d s at most: %s\n' "$name" "$left" "$*" >>"$log"
  # SIGINT, upon which pytest still writes its XML.
  timeout --signal INT --kill-after 5 "$left" "$@" >>"$log" 2>&1
  status=$?
  # 137 is also what a process killed for want of memory leaves, before its time.
  case $status in
    0) said=passed ;;
    124) said='cut off' ;;
    137) ((SECONDS - begun >= left)) && said='cut off' || said="failed ($status)" ;;
    *) said="failed ($status)" ;;
  esac
  ((status == 0)) || failed=1
  printf '%-16s %-12s %4d s\n' "$name" "$said" $((SECONDS - begun)) | tee -a "$summary"
}

tests=(-m pytest -v --color no -p no:cacheprovider --junit-xml "$out/kernels.xml")
if [[ -n $dry ]]; then
  measured=(--device cpu --quick --repeats 1)
  tests+=(-n 0 tests/collision/test_triton.py -k 'max_speed or empty')
  collision=(--only 'coll_coef=0.5')
else
  measured=(--device cuda --repeats 5)
  tests+=(-n 8 tests/collision/test_triton{,_draws,_compiled}.py) # they compile side by side
  # Each kind of shape once: compiling takes some ten seconds. One program handles at most 128 particles.
  collision=(--literal-seconds 0.25
    --only '^(resnet50 cifar-stem heads=[48]|gpt2|gpt2-xl|bert-base|fno1d heads=(1|8|64|256)) ')
fi

[[ ! -d wheels ]] || part wheels 20 bash -c install_wheels
part environment 20 bash -c environment
part kernels 100 "$python" "${tests[@]}"
part collision 130 "$python" -m benchmarks.benchmark_collision "${measured[@]}" "${collision[@]}" \
  --json "$out/collision.json"
step() { # model, share
  part "step-$1" "$2" "$python" -m benchmarks.benchmark_step "${measured[@]}" --models "^$1\$" --case-seconds 30 \
    --json "$out/step-$1.json"
}
step fno1d 75
step resnet50 45
step gpt2 50
step bert-base 55
exit $failed
