#!/usr/bin/env bash
# the main job: recall@10 of the int8 index, strategy, reopening, import with embedding
#
#   scripts/bench.sh database [--json FILE] [--count DOCUMENTS] [--queries N]
set -euo pipefail

: "${FORESHORE_BUILD:?run by scripts/bench.sh}" "${FORESHORE_CACHE:?run by scripts/bench.sh}"
scripts/fetch.sh model documents
cmake --build "$FORESHORE_BUILD" --target bench_database >&2
exec python3 tests/bench/database.py --ours "$FORESHORE_BUILD/tests/bench/bench_database" \
  --model "$(scripts/fetch.sh path model)" --documents "$(scripts/fetch.sh path documents)" "$@"
