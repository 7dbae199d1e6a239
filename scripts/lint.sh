#!/usr/bin/env bash
# Format check of all C and C++ files; --fix rewrites them; --tidy also runs clang-tidy (slow) on the files named, or all.
#
#   scripts/lint.sh [--fix] [--tidy [FILE…]]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
fix=no
tidy=no
while [ $# -gt 0 ]; do
  case $1 in
    --fix) fix=yes; shift ;;
    --tidy) tidy=yes; shift ;;
    -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "lint: unknown option \"$1\", expected --fix or --tidy" >&2; exit 2 ;;
    *) break ;;
  esac
done

format=$(command -v clang-format-14 || command -v clang-format) || {
  echo "lint: no clang-format found; run scripts/setup.sh" >&2
  exit 1
}
mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.cc' '*.h' '*.c')
if [ "$fix" = yes ]; then
  "$format" -i "${sources[@]}"
else
  "$format" --dry-run -Werror "${sources[@]}"
fi
python3 tests/tree/structure.py .

if [ "$tidy" = yes ]; then
  run=$(command -v clang-tidy-14 || command -v clang-tidy) || {
    echo "lint: no clang-tidy found; run scripts/setup.sh tidy" >&2
    exit 1
  }
  [ -f build/dev/compile_commands.json ] || cmake --preset dev
  # Protobuf's generated headers must exist before anything can include them.
  cmake --build build/dev --parallel "$(nproc)"
  files=("$@")
  if [ ${#files[@]} -eq 0 ]; then
    mapfile -t files < <(git ls-files 'storage/*.cc' 'index/*.cc' 'engine/*.cc' 'sync/*.cc' 'bindings/*.cc')
  fi
  printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "$(nproc)" "$run" -p build/dev --quiet
fi
