#!/usr/bin/env bash
# Checks the formatting of all C++ files (clang-format 14) and lints the rooms' sources (clang-tidy 16).
#
#   cmake/lint.sh build            five minutes of linting, latest changed files first
#   cmake/lint.sh build all        every file, however long it takes
#
# The versions are binding because versions disagree; where one is absent its check is skipped with a message. The build folder must
# have been configured: clang-tidy reads its compile_commands.json.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?the build folder} minutes=${LINT_MINUTES:-5}
[ "${2:-}" != all ] || minutes=600

mapfile -t files < <(find compute comm models checkpoints runtime launcher tests -name '*.h' -o -name '*.cc' -o -name '*.cu' | sort)
if command -v clang-format-14 >/dev/null; then
  clang-format-14 --dry-run --Werror "${files[@]}"
  echo "clang-format: ${#files[@]} files"
else
  echo "clang-format: skipped, there is no clang-format-14 here"
fi

if ! command -v clang-tidy-16 >/dev/null; then
  echo "clang-tidy: skipped, there is no clang-tidy-16 here"
  exit 0
fi
built=$(sed -nE "s#^ *\"file\": \"$PWD/(.*)\".*#\1#p" "$folder/compile_commands.json" | grep -v '^tests/' | grep '\.cc$' | sort -u)  # clang-tidy 16 does not know CUDA 13
changed=$(git status --porcelain 2>/dev/null | cut -c 4- && git log --name-only --pretty= 2>/dev/null) || changed=
mapfile -t sources < <({ grep -Fx "$built" <<<"$changed" || true; echo "$built"; } | awk '!seen[$0]++')

linted=$(mktemp)
trap 'rm -f "$linted"' EXIT
lint_one() {
  [ "$(date +%s)" -lt "$1" ] || return 0
  clang-tidy-16 --quiet -p "$2" "$4" 2> >(grep -v ' warnings\? generated\.$' >&2) || return 255  # xargs stops
  echo "$4" >>"$3"
}
export -f lint_one
printf '%s\0' "${sources[@]}" |
  xargs -0 -n 1 -P "$(nproc)" bash -c 'lint_one "$@"' lint $(($(date +%s) + 60 * minutes)) "$folder" "$linted"
echo "clang-tidy: $(wc -l <"$linted") of ${#sources[@]} files$([ "$(wc -l <"$linted")" = "${#sources[@]}" ] || echo " in $minutes minutes, latest changes first")"
