#!/usr/bin/env bash
# Makes an environment on a bare machine with an accelerator and runs accelerator.py in it:
#
#     bash benchmarks/accelerator.sh OUT [options of accelerator.py]
#
# EXTRA names the package's extra for the device: cuda (the default) or tpu; on a machine
# with neither, EXTRA= (empty) tries the script on CPU. VENV is the environment's folder.
set -euo pipefail
out=$1
shift
cd "$(dirname "$0")/.."
venv=${VENV:-.venv-accelerator}
extra=${EXTRA-cuda}
python3 -m venv "$venv"
"$venv/bin/pip" install -q -e ".[benchmark${extra:+,$extra}]"
mkdir -p "$out"
exec "$venv/bin/python" benchmarks/accelerator.py --out "$out" "$@"
