#!/usr/bin/env bash
# Fills the table of bars in docs/performance.md: Ballast against the newest PyTorch of the Python package index.
#
#   benchmarks/compare_with_pytorch.sh [--rows ROW ...] [--rounds 3] [--seconds 10] [--no-compile] [--json FILE]
#
# PyTorch is installed once, outside this folder; BALLAST_PYTORCH=/path/to/python takes one that is there. pip's variables work:
# PIP_INDEX_URL=https://download.pytorch.org/whl/cpu gets the smaller package without CUDA. Build Ballast first.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() { echo "compare_with_pytorch.sh: $*" >&2; exit 1; }

[ -x build/bin/ballast ] || stop "no build/bin/ballast; build it: cmake --preset release && cmake --build --preset release"
python=${BALLAST_PYTORCH:-}
if [ -z "$python" ]; then
  home=${XDG_CACHE_HOME:-$HOME/.cache}/ballast/pytorch
  python=$home/bin/python
  if ! "$python" -c "import torch" 2>/dev/null; then
    echo "installing PyTorch into $home" >&2
    python3 -m venv --clear "$home" || stop "python3 makes no virtual environment; on Debian: apt-get install python3-venv"
    "$python" -m pip install --quiet torch numpy setuptools >&2
  fi
fi
exec "$python" benchmarks/compare_with_pytorch.py "$@"
