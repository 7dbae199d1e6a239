#!/usr/bin/env bash
# Power cuts by the ten thousand: stores and whole databases, both backends, on a simulated disk in memory.
#
#   scripts/soak.sh [POINTS] [--level store|database]      POINTS: cuts per backend and level, default 20000
#
# FORESHORE_TEST_SEED moves where the seeds begin, FORESHORE_BUILD names a build other than build/dev. Prints one line
# per backend, level and durability; exit status 1 where a commit was lost or a check failed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
points=20000
level=
while [ $# -gt 0 ]; do
  case $1 in
    --level) level=${2:?--level needs store or database}; shift 2 ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *[!0-9]*) echo "soak: found \"$1\", expected a number of points or --level" >&2; exit 2 ;;
    *) points=$1; shift ;;
  esac
done
build=${FORESHORE_BUILD:-build/dev}
if [ ! -f "$build/build.ninja" ]; then cmake --preset dev >&2; fi
cmake --build "$build" --target storage_crash_test engine_database_crash_test >&2
status=0
run() {
  local binary=$1 result=0
  FORESHORE_CRASH_POINTS=$points "$binary" --duration=true --test-case="crash: *durability*" || result=$?
  [ "$result" -eq 0 ] || status=1
}
case $level in
  "" | store) run "$build/tests/storage/storage_crash_test" ;;
esac
case $level in
  "" | database) run "$build/tests/engine/database/engine_database_crash_test" ;;
esac
exit $status
