#!/usr/bin/env bash
# Gets cuobjdump, with which the test compute.cuda_kernels reads machine code, from the Python package index: toolkits may come without.
#
#   cmake/install_cuobjdump.sh build       into build/cuda_tools, where nvcc was found and has none beside it
#
# Without the index it says so and succeeds: the test then leaves that part out.
set -euo pipefail

build=$1
nvcc=$(sed -n 's/^CMAKE_CUDA_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
home=$build/cuda_tools
if ! [ -x "$nvcc" ] || [ -x "$(dirname "$nvcc")/cuobjdump" ] || command -v cuobjdump >/dev/null || [ -x "$home/bin/cuobjdump" ]; then
  exit 0
fi
go_on_without() { echo "cuobjdump: $1; going on without reading machine code"; exit 0; }

major=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\).*/\1/p')
said=$(python3 -m venv --clear "$home" 2>&1) || go_on_without "no virtual environment (package python3-venv)"
said=$("$home/bin/python" -m pip install --quiet --retries 1 --timeout 20 \
  "nvidia-cuda-cuobjdump==$major.*" "nvidia-cuda-nvdisasm==$major.*" 2>&1) || go_on_without "$(tail -n 1 <<<"$said")"
ln -s "$PWD/$home"/lib/python3*/site-packages/nvidia/*/bin/{cuobjdump,nvdisasm} "$home/bin/"
echo "cuobjdump: release $("$home/bin/cuobjdump" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p') installed in $home"
