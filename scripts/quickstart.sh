#!/usr/bin/env bash
# Foreshore's whole job once, on real input: set-up, build, a model, 10,000 documents embedded on the way in, searches by
# meaning while offline, and two devices that edit apart and meet again through a gateway.
#
#   scripts/quickstart.sh [FOLDER]      databases go to FOLDER (build/quickstart), which is emptied first
#
# Prints what it runs, how long each step took, and what to type next. After the build it takes under four minutes on
# two cores.
set -euo pipefail

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0"
  exit 0
fi
started_in=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/build/quickstart}
[ "${folder#/}" != "$folder" ] || folder=$started_in/$folder
cd "$root"
foreshore=$root/build/release/bin/foreshore

gateway_pid=
stop_gateway() {
  [ -n "$gateway_pid" ] || return 0
  kill "$gateway_pid" 2>/dev/null || true
  wait "$gateway_pid" 2>/dev/null || true
  gateway_pid=
}
trap stop_gateway EXIT

now() { date +%s%N; }
milliseconds_since() { echo $((($(now) - $1) / 1000000)); }
seconds_text() { printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }

summary=()
step_name=
step_start=
end_step() {
  [ -n "$step_name" ] || return 0
  local took
  took=$(seconds_text "$(milliseconds_since "$step_start")")
  printf '   (%s)\n' "$took"
  summary+=("$(printf '%-78s %10s' "$step_name" "$took")")
  step_name=
}
step() {
  end_step
  printf '\n== %s\n' "$*"
  step_name=$*
  step_start=$(now)
}
# Shows a command as one would type it from the folder of the databases.
show() {
  local word line='$'
  for word in "$@"; do
    word=${word/#$foreshore/foreshore}
    word=${word//$folder\//}
    case $word in
      *[!A-Za-z0-9_./:=+-]*) line+=" \"$word\"" ;;
      *) line+=" $word" ;;
    esac
  done
  printf '%s\n' "$line"
}
run() {
  show "$@"
  "$@"
}

step "Set-up: the packages that building needs"
scripts/setup.sh
step "Build (release)"
cmake --preset release >/dev/null
cmake --build build/release --parallel "$(nproc)" --target foreshore
end_step
after_build=$(now)

step "Fetch the model all-MiniLM-L6-v2 and Debian's package descriptions"
scripts/fetch.sh model documents
model=$(scripts/fetch.sh path model)
documents=$(scripts/fetch.sh path documents)
document_count=$(wc -l <"$documents")

# Only what an earlier run made is removed.
if [ -e "$folder" ] && [ -n "$(ls -A "$folder")" ] && [ ! -e "$folder/.quickstart" ]; then
  echo "quickstart: $folder is not empty and not from an earlier quick start; give another folder" >&2
  exit 1
fi
rm -rf "$folder"
mkdir -p "$folder"
touch "$folder/.quickstart"
first=$folder/first.foreshore
second=$folder/second.foreshore

step "Create a database, put the model into it (int8), let it fill a vector field"
run "$foreshore" create "$first" --collection packages
run "$foreshore" model add "$first" minilm "$model"
run "$foreshore" index create "$first" packages embedding --vector --model minilm --source text

step "Import $document_count documents, embedding them on the way in"
import_start=$(now)
run "$foreshore" import "$first" packages "$documents"
import_ms=$(milliseconds_since "$import_start")
printf '   %d documents a second\n' $((document_count * 1000 / import_ms))
run "$foreshore" index list "$first"

step "Search by meaning, filter by field, offline"
# Where the system lets us, the searches run without any network at all.
offline=()
if unshare --user --map-root-user --net true 2>/dev/null; then
  offline=(unshare --user --map-root-user --net)
  echo "   (each in a namespace without network)"
fi
search() {
  local text=$1 where=$2
  local command=("$foreshore" search "$first" packages "$text" -k 3 --where "$where")
  show "${command[@]}"
  "${offline[@]}" "${command[@]}" | cut -c 1-118
}
search "keep passwords safe" "section = 'utils' AND size < 500000"
search "draw the night sky and the planets" "section IN ('science', 'games') AND size > 100000"
search "find out which process uses up the memory" "priority = 'optional' AND section = 'admin'"
sql="SELECT id, section, size, round(distance, 4) AS distance FROM packages
  WHERE embedding MATCH embed('minilm', 'convert pictures between formats') AND section = 'graphics'
  ORDER BY distance LIMIT 3"
