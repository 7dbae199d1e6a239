#!/usr/bin/env bash
# int8 MiniLM and general graphs against ONNX Runtime: fidelity, speed on one thread
#
#   scripts/bench.sh inference [--json FILE] [--texts N] [--rounds N]
#
# Fetches the model, the documents and the oracle's Python into the cache first.
set -euo pipefail

: "${FORESHORE_BUILD:?run by scripts/bench.sh}" "${FORESHORE_CACHE:?run by scripts/bench.sh}"
scripts/fetch.sh model documents oracle silero ppocr
cmake --build "$FORESHORE_BUILD" --target bench_inference bench_graphs >&2
"$(scripts/fetch.sh path oracle)" tests/bench/inference.py \
  --ours "$FORESHORE_BUILD/tests/bench/bench_inference" --model "$(scripts/fetch.sh path model)" \
  --documents "$(scripts/fetch.sh path documents)" --cache "$FORESHORE_CACHE/bench-inference" "$@"
echo
exec "$(scripts/fetch.sh path oracle)" tests/bench/graphs.py --ours "$FORESHORE_BUILD/tests/bench/bench_graphs" \
  --silero "$(scripts/fetch.sh path silero)" --ppocr "$(scripts/fetch.sh path ppocr)" \
  --cache "$FORESHORE_CACHE/bench-graphs" "$@"
