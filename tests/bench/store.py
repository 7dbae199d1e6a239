"""Runs bench_store and PouchDB and prints ours, each peer, ratio and bar; with --json as rows.

A ratio is the median over the blocks of peer by ours where less is better (nanoseconds), so that 1.0 is equal and more is
better for us; for bytes it is ours by the peer's. "on the processor" takes only the time that the process was given, for
machines shared with others; the bars are judged by the clock.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

COMMAND = "scripts/bench.sh store"
OURS = "Foreshore on SQLite"
ROCKSDB = "Foreshore on RocksDB"

# metric, what it is, unit, bar of the ratio against plain SQLite
ROWS = [
    ("import", "import, two indexes, 1,000 per transaction, full", "documents/s", 0.8),
    ("commit_new", "single commits, new documents, full", "commits/s", 0.9),
    ("commit_changed", "single commits, one field changed, full", "commits/s", None),
    ("get", "point reads by id, API", "reads/s", 1.0),
    ("sql_get", "point reads by id, prepared SQL", "reads/s", None),
    ("range_fetched", "range over an index, 1 % of rows, id and body", "queries/s", 0.8),
    ("range", "range over an index, 1 % of rows, count and sum", "queries/s", None),
    ("scan_number", "full scan, sum of a number", "scans/s", 2.0),
    ("scan_text", "full scan, length of the last field", "scans/s", None),
    ("scan_groups", "full scan, groups of a short field", "scans/s", None),
]


def per_second(nanoseconds):
    value = 1e9 / nanoseconds
    return round(value, 1 if value < 1000 else 0)


def run_pouchdb(arguments, folder):
    """The rival's reply, or None and why."""
    if arguments.no_pouchdb:
        return None, "left out by --no-pouchdb"
    if not os.path.isdir(os.path.join(arguments.pouchdb, "pouchdb")):
        return None, "PouchDB could not be downloaded"
    if shutil.which("node") is None:
        return None, "no node on this machine"
    script = os.path.join(os.path.dirname(__file__), "pouchdb", "store.js")
    run = subprocess.run(["node", script, arguments.pouchdb, arguments.documents, folder, arguments.pouchdb_count, "500"],
                         stdout=subprocess.PIPE, check=False, text=True)
    if run.returncode != 0:
        return None, "PouchDB's run failed"
    return json.loads(run.stdout), None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--documents", required=True)
    parser.add_argument("--pouchdb", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--count", default="200000", help="documents")
    parser.add_argument("--pouchdb-count", default="50000", help="documents that PouchDB imports")
    parser.add_argument("--rounds", default="5", help="imports of every side")
    parser.add_argument("--no-pouchdb", action="store_true")
    parser.add_argument("--json")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        run = subprocess.run([arguments.ours, arguments.documents, folder, arguments.count, arguments.rounds],
                             stdout=subprocess.PIPE, check=False, text=True)
        if run.returncode != 0:
            return run.returncode
        measured = json.loads(run.stdout)
        rival, rival_missing = run_pouchdb(arguments, folder)
    peer_name = next(name for name in measured["disk_bytes"] if name.startswith("plain"))

    rows = []

    def median(metric, side, clock="wall_ns"):
        return statistics.median(measured["metrics"][metric][side][clock])

    def row(metric, unit, better, ours, peer, name, ratio, bar, **more):
        met = None if bar is None else (ratio <= bar if better == "lower" else ratio >= bar)
        if bar is None:
            more.setdefault("why", "no bar")
        rows.append({"metric": metric, "unit": unit, "better": better, "ours": ours, "peer": peer, "peer_name": name,
                     "ratio": ratio, "bar": bar, "met": met, "command": COMMAND, **more})

    for metric, what, unit, bar in ROWS:
        peer = median(metric, peer_name)
        processor = median(metric, peer_name, "processor_ns")
        for side in (OURS, ROCKSDB):
            ours = median(metric, side)
            row(what, unit, "higher", per_second(ours), per_second(peer), peer_name, round(peer / ours, 2),
                bar if side == OURS else None, side=side,
                processor_ratio=round(processor / median(metric, side, "processor_ns"), 2))
    peer_bytes = measured["disk_bytes"][peer_name]
    for side in (OURS, ROCKSDB):
        ours = measured["disk_bytes"][side]
        row("bytes on disk after the import and a close", "MB", "lower", round(ours / 1e6, 1), round(peer_bytes / 1e6, 1),
            peer_name, round(ours / peer_bytes, 3), 1.2 if side == OURS else None, side=side)
    if rival is not None:
        name = "PouchDB 9 on LevelDB, not synced"
        for metric, what, rival_ns in (("import", "import", rival["import_ns"]),
                                       ("get", "point reads by id, API", statistics.median(rival["get_ns"]))):
            ours = median(metric, OURS)
            row(what, "documents/s", "higher", per_second(ours), per_second(rival_ns), name, round(rival_ns / ours, 2),
                None, side=OURS)
    else:
        for what in ("import", "point reads by id, API"):
            rows.append({"metric": what, "unit": "documents/s", "better": "higher", "ours": None, "peer": None,
                         "peer_name": "PouchDB 9 on LevelDB", "ratio": None, "bar": None, "met": None, "side": OURS,
                         "command": COMMAND, "why": rival_missing})

    print(f"{measured['documents']} documents, {measured['real_documents']} of them as they are, the others with another "
          f"id, name and size; {measured['body_bytes'] / 1e6:.0f} MB of JSON; seed {measured['seed']}")
    for side in (OURS, ROCKSDB):
        print(f"\n{side}")
        print(f"{'metric':<49} {'ours':>10} {'peer':>10} {'unit':<12} {'ratio':>6} {'on CPU':>6} {'bar':>5}  met   peer")
        for each in rows:
            if each["side"] != side:
                continue
            if each["ours"] is None:
                print(f"{each['metric']:<49} SKIPPED: {each['why']}")
                continue
            bar = "" if each["bar"] is None else str(each["bar"])
            met = "" if each["met"] is None else ("yes" if each["met"] else "NO")
            print(f"{each['metric']:<49} {each['ours']:>10} {each['peer']:>10} {each['unit']:<12} {each['ratio']:>6} "
                  f"{each.get('processor_ratio', ''):>6} {bar:>5}  {met:<4}  {each['peer_name']}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
