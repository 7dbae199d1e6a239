#!/usr/bin/env bash
# Writes tests/golden/database_predict1: databases as builds left them whose catalogue rows of predictive indexes were of
# version 1 (commit ef7e1b1), with inputs that are paths.
#
#   tests/golden/make_older_predictions.sh FORESHORE     FORESHORE: the command line of such a build
#
# Left out is what is made again where it is missing.
set -euo pipefail

foreshore=$1
golden=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$golden/database_predict1
rm -rf "$out"
mkdir -p "$out/blobs"
for storage in sqlite rocksdb; do
  db=$out/$storage
  "$foreshore" create "$db" --storage "$storage" --collection notes
  "$foreshore" model add "$db" tiny "$golden/bert_tiny" >/dev/null
  "$foreshore" import "$db" notes - <<'LINES'
{"id":"a","text":"the pump is overheating","place":{"row":"north"}}
{"id":"b","text":"a b c d e"}
{"id":"c","text":"hot hot pump","place":{"row":"south"}}
{"id":"d","n":1}
LINES
  "$foreshore" index create "$db" notes text --predict --model tiny --output '$.embedding[0]'
  "$foreshore" index create "$db" notes place.row --predict --model tiny --output '$.embedding[1]' --name row
  rm -f "$db"/index/packed-* "$db"/store/LOG* "$db"/store/OPTIONS-* "$db"/LOCK "$db"/store/LOCK
  find "$db/blobs" -name '*.sums' -delete
  cp -r "$db/blobs/." "$out/blobs/"
  rm -rf "$db/blobs"
done
find "$out" -type d -empty -delete
