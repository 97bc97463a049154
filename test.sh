#!/usr/bin/env bash
# Installs what is missing, builds Ballast and runs its tests.
#
#   ./test.sh            formatting, linting, release tests, then the unit tests under ASan+UBSan and those that use threads under TSan
#   ./test.sh --quick    the release build's unit and MPI tests only
#   ./test.sh --long     everything, and the tests that train to the accuracies the README states (15 minutes more)
#
# The last lines are ctest's summary of the release build; the exit code is 0 when everything passed.
set -euo pipefail
cd "$(dirname "$0")"

mode=${1:-}
case $mode in
  '' | --quick | --long) ;;
  *) sed -n '2,8p' "$0" >&2; exit 64 ;;
esac
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
jobs=$(nproc)

stage() { printf '\n== %02d:%02d %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

stage packages
cmake/install_packages.sh build test

stage release build
cmake --preset release >build.log 2>&1 || { cat build.log; exit 1; }
rm -f build.log
cmake --build --preset release
cmake/install_cuobjdump.sh build

if [ "$mode" != --quick ]; then
  stage formatting and linting
  cmake/lint.sh build

  # The unit tests once more with every memory access (dev) and every pair of threads (tsan) watched.
  for preset in dev tsan; do
    stage "unit tests under $preset"
    cmake --preset "$preset" >/dev/null
    # comm.shards is the test of the program comm_shards_test; a name may end in the settings that the program runs with
    mapfile -t programs < <(cmake --build --preset "$preset" --target help | sed -nE 's/^(\w+_test): phony$/\1/p')
    mapfile -t targets < <(ctest --preset "$preset" -N | sed -nE 's/^ *Test +#[0-9]+: (.*)$/\1/p' |
      awk -F. '{ name = $1; for (i = 2; i <= NF; i++) { name = name "_" $i; print name "_test" } }' | sort -u |
      grep -Fxf <(printf '%s\n' "${programs[@]}"))
    [ "$preset" = tsan ] || targets+=(ballast)  # which some tests start
    cmake --build --preset "$preset" --target "${targets[@]}"
    ctest --preset "$preset" -j "$jobs"
  done
fi

stage release tests
case $mode in
  --quick) ctest --preset release -j "$jobs" -L '^(unit|mpi|rules)$' ;;
  --long) ctest --preset release -j "$jobs" ;;
  *) ctest --preset release -j "$jobs" -LE '^long$' ;;
esac
