#!/usr/bin/env bash
# From nothing to a trained language model: installs what is missing, builds Ballast, trains a small GPT on English text with two
# workers, stops it on the way, goes on with one worker, evaluates it and lets it write.
#
#   ./quickstart.sh
set -euo pipefail
cd "$(dirname "$0")"

if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
ballast=build/bin/ballast
run=runs/quickstart-$(date +%Y%m%d-%H%M%S)
job=(examples/gpt_text.toml job.steps=500 schedule.warmup=50 evaluate.every=100 log.every=50 "job.dir=$run")
workers=2
[ "$(nproc)" -ge 2 ] || workers=1
stop_at=300  # the step after which the first run is interrupted

stage() { printf '\n== %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; }

reached() {
  local step
  step=$(tail -n 1 "$run/metrics.jsonl" 2>/dev/null | sed -nE 's/.*"step": *([0-9]+).*/\1/p')
  [ "${step:-0}" -ge "$1" ]
}

stage "1. Packages"
cmake/install_packages.sh build

stage "2. Build"
cmake --preset release -DBALLAST_TESTS=OFF >/dev/null
cmake --build --preset release --target ballast

stage "3. Train with $workers workers, and stop after step $stop_at"
command=(mpirun -n "$workers" --bind-to none --oversubscribe "$ballast" train "${job[@]}")
show "${command[*]}"
"${command[@]}" &
mpirun=$!
trap 'kill $mpirun 2>/dev/null || true' EXIT
until reached "$stop_at" || ! kill -0 "$mpirun" 2>/dev/null; do sleep 0.2; done
show "kill -USR1 $mpirun"
kill -USR1 "$mpirun" 2>/dev/null || true
status=0
wait "$mpirun" || status=$?
trap - EXIT
[ "$status" = 75 ] || { echo "quickstart.sh: expected exit code 75 (stopped after a checkpoint), got $status" >&2; exit 1; }
echo "exit code 75: stopped after a checkpoint"

stage "4. Go on with one worker: the weights become what the uninterrupted run would have made them"
show "$ballast train ${job[*]}"
"$ballast" train "${job[@]}"

stage "5. Evaluate"
show "$ballast eval $run"
"$ballast" eval "$run"

stage "6. Let it write"
show "$ballast generate $run --prompt 'It is a truth' --temperature 0.8"
"$ballast" generate "$run" --prompt 'It is a truth' --temperature 0.8

stage "Where things are"
cat <<END
$run/config.toml       the job, every key with the value that was used
$run/metrics.jsonl     loss, gradient norm, learning rate and speed of every logged step
$run/checkpoints/      weights (HDF5), optimizer state, manifest with digests
$ballast inspect $run      shows every tensor
$ballast verify $run       checks every byte
END
