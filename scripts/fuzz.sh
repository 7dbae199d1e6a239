#!/usr/bin/env bash
# Fuzzes the parsers of foreign and stored bytes with libFuzzer, one after the other, by address and undefined behaviour
# sanitizers. Needs Clang: scripts/setup.sh fuzz.
#
#   scripts/fuzz.sh [TARGET…] [--seconds N]   without a target: all of them, N seconds each (60)
#   scripts/fuzz.sh list                      prints the targets
#   scripts/fuzz.sh run TARGET FILE…          runs a target once on each file, such as one that crashed it
#
# The corpus of each target grows in build/fuzz/corpus/TARGET, from seeds that our own writers write; what breaks a
# target lies in build/fuzz/findings/TARGET. Exit status: 0 nothing found, 1 something.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=60
targets=()
mode=fuzz
files=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    list) mode=list; shift ;;
    run) mode=run; targets=("${2:?run needs a target}"); shift 2; files=("$@"); break ;;
    *) targets+=("$1"); shift ;;
  esac
done

cmake --preset fuzz >/dev/null
cmake --build build/fuzz --target foreshore_fuzz -j "$(nproc)"
# The loader and simdjson keep what they allocate once; a leak of an input is found all the same.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:allocator_may_return_null=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$PWD/tests/sanitizers/leaks.txt:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

declare -A fuzzer_of
known=
for fuzzer in build/fuzz/tests/fuzz/foreshore_fuzz_*; do
  [ -x "$fuzzer" ] || continue
  of_this=$(FORESHORE_FUZZ_TARGET='' "$fuzzer" 2>&1 | sed -n 's/.*expected one of //p' || true)
  for target in $of_this; do fuzzer_of[$target]=$fuzzer; done
  known+=${known:+ }$of_this
done
if [ "$mode" = list ]; then
  tr ' ' '\n' <<<"$known"
  exit 0
fi
if [ "$mode" = run ]; then
  FORESHORE_FUZZ_TARGET=${targets[0]} "${fuzzer_of[${targets[0]}]}" "${files[@]}"
  exit 0
fi
[ ${#targets[@]} -gt 0 ] || read -ra targets <<<"$known"

status=0
for target in "${targets[@]}"; do
  case " $known " in
    *" $target "*) ;;
    *) echo "fuzz: found target \"$target\", expected one of $known" >&2; exit 2 ;;
  esac
  fuzzer=${fuzzer_of[$target]}
  corpus=build/fuzz/corpus/$target
  findings=build/fuzz/findings/$target
  mkdir -p "$corpus" "$findings"
  FORESHORE_FUZZ_TARGET=$target FORESHORE_FUZZ_SEEDS=$corpus "$fuzzer"
  printf 'fuzz: %s for %s s\n' "$target" "$seconds"
  # An input of 64 KiB may take neither 20 s, on a machine that others share, nor 2 GiB.
  if ! FORESHORE_FUZZ_TARGET=$target "$fuzzer" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
      -max_len=65536 -print_final_stats=1 -artifact_prefix="$findings/" "$corpus" >"$findings/log" 2>&1; then
    tail -n 60 "$findings/log"
    echo "fuzz: $target broke; the input is in $findings"
    status=1
  fi
  grep -E 'stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "$findings/log" || true
done
exit $status
