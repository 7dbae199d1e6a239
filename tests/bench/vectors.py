"""Runs bench_vectors on each set and prints ours, hnswlib over float32, ratio and bar.

Queries per second are at the recall@10 named, between the two nearest points that were measured (on a logarithmic scale),
medians over the rounds. Both sides answer all queries in turns on one thread; both build on two.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys

COMMAND = "scripts/bench.sh vectors"
# set: metric, links of ours
SETS = {"glove": ("cosine", 24), "mnist": ("l2", 16)}
# set: queries per second at recall 0.95 and 0.99, build, SQL
BARS = {"glove": (4.0, 4.0, 3.0, 2.5), "mnist": (4.5, 3.5, 3.5, 2.0)}


def qps_at(points, recall):
    """Queries per second at this recall, or None where it is never reached."""
    before = None
    for point in points:
        qps = statistics.median(point["qps"])
        if point["recall"] >= recall:
            if before is None or point["recall"] == before[0]:
                return qps
            share = (recall - before[0]) / (point["recall"] - before[0])
            return math.exp(math.log(before[1]) * (1 - share) + math.log(qps) * share)
        before = (point["recall"], qps)
    return None


def row(name, ours, peer, form="{:.0f}", bar=None, smaller_is_better=False):
    ratio = None
    if ours and peer:
        ratio = peer / ours if smaller_is_better else ours / peer
    text = lambda value: "-" if value is None else form.format(value)
    print(f"{name:52}{text(ours):>12}{text(peer):>12}{'' if ratio is None else f'{ratio:.2f}':>8}"
          f"  {'' if bar is None else bar}")
    return {"metric": name, "ours": ours, "hnswlib": peer, "ratio": ratio, "bar": bar, "command": COMMAND}


def table(name, result):
    ours, peer = result["ours"], result["hnswlib"]
    bars = BARS[name]
    metric, links = SETS[name]
    print(f"\n{name}: {result['count']:,} x {result['dimension']}, {metric}; ours M {links}, 16 bits; hnswlib M 16, float32; "
          "efConstruction 200")
    print(f"{'':52}{'ours':>12}{'hnswlib':>12}{'ratio':>8}  bar")
    rows = []
    for recall, bar in ((0.95, bars[0]), (0.99, bars[1])):
        rows.append(row(f"queries per second at recall {recall}", qps_at(ours["points"], recall),
                        qps_at(peer["points"], recall), bar=f"at least {bar}"))
    rows.append(row("build, seconds, two threads", ours["build_s"], peer["build_s"], "{:.1f}", f"at least {bars[2]}", True))
    count = result["count"]
    rows.append(row("file, bytes a vector", ours["file_bytes"] / count, peer["file_bytes"] / count, smaller_is_better=True))
    rows.append(row("open, warm, ms", ours["open_s"] * 1000, peer["open_s"] * 1000, smaller_is_better=True,
                    bar="at most 5 ms"))
    turnover = result["turnover"]
    rows.append(row("turnover: recall before / after", turnover["recall_before"], turnover["recall_after"], "{:.4f}",
                    "within 0.005"))
    rows.append(row("turnover: us a delete and insert", turnover["write_us"], None))
    rows.append(row("turnover: memory, MB before / after", turnover["memory_before"] / 1e6, turnover["memory_after"] / 1e6))
    sql = result["sql"]
    rows.append(row(f"SQL with documents, queries per second, recall {sql['recall']:.3f}", sql["qps"],
                    qps_at(peer["points"], sql["recall"]), bar=f"at least {bars[3]} (hnswlib bare)"))
    rows.append(row(f"SQL, 1 % passes, with an index, recall {sql['filtered_recall']:.3f}", sql["filtered_qps"],
                    sql["streamed_qps"], bar="(second: without the index)"))
    rows.append(row("SQL import, s / open, ms", sql["import_s"], sql["open_s"] * 1000, "{:.0f}"))
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--json")
    parser.add_argument("--sets", default="glove,mnist")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    results = {}
    for name in arguments.sets.split(","):
        metric, links = SETS[name]
        command = [arguments.ours, f"{arguments.folder}/{name}", metric, "--links", str(links), "--rounds",
                   str(arguments.rounds), "--turnover", "--sql"]
        print(f"vectors: {name}", file=sys.stderr)
        result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        results[name] = {"result": result, "rows": table(name, result)}
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
