#!/usr/bin/env bash
# Writes tests/golden/database_row1/STORAGE and the blobs beside it: a database as builds left it whose catalogue rows of
# vector indexes were of version 1 (commit 5e5682a), and whose vectors did not say of what they were made.
#
#   tests/golden/make_older_database.sh FORESHORE sqlite|rocksdb     FORESHORE: the command line of such a build
#
# Of its two fields with models the vectors of one are of the model that is there; those of the other are of weights
# that an import has replaced since. Left out is what is made again where it is missing.
set -euo pipefail

foreshore=$1
storage=$2
golden=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
db=$golden/database_row1/$storage
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$db"
mkdir -p "$golden/database_row1"
cp -r "$golden/bert_tiny" "$work/other"
# One weight is another one.
printf '\0\0\200\76' | dd of="$work/other/model.safetensors" bs=1 conv=notrunc status=none \
  seek=$(($(stat -c %s "$work/other/model.safetensors") - 4))
"$foreshore" create "$db" --storage "$storage" --collection notes
"$foreshore" model add "$db" tiny "$golden/bert_tiny" --licence mit --origin made-here >/dev/null
"$foreshore" model add "$db" changed "$golden/bert_tiny" >/dev/null
"$foreshore" index create "$db" notes site
"$foreshore" index create "$db" notes place --vector --dim 2 --metric l2
"$foreshore" index create "$db" notes embedding --vector --model tiny --source text
"$foreshore" index create "$db" notes stale --vector --model changed --source text
"$foreshore" import "$db" notes - <<'LINES'
{"id":"a","text":"the pump is overheating","site":"north","place":[0,1]}
{"id":"b","text":"a b c d e","site":"north","place":[5,5]}
{"id":"c","text":"hot hot pump","site":"south","place":[3,0]}
LINES
"$foreshore" model add "$db" changed "$work/other" >/dev/null
rm -f "$db"/index/packed-* "$db"/store/LOG* "$db"/store/OPTIONS-* "$db"/LOCK "$db"/store/LOCK
find "$db/blobs" -name '*.sums' -delete
mkdir -p "$golden/database_row1/blobs"
cp -r "$db/blobs/." "$golden/database_row1/blobs/"
rm -rf "$db/blobs"
find "$golden/database_row1" -type d -empty -delete
