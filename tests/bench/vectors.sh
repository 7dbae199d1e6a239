#!/usr/bin/env bash
# the vector index: build, recall and speed, filters, turnover, opening, SQL, inserts, checkpoints, against its peers
#
#   scripts/bench.sh vectors [--json FILE] [--sets glove,mnist,minilm] [--rounds N] [--count N] [--bits 1|4|8|16] [--links N]
#                            [--parts search,filters,open,turnover,budget,sql,insert,checkpoint,peers] [--peers usearch,zvec,objectbox,sqlite-vec]
#
# All of it takes about an hour; a part of one set takes a minute or two.
set -euo pipefail

: "${FORESHORE_BUILD:?run by scripts/bench.sh}" "${FORESHORE_CACHE:?run by scripts/bench.sh}"
sets=glove,mnist,minilm
parts=peers
peers=usearch,zvec,objectbox,sqlite-vec
arguments=("$@")
while [ $# -gt 0 ]; do
  case $1 in
    --sets) sets=${2:?--sets needs names}; shift ;;
    --parts) parts=${2:?--parts needs names}; shift ;;
    --peers) peers=${2:?--peers needs names}; shift ;;
  esac
  shift
done

fetch() {
  local status=0
  scripts/fetch.sh "$1" || status=$?
  [ "$status" -eq 0 ] || [ "$status" -eq 3 ] || exit "$status"
  return "$status"
}

fetch hnswlib || exit $?
cmake -D "FORESHORE_HNSWLIB_0_8=$(scripts/fetch.sh path hnswlib)" "$FORESHORE_BUILD" >&2
cmake --build "$FORESHORE_BUILD" --target bench_vectors >&2
vectors=$FORESHORE_CACHE/vectors
for name in ${sets//,/ }; do
  if [ "$name" != minilm ]; then
    fetch "$name" || exit $?
  elif [ ! -s "$vectors/minilm/query.fvecs" ]; then
    for item in model documents-50k; do fetch "$item" || exit $?; done
    cmake --build "$FORESHORE_BUILD" --target bench_embed >&2
    mkdir -p "$vectors"
    python3 scripts/make_vectors.py minilm "$vectors/minilm" "$(scripts/fetch.sh path model)" \
      "$FORESHORE_BUILD/tests/bench/bench_embed" "$(scripts/fetch.sh path documents-50k)"
  fi
done
# Each peer is optional: scripts/fetch.sh has said loudly which one is missing.
found=()
if [[ ,$parts, == *,peers,* ]]; then
  for peer in ${peers//,/ }; do
    if fetch "$peer"; then found+=(--peer "$peer=$(scripts/fetch.sh path "$peer")"); fi
  done
fi
exec python3 tests/bench/vectors.py --ours "$FORESHORE_BUILD/tests/bench/bench_vectors" --folder "$vectors" \
  "${found[@]}" "${arguments[@]}"
