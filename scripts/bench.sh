#!/usr/bin/env bash
# Runs one bench and prints its table: ours, each peer, ratio, bar.
#
#   scripts/bench.sh NAME [--json FILE] [ARGUMENT…]      without NAME: the list
#
# A bench is tests/bench/NAME.sh. It is run from the repository's root with the remaining arguments and finds in the
# environment FORESHORE_BUILD (an optimised build) and FORESHORE_CACHE (models, documents, the oracle's Python).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
list() {
  echo "benches:"
  for bench in tests/bench/*.sh; do
    [ -e "$bench" ] || { echo "  none"; return; }
    printf '  %-16s %s\n' "$(basename "$bench" .sh)" "$(sed -n '2s/^# //p' "$bench")"
  done
}
case ${1:-} in
  "" | -h | --help) list; exit 0 ;;
esac
name=$1
shift
if [ ! -f "tests/bench/$name.sh" ]; then
  echo "bench: found no tests/bench/$name.sh" >&2
  list >&2
  exit 2
fi
FORESHORE_BUILD=$PWD/build/release
FORESHORE_CACHE=${FORESHORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshore}
export FORESHORE_BUILD FORESHORE_CACHE
cmake --preset release >&2
exec bash "tests/bench/$name.sh" "$@"
