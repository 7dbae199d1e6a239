"""Runs bench_database in a fresh directory and prints what it measured against the bars, with --json as rows."""

import argparse
import json
import subprocess
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--documents-file", "--documents", dest="documents", required=True)
    parser.add_argument("--count", default="10000", help="documents in the database")
    parser.add_argument("--queries", default="200")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [arguments.ours, arguments.model, arguments.documents, folder, arguments.count, arguments.queries],
            stdout=subprocess.PIPE, check=False, text=True)
    if run.returncode != 0:
        return run.returncode
    measured = json.loads(run.stdout)

    command = "scripts/bench.sh database"
    rows = []

    def row(metric, unit, better, ours, bar, met, **more):
        rows.append({"metric": metric, "unit": unit, "better": better, "ours": ours, "peer": None, "peer_name": None,
                     "ratio": None, "bar": bar, "met": met, "command": command, **more})

    recall = measured["recall_at_10"]
    is_graph = "hnsw" in measured["strategy"]
    row("recall@10 against exact float search", "fraction", "higher", recall, 0.95, recall >= 0.95 and is_graph,
        strategy=measured["strategy"])
    reopened = measured["reopen_ms_median"]
    from_snapshot = measured["opened_from"] == "snapshot"
    row("reopening after a clean close, median", "ms", "lower", reopened, 150, reopened <= 150 and from_snapshot,
        opened_from=measured["opened_from"])
    row("reopening after a clean close, maximum", "ms", "lower", measured["reopen_ms_max"], None, None, why="no bar")
    row("search, k 10, documents returned", "ms", "lower", measured["search_ms"], None, None, why="no bar")
    row("import with embedding", "documents/s", "higher",
        round(measured["documents"] * 1000 / measured["import_ms"], 1), None, None, why="no bar")

    print(f"{measured['documents']} documents, {measured['queries']} queries; EXPLAIN: {measured['strategy']}; "
          f"opened from {measured['opened_from']}")
    print(f"{'metric':<42} {'ours':>10} {'unit':<12} {'bar':>6}  met")
    for each in rows:
        bar = "" if each["bar"] is None else str(each["bar"])
        met = "" if each["met"] is None else ("yes" if each["met"] else "NO")
        print(f"{each['metric']:<42} {each['ours']:>10} {each['unit']:<12} {bar:>6}  {met}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
