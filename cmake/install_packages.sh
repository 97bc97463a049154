#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that Ballast needs and that are not there yet.
#
#   cmake/install_packages.sh build            what the program needs
#   cmake/install_packages.sh build test       and what its tests need
#   cmake/install_packages.sh build test torch and what the comparisons with h5py and PyTorch need
#
# Asks nothing. Works as root and with sudo; otherwise it says what to install.
set -euo pipefail

build=(g++ cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libhdf5-dev libboost-serialization-dev libopenblas-pthread-dev
  libdnnl-dev libhwy-dev libtomlplusplus-dev libcli11-dev nlohmann-json3-dev libxxhash-dev zlib1g-dev)
test=(libgtest-dev libgmock-dev python3 hdf5-tools git)
torch=(python3-h5py python3-numpy python3-torch)
# Good to have: their absence costs a data set, a check or a test, never the build. These come with the first two groups.
wanted_build=(dataset-fashion-mnist)
wanted_test=(libboost-context-dev clang-format-14 clang-tidy-16 libomp-16-dev python3-h5py python3-venv iproute2 procps)

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing_of() {
  local package
  for package in "$@"; do is_installed "$package" || printf '%s ' "$package"; done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then env DEBIAN_FRONTEND=noninteractive "$@"; else sudo -n env DEBIAN_FRONTEND=noninteractive "$@"; fi
}

can_install() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || { [ -t 0 ] && sudo true; }; }

required=() wanted=()
for group in "$@"; do
  case $group in
    build) required+=("${build[@]}"); wanted+=("${wanted_build[@]}") ;;
    test) required+=("${test[@]}"); wanted+=("${wanted_test[@]}") ;;
    torch) required+=("${torch[@]}") ;;
    *) echo "install_packages.sh: unknown group '$group'; the groups are build, test, torch" >&2; exit 64 ;;
  esac
done

if ! command -v apt-get >/dev/null; then
  echo "install_packages.sh: no apt-get here; install the equivalents of: ${required[*]}" >&2
  exit 0
fi
read -ra required_missing <<<"$(missing_of "${required[@]}")"
read -ra wanted_missing <<<"$(missing_of "${wanted[@]}")"
if [ ${#required_missing[@]} = 0 ] && [ ${#wanted_missing[@]} = 0 ]; then
  echo "packages: all there"
  exit 0
fi
if ! can_install; then
  [ ${#wanted_missing[@]} = 0 ] || echo "packages: going on without ${wanted_missing[*]} (not root, and no sudo)"
  [ ${#required_missing[@]} = 0 ] && exit 0
  echo "packages: neither root nor sudo is to be had; ask an administrator to run:" >&2
  echo "  apt-get install --no-install-recommends ${required_missing[*]} ${wanted_missing[*]}" >&2
  exit 77
fi

echo "packages: updating the package lists"
as_root apt-get update -q=2
for package in "${wanted_missing[@]}"; do
  if [ -n "$(apt-cache madison "$package" 2>/dev/null)" ]; then
    required_missing+=("$package")
  else
    echo "packages: this release has no $package; going on without it"
  fi
done
if [ ${#required_missing[@]} != 0 ]; then
  echo "packages: installing ${required_missing[*]}"
  as_root apt-get install -q=2 --yes --no-install-recommends "${required_missing[@]}" >/dev/null
fi
