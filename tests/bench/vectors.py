"""Runs bench_vectors on each set and prints ours, hnswlib over float32, ratio and bar; then the other peers.

Queries per second are at the recall@10 named, between the two nearest points that were measured (on a logarithmic scale),
medians over the rounds. All sides answer all queries in turns on one thread; all build on two.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack

COMMAND = "scripts/bench.sh vectors"
PARTS = ("search", "filters", "open", "turnover", "budget", "sql", "insert", "checkpoint", "peers")
# set: metric, links of ours
SETS = {"glove": ("cosine", 24), "mnist": ("l2", 16), "minilm": ("cosine", 16)}
# set: queries per second at recall 0.95 and 0.99, build, SQL; None: no bar
BARS = {"glove": (4.0, 4.0, 3.0, 2.5), "mnist": (4.5, 3.5, 3.5, 2.0), "minilm": (3.5, None, None, None)}
# set: filters that let through 1 %, 10 %, 50 %, and 10 % far from the queries
FILTER_BARS = {"glove": (80, 3, 2, 40), "mnist": (250, 14, 4, 40)}
EFS = (10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 900)
RECALL = 0.95
# Peers with an API in Python: what they compare.
PEERS = {"usearch": "i8", "zvec": "i8", "objectbox": "float32"}


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


def row(name, ours, peer, form="{:.0f}", bar=None, smaller_is_better=False, peer_name="hnswlib"):
    ratio = None
    if ours and peer:
        ratio = peer / ours if smaller_is_better else ours / peer
    text = lambda value: "-" if value is None else form.format(value)
    print(f"{name:60}{text(ours):>12}{text(peer):>12}{'' if ratio is None else f'{ratio:.2f}':>8}"
          f"  {'' if bar is None else bar}")
    return {"metric": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "bar": bar,
            "command": COMMAND}


def at_least(bar):
    return None if bar is None else f"at least {bar}"


def header(title, peer="hnswlib"):
    print(f"\n{title}\n{'':60}{'ours':>12}{peer:>12}{'ratio':>8}  bar")


def search_rows(result, bars):
    ours, peer, count = result["ours"], result["hnswlib"], result["count"]
    rows = [row(f"queries per second at recall {recall}", qps_at(ours["points"], recall), qps_at(peer["points"], recall),
                bar=at_least(bar)) for recall, bar in ((0.95, bars[0]), (0.99, bars[1]))]
    rows.append(row("build, seconds, two threads", ours["build_s"], peer["build_s"], "{:.1f}", at_least(bars[2]), True))
    rows.append(row("memory before it is saved, bytes a vector", ours["memory_bytes"] / count, ours["mapped_bytes"] / count,
                    bar="(second: in unnamed files)"))
    rows.append(row("file, bytes a vector", ours["file_bytes"] / count, peer["file_bytes"] / count,
                    smaller_is_better=True))
    return rows


def filter_rows(filters, name):
    rows = []
    for each, bar in zip(filters, FILTER_BARS.get(name, (None,) * 4)):
        mine, scan = (statistics.median(each[side]["qps"]) for side in ("ours", "scan"))
        other = statistics.median(each["hnswlib"]["qps"]) if "hnswlib" in each else None
        recalls = " / ".join(f"{each[side]['recall']:.3f}" for side in ("ours", "hnswlib") if side in each)
        rows.append(row(f"filter of {each['name']}, recall {recalls}", mine, other,
                        bar=bar and f"at least {bar} (hnswlib 0.8)"))
        rows.append(row(f"  the same: {each['strategy']}", mine, scan, bar="at least 1 (second: scan of its codes)"))
    return rows


def open_rows(opened, name):
    ours, peer = opened["ours"], opened["hnswlib"]
    cold_bar = "at most 60 ms, at least 7" if name == "glove" else None
    return [row(label, ours[member], peer[member], "{:.1f}", bar, True) for label, member, bar in (
        ("open to first answer, cold, ms", "cold_answer_ms", cold_bar), ("open, cold, ms", "cold_open_ms", None),
        ("open to first answer, warm, ms", "warm_answer_ms", None), ("open, warm, ms", "warm_open_ms", "at most 5 ms"))]


def turnover_rows(turnover):
    return [
        row("turnover: recall of a fresh build / after (second)", turnover["recall_before"], turnover["recall_after"],
            "{:.4f}", "within 0.005"),
        row("turnover: vectors that miss themselves, fresh / after", turnover["self_missed_before"],
            turnover["self_missed_after"]),
        row("turnover: us a delete and insert", turnover["write_us"], None),
        row("turnover: memory, MB fresh / after", turnover["memory_before"] / 1e6, turnover["memory_after"] / 1e6),
    ]


def budget_rows(budget):
    """Ours with a quarter of its size in memory, beside ours with all of it."""
    free, warm, limited = (budget[side]["points"] for side in ("unbounded", "warm", "limited"))
    recall = min([RECALL] + [max(point["recall"] for point in side) for side in (free, warm, limited)])
    name = f"queries per second at recall {recall:.3f}, "
    megabytes = (budget["limit_bytes"] + budget["allowance_bytes"]) / 1e6
    return [
        row(name + "budget a quarter, warm", qps_at(warm, recall), qps_at(free, recall), bar="(second: no bound)"),
        row(name + "the cache too", qps_at(limited, recall), qps_at(free, recall), bar="(second: no bound)"),
        row(f"  file / limit, MB ({budget['method']})", budget["file_bytes"] / 1e6, megabytes),
    ]


def sql_rows(sql, points, bar):
    return [
        row(f"SQL with documents, queries per second, recall {sql['recall']:.3f}", sql["qps"],
            points and qps_at(points, sql["recall"]), bar=bar and f"at least {bar} (hnswlib bare)"),
        row(f"  the same, tuned, recall {sql['tuned_recall']:.3f}", sql["tuned_qps"],
            points and qps_at(points, sql["tuned_recall"]), bar=bar and f"at least {bar} (hnswlib bare)"),
        row(f"  the same, a cache of {sql['cache_bytes'] / 1e6:.0f} MB", sql["cached_qps"],
            points and qps_at(points, sql["tuned_recall"]), bar=bar and f"at least {bar} (hnswlib bare)"),
        row(f"SQL, 1 % passes, with an index, recall {sql['filtered_recall']:.3f}", sql["filtered_qps"],
            sql["streamed_qps"], bar="(second: without the index)"),
        row("SQL import, s / open, ms", sql["import_s"], sql["open_s"] * 1000),
    ]


def sql_filter_rows(filters):
    return [row(f"SQL, filter of {each['name']}, recall {each['recall']:.3f}", each["qps"], each["first_qps"],
                bar="(second: the first time)") for each in filters]


def insert_rows(insert):
    over = "(second: the same document, its numbers in a plain field)"
    index_bytes = insert["indexed_bytes"] - insert["plain_bytes"]
    return [
        row("durable insert, p50, ms", insert["indexed_p50_ms"], insert["plain_p50_ms"], "{:.2f}", over),
        row("durable insert, p99, ms", insert["indexed_p99_ms"], insert["plain_p99_ms"], "{:.2f}", over),
        row("durable insert, p99 over the plain one, ms", insert["indexed_p99_ms"] - insert["plain_p99_ms"], None, "{:.2f}",
            "at most 1"),
        row("durable insert, bytes written over the plain one", index_bytes, None, bar="at most 2,048"),
    ]


def checkpoint_rows(checkpoint):
    share = (checkpoint["indexed_bytes"] - checkpoint["plain_bytes"]) / checkpoint["snapshot_bytes"]
    return [
        row("checkpoint after 1 % changed, MB written", checkpoint["indexed_bytes"] / 1e6, checkpoint["plain_bytes"] / 1e6,
            "{:.1f}", "(second: by the store alone)"),
        row("the index's part, as a share of its snapshot", share, None, "{:.3f}", "at most 0.05"),
    ]


def table(name, result, bits):
    bars = BARS[name]
    metric, links = SETS[name]
    header(f"{name}: {result['count']:,} x {result['dimension']}, {metric}; ours M {links}, {bits} bits; hnswlib M 16, float32; "
           "efConstruction 200")
    rows = []
    if "points" in result.get("ours", {}):
        rows += search_rows(result, bars)
    if "filters" in result:
        rows += filter_rows(result["filters"], name)
    if "open" in result:
        rows += open_rows(result["open"], name)
    if "turnover" in result:
        rows += turnover_rows(result["turnover"])
    if "budget" in result:
        rows += budget_rows(result["budget"])
    if "sql" in result:
        rows += sql_rows(result["sql"], result.get("hnswlib", {}).get("points"), bars[3])
    if "sql_filters" in result:
        rows += sql_filter_rows(result["sql_filters"])
    if "insert" in result:
        rows += insert_rows(result["insert"])
    if "checkpoint" in result:
        rows += checkpoint_rows(result["checkpoint"])
    return rows


class Side:
    """A process that answers a line with a line of JSON."""

    def __init__(self, stack, command):
        self.process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                            text=True))
        stack.callback(self.process.stdin.close)
        self.about = self.read(command)
        self.points = []

    def read(self, what):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"vectors: {what}: ended with status {self.process.wait()}, expected an answer")
        return json.loads(line)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read(line)


def add_round(points, number, answer):
    if number == len(points):
        points.append({"ef": EFS[number], "recall": answer["recall"], "qps": []})
    points[number]["recall"] = answer["recall"]
    points[number]["qps"].append(answer["qps"])


def compare(stack, command, folder, name, peers, arguments):
    """Ours by the graph and by SQL, and each peer by its own API, in turns; returns the rows."""
    metric, links = SETS[name]
    serve = command + (["--sqlite-vec", peers["sqlite-vec"]] if "sqlite-vec" in peers else []) + ["--serve"]
    ours = Side(stack, serve)
    sides = {}
    for peer in PEERS:
        if peer not in peers:
            continue
        scratch = tempfile.mkdtemp(prefix=f"bench-{peer}-", dir=folder)
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vector_peer.py")
        count = [str(arguments.count)] if arguments.count else []
        sides[peer] = Side(stack, [peers[peer], script, peer, f"{folder}/{name}", metric, scratch, *count])
    # Tuned with stored vectors, which are easier to find than these queries: as far as these need.
    for target in (0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999):
        tuned = ours.ask(f"tune {target}")
        if tuned["ef"] == 0 or ours.ask("sql 0")["recall"] >= RECALL:
            break
    sql, scans = [], []
    for _ in range(arguments.rounds):
        for number, ef in enumerate(EFS):
            add_round(ours.points, number, ours.ask(f"ours {ef}"))
            for side in sides.values():
                add_round(side.points, number, side.ask(f"search {ef}"))
        sql.append(ours.ask("sql 0"))
        if "sqlite-vec" in peers:
            scans.append(ours.ask("sqlite-vec 0"))
    sql_qps = statistics.median(each["qps"] for each in sql)
    sql_recall = sql[0]["recall"]
    rows = []
    for peer, side in sides.items():
        greatest = max(point["recall"] for point in side.points)
        recall = min(RECALL, greatest)
        header(f"{name}: ours M {links}, {arguments.bits} bits; {peer} {side.about['version']} "
               f"{PEERS[peer]}, M 16; efConstruction 200", peer)
        note = "" if greatest >= RECALL else f" (its greatest; {RECALL} never)"
        bar = "at least 5" if (peer, name) == ("zvec", "glove") else None
        rows.append(row(f"queries per second at recall {recall:.3f}{note}", qps_at(ours.points, recall),
                        qps_at(side.points, recall), peer_name=peer, bar=bar))
        if sql_recall <= greatest:
            rows.append(row(f"ours by SQL with documents, recall {sql_recall:.3f}", sql_qps,
                            qps_at(side.points, sql_recall), peer_name=peer))
        rows.append(row("build, seconds, two threads", ours.about["build_s"], side.about["build_s"], "{:.1f}",
                        smaller_is_better=True, peer_name=peer))
    if scans:
        header(f"{name}: ours by SQL; sqlite-vec, float32, by SQL", "sqlite-vec")
        rows.append(row(f"queries per second, recall {sql_recall:.3f} and {scans[0]['recall']:.3f}", sql_qps,
                        statistics.median(each["qps"] for each in scans), "{:.1f}", peer_name="sqlite-vec"))
    return {"tuned": tuned, "sql": sql, "scans": scans, "ours": ours.points,
            "peers": {peer: {"about": side.about, "points": side.points} for peer, side in sides.items()}}, rows


def names(text, known, what):
    chosen = text.split(",")
    for name in chosen:
        if name not in known:
            raise SystemExit(f"vectors: {what} \"{name}\": expected some of {', '.join(known)}")
    return chosen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--json")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--peers", help="read by vectors.sh, which passes those that it found as --peer")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--bits", type=int, choices=(1, 4, 8, 16), default=16, help="of ours")
    parser.add_argument("--links", type=int, help="of ours; else what suits the set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, help="vectors of the base; else all")
    arguments = parser.parse_args()
    parts = names(arguments.parts, PARTS, "part")
    peers = dict(each.split("=", 1) for each in arguments.peer)
    results = {}
    for name in names(arguments.sets, SETS, "set"):
        metric, links = SETS[name]
        links = arguments.links or links
        SETS[name] = (metric, links)
        command = [arguments.ours, f"{arguments.folder}/{name}", metric, "--links", str(links), "--bits",
                   str(arguments.bits)]
        if arguments.count:
            command += ["--count", str(arguments.count)]
        own = [part for part in parts if part != "peers"]
        results[name] = {"rows": []}
        print(f"vectors: {name}", file=sys.stderr)
        if own:
            run = command + ["--rounds", str(arguments.rounds), "--parts", ",".join(own)]
            result = json.loads(subprocess.run(run, stdout=subprocess.PIPE, check=True).stdout)
            results[name].update(result=result, rows=table(name, result, arguments.bits))
        if "peers" in parts and not peers:
            print(f"vectors: {name}: no peer was found, expected usearch, zvec, objectbox or sqlite-vec: SKIPPED", file=sys.stderr)
        elif "peers" in parts:
            with ExitStack() as stack:
                result, rows = compare(stack, command, arguments.folder, name, peers, arguments)
            results[name]["peers"] = result
            results[name]["rows"] += rows
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
