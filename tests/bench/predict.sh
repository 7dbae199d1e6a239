#!/usr/bin/env bash
# predict() over rows in SQL against ONNX Runtime's own API: small networks, one thread
#
#   scripts/bench.sh predict [--json FILE] [--rows N] [--rounds N]
set -euo pipefail

: "${FORESHORE_BUILD:?run by scripts/bench.sh}" "${FORESHORE_CACHE:?run by scripts/bench.sh}"
scripts/fetch.sh oracle
cmake --build "$FORESHORE_BUILD" --target bench_predict >&2
exec "$(scripts/fetch.sh path oracle)" tests/bench/predict.py --ours "$FORESHORE_BUILD/tests/bench/bench_predict" "$@"
