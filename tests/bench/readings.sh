#!/usr/bin/env bash
# readings: ingest, bytes written, memory and down-sampling, against a tuned plain SQLite table
#
#   scripts/bench.sh readings [--json FILE] [--count READINGS] [--per-commit N] [--series N] [--rounds N] [--folder DIRECTORY]
#
# The work folder (default: below $FORESHORE_CACHE) must be on the device whose writes are to be counted.
set -euo pipefail

: "${FORESHORE_BUILD:?run by scripts/bench.sh}" "${FORESHORE_CACHE:?run by scripts/bench.sh}"
cmake --build "$FORESHORE_BUILD" --target bench_readings >&2
mkdir -p "$FORESHORE_CACHE/bench"
exec python3 tests/bench/readings.py --ours "$FORESHORE_BUILD/tests/bench/bench_readings" \
  --folder "$FORESHORE_CACHE/bench" "$@"
