#!/usr/bin/env bash
# Set-up, build and every test.
#
#   scripts/test.sh [--sanitize address|thread] [--jobs N] [--no-setup] [CTEST-ARGUMENT…]
#
# What follows the options goes to ctest: scripts/test.sh -R store. Without a network the tests that need downloaded
# models skip themselves and say so, except where CI is "true": there they fail.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=dev
jobs=$(nproc)
setup=yes
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize)
      case ${2:-} in
        address) preset=asan ;;
        thread) preset=tsan ;;
        *) echo "test: --sanitize found \"${2:-}\", expected address or thread" >&2; exit 2 ;;
      esac
      shift 2 ;;
    --jobs) jobs=${2:?--jobs needs a number}; shift 2 ;;
    --no-setup) setup=no; shift ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) break ;;
  esac
done

step_start=$SECONDS
step() {
  printf '\n== %s (%d s so far)\n' "$1" $((SECONDS - step_start))
}

if [ "$setup" = yes ]; then
  step "set-up"
  scripts/setup.sh
  step "models and documents"
  scripts/fetch.sh || { status=$?; [ $status -eq 3 ] || exit $status; }
fi

step "configure ($preset)"
cmake --preset "$preset"
step "build"
cmake --build "build/$preset" --parallel "$jobs"

# Two processes of a suppressed or slow sanitizer report would mix; ctest prints the output of what failed.
export ASAN_OPTIONS=${ASAN_OPTIONS:-strict_string_checks=1:detect_stack_use_after_return=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$PWD/tests/sanitizers/leaks.txt:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-second_deadlock_stack=1:suppressions=$PWD/tests/sanitizers/races.txt}
step "tests"
ctest --test-dir "build/$preset" --output-on-failure --parallel "$jobs" --no-tests=error "$@"
