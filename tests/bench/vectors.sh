#!/usr/bin/env bash
# the vector index: build, recall and speed, filters, turnover, opening, SQL, against hnswlib over float32
#
#   scripts/bench.sh vectors [--json FILE] [--sets glove,mnist] [--rounds N]
set -euo pipefail

: "${FORESHORE_BUILD:?run by scripts/bench.sh}" "${FORESHORE_CACHE:?run by scripts/bench.sh}"
status=0
scripts/fetch.sh glove mnist || status=$?
[ "$status" -eq 0 ] || exit "$status"
cmake --build "$FORESHORE_BUILD" --target bench_vectors >&2
exec python3 tests/bench/vectors.py --ours "$FORESHORE_BUILD/tests/bench/bench_vectors" \
  --folder "$(dirname "$(scripts/fetch.sh path glove)")" "$@"
