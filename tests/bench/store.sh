#!/usr/bin/env bash
# documents: import, commits, reads, scans, bytes, against plain SQLite with a JSON column, and PouchDB
#
#   scripts/bench.sh store [--json FILE] [--count DOCUMENTS] [--rounds N] [--folder DIRECTORY] [--no-pouchdb]
#
# The work folder (default: below $FORESHORE_CACHE) must be on the disk whose commits are to be measured.
set -euo pipefail

: "${FORESHORE_BUILD:?run by scripts/bench.sh}" "${FORESHORE_CACHE:?run by scripts/bench.sh}"
status=0
scripts/fetch.sh documents-50k || status=$?
[ "$status" -eq 0 ] || exit "$status"
# Without network only the rival's rows are missing.
scripts/fetch.sh pouchdb || [ $? -eq 3 ] || exit 1
cmake --build "$FORESHORE_BUILD" --target bench_store >&2
mkdir -p "$FORESHORE_CACHE/bench"
exec python3 tests/bench/store.py --ours "$FORESHORE_BUILD/tests/bench/bench_store" \
  --documents "$(scripts/fetch.sh path documents-50k)" --pouchdb "$(scripts/fetch.sh path pouchdb)" \
  --folder "$FORESHORE_CACHE/bench" "$@"
