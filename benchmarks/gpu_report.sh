#!/usr/bin/env bash
# On a machine with GPUs: installs what is missing, builds Ballast, runs the tests of the device and measures. One report, build/gpu_report.md.
#
#   benchmarks/gpu_report.sh [--gpus N] [--seconds 10] [--out FILE]
#
# Needs the driver, CUDA's toolkit and, for more than one GPU, NCCL. Takes some 10 minutes after the build.
set -euo pipefail
cd "$(dirname "$0")/.."

gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || true
if [ "$gpus" = 0 ]; then echo "gpu_report.sh: nvidia-smi shows no GPU" >&2; exit 78; fi
cmake/install_packages.sh build test
cmake --preset cuda
cmake --build --preset cuda
exec python3 -B benchmarks/gpu_report.py --gpus "$gpus" "$@"
