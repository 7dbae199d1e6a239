#!/usr/bin/env bash
# text models and general graphs against ONNX Runtime and llama.cpp: speed, fidelity, memory
#
#   scripts/bench.sh inference [--json FILE] [--texts N] [--rounds N] [--only PART…]
#
# Fetches models, documents and the peers into the cache first; llama.cpp is built there from its sources. Parts: shapes
# threads texts llama gemm opening memory accuracy gptq lora, and graphs by scripts/bench.sh inference --graphs
# [--only NAME…].
set -euo pipefail

: "${FORESHORE_BUILD:?run by scripts/bench.sh}" "${FORESHORE_CACHE:?run by scripts/bench.sh}"
scripts/fetch.sh model oracle silero ppocr
cmake --build "$FORESHORE_BUILD" --target bench_inference bench_graphs >&2
python=$(scripts/fetch.sh path oracle)
if [ "${1:-}" = --graphs ]; then
  shift
else
  scripts/fetch.sh onnx-model documents minilm-gguf llama
  "$python" tests/bench/inference.py \
    --ours "$FORESHORE_BUILD/tests/bench/bench_inference" --model "$(scripts/fetch.sh path model)" \
    --ready-made "$(scripts/fetch.sh path onnx-model)/model.onnx" --llama "$(scripts/fetch.sh path llama)" \
    --gguf "$(scripts/fetch.sh path minilm-gguf)/q8_0.gguf" \
    --documents "$(scripts/fetch.sh path documents)" --cache "$FORESHORE_CACHE/bench-inference" "$@"
  echo
  # What follows takes none of the arguments above.
  set --
fi
exec "$python" tests/bench/graphs.py --ours "$FORESHORE_BUILD/tests/bench/bench_graphs" \
  --silero "$(scripts/fetch.sh path silero)" --ppocr "$(scripts/fetch.sh path ppocr)" \
  --minilm "$(scripts/fetch.sh path model)" \
  --cache "$FORESHORE_CACHE/bench-graphs" "$@"
