"""Runs bench_readings side by side, each in a process of its own, in turns, and prints ours, plain SQLite, ratio and bar.

Figures are medians over the rounds. "bytes written" is what the process gave to the device (write_bytes of
/proc/self/io), divided by the readings.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

COMMAND = "scripts/bench.sh readings"
SIDES = {"rocksdb": "Foreshore on RocksDB", "sqlite": "Foreshore on SQLite", "plain": "plain SQLite"}

# figure, what it is, format, whether the ratio is peer by ours, bar for RocksDB
ROWS = [
    ("ingest_ns", "ingest, full durability, ns a reading", "{:.0f}", True, "at least 1.5"),
    ("ingest_cpu_ns", "ingest, processor, ns a reading", "{:.0f}", True, None),
    ("written_bytes", "device bytes written a reading", "{:.2f}", False, "at most 0.5"),
    ("disk_bytes", "bytes on disk a reading", "{:.2f}", False, None),
    ("down_sample_ns", "averages by minute over all, ns a reading", "{:.1f}", True, None),
    ("peak_bytes", "peak memory of the process, MB", "{:.0f}", False, None),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--json")
    parser.add_argument("--count", type=int, default=20_000_000)
    parser.add_argument("--per-commit", type=int, default=1000)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    results = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for round_number in range(arguments.rounds):
            order = list(SIDES)
            for side in order[round_number % 3:] + order[:round_number % 3]:
                print(f"readings: round {round_number + 1} of {arguments.rounds}: {SIDES[side]}", file=sys.stderr)
                command = [arguments.ours, side, folder, str(arguments.count), str(arguments.per_commit), str(arguments.series)]
                results[side].append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    print(f"{arguments.count:,} readings of {arguments.series} series, {arguments.per_commit} a commit, 64 MB for the store, "
          f"medians of {arguments.rounds} rounds\n")
    print(f"{'':44}{'plain SQLite':>14}{'on RocksDB':>12}{'ratio':>8}{'on SQLite':>12}{'ratio':>8}  bar (RocksDB)")
    rows = []
    for figure, name, form, is_speed, bar in ROWS:
        scale = 1 / 1_000_000 if figure == "peak_bytes" else 1
        value = {side: statistics.median(run[figure] for run in runs) * scale for side, runs in results.items()}
        ratio = {side: value["plain"] / value[side] if is_speed else value[side] / value["plain"] for side in value}
        print(f"{name:44}{form.format(value['plain']):>14}{form.format(value['rocksdb']):>12}{ratio['rocksdb']:8.2f}"
              f"{form.format(value['sqlite']):>12}{ratio['sqlite']:8.2f}  {bar or ''}")
        rows.append({"metric": figure, "values": value, "ratios": ratio, "bar": bar, "command": COMMAND})
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"count": arguments.count, "rows": rows, "runs": results}, file, indent=1)


if __name__ == "__main__":
    main()
