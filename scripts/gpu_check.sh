#!/usr/bin/env bash
# Everything that needs a CUDA GPU, in one command of at most eight minutes: docs/gpu.md.
#
#   scripts/gpu_check.sh OUT                on a machine with a GPU
#   scripts/gpu_check.sh --dry-run OUT      the same on a CPU: tiny cases, and the kernels in Triton's interpreter
#   scripts/gpu_check.sh --seconds N OUT    in N seconds instead of 480
#
# Exit status: 0, all parts passed; 1, some did not; 2, nothing ran.
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
      [[ $seconds =~ ^[1-9][0-9]*$ ]] || usage "--seconds '$seconds': must be a positive integer"
      ;;
    -*) usage "unknown option $1" ;;
    *) [[ -z $out ]] || usage "give only one OUT" && out=$1 ;;
  esac
  shift
done
[[ -n $out ]] || usage "give OUT, a folder for the results"
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
  echo "gpu_check.sh: no CUDA GPU that $python's torch can use${why:+ ($why)}; --dry-run needs none" >&2
  exit 2
fi
: >"$log"
: >"$summary"

# The packages in wheels/ that cannot be imported here. pydantic and pydantic_core must have matching versions.
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

# A part is cut off after its share of the time plus the time left over by earlier parts.
share_of_all=495 shares=0 failed=0
part() { # name, share in seconds of share_of_all, command
  local name=$1 begun=$SECONDS status outcome
  shares=$((shares + $2))
  shift 2
  local left=$((seconds * shares / share_of_all - SECONDS))
  ((left > 0)) || left=1
  printf '\n== %s, %d s at most: %s\n' "$name" "$left" "$*" >>"$log"
  # On SIGINT, pytest still writes its XML.
  timeout --signal INT --kill-after 5 "$left" "$@" >>"$log" 2>&1
  status=$?
  # 137 also means killed for lack of memory, if before the time limit.
  case $status in
    0) outcome=passed ;;
    124) outcome='cut off' ;;
    137) ((SECONDS - begun >= left)) && outcome='cut off' || outcome="failed ($status)" ;;
    *) outcome="failed ($status)" ;;
  esac
  ((status == 0)) || failed=1
  printf '%-16s %-12s %4d s\n' "$name" "$outcome" $((SECONDS - begun)) | tee -a "$summary"
}

tests=(-m pytest -v --color no -p no:cacheprovider --junit-xml "$out/kernels.xml")
if [[ -n $dry ]]; then
  measured=(--device cpu --quick --repeats 1)
  tests+=(-n 0 tests/collision/test_triton.py -k 'max_speed or empty')
  collision=(--only 'coll_coef=0.5')
else
  measured=(--device cuda --repeats 5)
  tests+=(-n 8 tests/collision/test_triton{,_draws,_compiled}.py) # they compile in parallel
  # Every kind of shape once: each takes some ten seconds to compile. One program holds at most 128 particles.
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