show "$foreshore" sql "$first" "$sql"
"${offline[@]}" "$foreshore" sql "$first" "$sql"

step "Start a gateway; the first device sends, a second one receives"
start_gateway() {
  : >"$folder/gateway.url"
  "$foreshore" gateway --listen "127.0.0.1:${1:-0}" --store "$folder/gateway" >"$folder/gateway.url" &
  gateway_pid=$!
  local tries=0
  until [ -s "$folder/gateway.url" ]; do
    kill -0 "$gateway_pid" 2>/dev/null || { echo "quickstart: the gateway did not start" >&2; exit 1; }
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { echo "quickstart: the gateway is silent" >&2; exit 1; }
    sleep 0.1
  done
  url=$(cat "$folder/gateway.url")
}
start_gateway
echo "   the gateway listens on $url"
run "$foreshore" sync "$first" "$url"
run "$foreshore" create "$second"
run "$foreshore" sync "$second" "$url"

step "Take both offline and edit the same documents apart"
stop_gateway
if "$foreshore" sync "$first" "$url" 2>/dev/null; then
  echo "quickstart: the gateway is stopped and still answers" >&2
  exit 1
fi
# Three of the documents, by their place in the file.
mapfile -t ids < <(sed -n '1000p;2000p;3000p' "$documents" | sed 's/^{"id":"\([^"]*\)".*/\1/')
run "$foreshore" sql "$first" "UPDATE packages SET body = json_set(body, '\$.stars', 5, '\$.note', 'by the first device')
  WHERE id IN ('${ids[0]}', '${ids[1]}')"
run "$foreshore" sql "$second" "UPDATE packages SET body = json_set(body, '\$.owner', 'ada', '\$.note', 'by the second')
  WHERE id = '${ids[0]}'"
run "$foreshore" sql "$second" "UPDATE packages SET priority = 'important' WHERE id = '${ids[1]}';
  DELETE FROM packages WHERE id = '${ids[2]}'"

step "Reconnect: both devices sync until they are level"
start_gateway
for device in "$first" "$second" "$first"; do run "$foreshore" sync "$device" "$url"; done
stop_gateway

step "Both hold the same bytes"
for device in first second; do
  "$foreshore" export "$folder/$device.foreshore" packages >"$folder/$device.jsonl"
done
(cd "$folder" && sha256sum first.jsonl second.jsonl && wc -l first.jsonl)
if ! cmp "$folder/first.jsonl" "$folder/second.jsonl"; then
  echo "quickstart: the devices differ" >&2
  exit 1
fi
merged="SELECT id, priority, body ->> '\$.stars' AS stars, body ->> '\$.owner' AS owner, body ->> '\$.note' AS note
  FROM packages WHERE id IN ('${ids[0]}', '${ids[1]}', '${ids[2]}') ORDER BY id"
run "$foreshore" sql "$second" "$merged"
echo "   Both edits of \"${ids[0]}\" and \"${ids[1]}\" are there; \"${ids[2]}\" is gone on both. Of the two notes on"
echo "   \"${ids[0]}\" one won, the same on both; the other was kept aside, on both:"
"$foreshore" stats "$first" | grep rescued
"$foreshore" stats "$second" | grep rescued
run "$foreshore" verify "$first"
end_step

printf '\n== Done\n'
printf '%s\n' "${summary[@]}"
printf '%-78s %10s\n' "everything after the build" "$(seconds_text "$(milliseconds_since "$after_build")")"
cat <<END

What next:
  export PATH=$root/build/release/bin:\$PATH
  foreshore shell $first
      SELECT section, count(*) FROM packages GROUP BY section ORDER BY 2 DESC LIMIT 5;
  foreshore search $first packages "play music from the terminal" --where "size < 1000000"
  scripts/test.sh             every test
  docs/cli.md                 every verb
END
