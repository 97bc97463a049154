#!/usr/bin/env bash
# Checks formatting (clang-format 14) of all C++ files and lints (clang-tidy 14) those that a build folder compiles.
#
#   cmake/lint.sh build            all files
#   cmake/lint.sh build HEAD~1     only files that differ from a commit
#
# Version 14 is binding because versions format differently; where it is absent the check is skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?the build folder} since=${2:-}

mapfile -t files < <(find compute comm models checkpoints runtime launcher tests -name '*.h' -o -name '*.cc' | sort)
if [ -n "$since" ]; then
  mapfile -t files < <(printf '%s\n' "${files[@]}" | grep -Fxf <(git diff --name-only "$since"; git ls-files -o --exclude-standard))
fi

if command -v clang-format-14 >/dev/null; then
  clang-format-14 --dry-run --Werror "${files[@]}"
  echo "clang-format: ${#files[@]} files"
else
  echo "clang-format: skipped, there is no clang-format-14 here"
fi

if command -v clang-tidy-14 >/dev/null; then
  mapfile -t built < <(sed -nE "s#^ *\"file\": \"$PWD/(.*)\".*#\\1#p" "$folder/compile_commands.json" | sort -u)
  mapfile -t sources < <(comm -12 <(printf '%s\n' "${files[@]}" | sort) <(printf '%s\n' "${built[@]}"))
  printf '%s\0' "${sources[@]}" | xargs -0 -r -n 1 -P "$(nproc)" clang-tidy-14 --quiet -p "$folder" 2> >(grep -v ' warnings\? generated\.$' >&2)
  echo "clang-tidy: ${#sources[@]} files"
else
  echo "clang-tidy: skipped, there is no clang-tidy-14 here"
fi
