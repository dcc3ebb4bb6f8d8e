#!/usr/bin/env bash
# Downloads the packages that scripts/gpu_check.sh needs besides torch, Triton, torchvision, transformers and Lightning
# into wheels/, for Python 3.12 on x86-64 Linux and in the versions installed here: for a machine without a registry.
#
#   scripts/gpu_wheels.sh          PYTHON=python3 selects the interpreter whose versions are used
#
# numba is left out: with llvmlite it takes 61 MiB of the 64 allowed, and only the CPU needs it.
set -u
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python3}
most_mib=64
names=(beartype jaxtyping wadler-lindig pydantic pydantic-core annotated-types typing-inspection typing-extensions
  pytest iniconfig pluggy packaging pygments pytest-xdist execnet rich markdown-it-py mdurl)

pinned=$("$python" - "${names[@]}" <<'PY'
import importlib.metadata, sys
print(*(f"{name}=={importlib.metadata.version(name)}" for name in sys.argv[1:]))
PY
) || exit
rm -rf wheels
# shellcheck disable=SC2086  # one word a package
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --python-version 3.12 --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  --dest wheels $pinned || exit
size=$(du --apparent-size --block-size=1 --summarize wheels | cut -f1)
printf 'wheels/: %d wheels, %d.%d MiB\n' "$(find wheels -name '*.whl' | wc -l)" \
  $((size >> 20)) $(((size % 1048576) * 10 >> 20))
if ((size > most_mib << 20)); then
  echo "gpu_wheels.sh: more than the $most_mib MiB allowed" >&2
  exit 1
fi
