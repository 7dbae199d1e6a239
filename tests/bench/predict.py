#!/usr/bin/env python3
"""Compares predict() over the rows of a table with ONNX Runtime. Run by scripts/bench.sh predict.

Three small networks over 100,000 documents that hold their input as an array of numbers: a scorer of 16, 64, 32 and 1;
an autoencoder of 64, 32, 8, 32 and 64 that gives its reconstruction; the same one giving the squared error alone, as
such networks are used to find anomalies. Ours is SQL, from the stored documents to the result's rows. ONNX Runtime gets
its rows through its own API, from Python: ready-made arrays (no reading, no JSON), one by one and 256 at a time; and,
on the same terms as ours, from JSON texts and to JSON texts, 256 at a time. One thread each, in turn; least of its rounds. "On
cpu" is the ratio of what the processor gave to each, for machines shared with others.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

COMMAND = "scripts/bench.sh predict"
BATCH = 256
BAR_OF_ONE = 20.0
BAR_OF_BATCH = 1.0
BAR_OF_INDEX = 10.0


def network(path, widths, seed, gives_error):
    random = np.random.default_rng(seed)
    nodes, constants, value = [], [], "x"
    for layer, (width, after) in enumerate(zip(widths, widths[1:])):
        weights = random.normal(0, (2 / width) ** 0.5, (width, after)).astype(np.float32)
        bias = random.normal(0, 0.1, after).astype(np.float32)
        constants += [numpy_helper.from_array(weights, f"w{layer}"), numpy_helper.from_array(bias, f"b{layer}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [f"h{layer}"]))
        value = f"h{layer}"
        if layer < len(widths) - 2:
            nodes.append(helper.make_node("Relu", [value], [f"r{layer}"]))
            value = f"r{layer}"
    if gives_error:
        nodes += [helper.make_node("Sub", ["x", value], ["d"]), helper.make_node("Mul", ["d", "d"], ["s"]),
                  helper.make_node("ReduceMean", ["s"], ["y"], axes=[1], keepdims=1)]
    else:
        nodes.append(helper.make_node("Identity", [value], ["y"]))
    width = 1 if gives_error else widths[-1]
    graph = helper.make_graph(nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", widths[0]])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


class Ours:
    def __init__(self, executable, folder, texts, models):
        self.process = subprocess.Popen([executable, folder, str(len(texts)), *models], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.process.stdin.write("\n".join(texts) + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline().strip() != "ready":
            sys.exit("predict bench: bench_predict ended early")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def run(self, sql, count):
        self.ask("sql " + sql)
        reply = self.process.stdout.readline().split()
        if len(reply) != 3 or int(reply[2]) != count:
            sys.exit(f"predict bench: {sql}: found {reply}, expected {count} rows")
        return int(reply[0]) * 1e-9, int(reply[1]) * 1e-9

    def values(self, sql):
        self.ask("first " + sql)
        values = []
        while line := self.process.stdout.readline().strip():
            values.append(json.loads(line))
        return np.array(values, np.float64)


def timed(function):
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - processor


def compare(arguments, name, path, texts, ours, rounds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rows = np.array([json.loads(text) for text in texts], np.float32)
    model = os.path.basename(path)[:-len(".onnx")]
    predict = f"SELECT predict('{model}', x) FROM rows"
    batch = f"SELECT output FROM predict_batch('{model}', 'SELECT n, x FROM rows')"

    def one_by_one():
        for i in range(len(rows)):
            session.run(None, {"x": rows[i:i + 1]})

    def batches():
        for i in range(0, len(rows), BATCH):
            session.run(None, {"x": rows[i:i + BATCH]})

    def batches_of_json():
        for i in range(0, len(texts), BATCH):
            given = np.array(json.loads("[" + ",".join(texts[i:i + BATCH]) + "]"), np.float32)
            made = session.run(None, {"x": given})[0]
            for row in made.tolist():
                json.dumps([row])

    expected = session.run(None, {"x": rows})[0].astype(np.float64)
    for sql in (predict, batch):
        difference = np.abs(ours.values(sql).reshape(expected.shape) - expected).max()
        if not difference < 1e-3:
            sys.exit(f"predict bench: {sql}: differs by {difference}")
    sides = {"predict": lambda: ours.run(predict, len(rows)), "batch": lambda: ours.run(batch, len(rows)),
             "scan": lambda: ours.run("SELECT x FROM rows", len(rows)), "one": lambda: timed(one_by_one),
             "256": lambda: timed(batches), "json": lambda: timed(batches_of_json)}
    best = {side: float("inf") for side in sides}
    on_processor = dict(best)
    for _ in range(rounds):
        for side, run in sides.items():
            clock, processor = run()
            best[side] = min(best[side], clock / len(rows) * 1e6)
            on_processor[side] = min(on_processor[side], processor / len(rows) * 1e6)
    table = []
    print(f"{name}: {best['scan']:.3f} us a row to read x alone, {on_processor['scan']:.3f} on the processor")
    for mine in ("predict", "batch"):
        for peer, peer_name, bar in (("one", "ONNX Runtime, arrays, 1 a call", BAR_OF_ONE),
                                     ("256", f"ONNX Runtime, arrays, {BATCH} a call", BAR_OF_BATCH),
                                     ("json", f"ONNX Runtime, JSON, {BATCH} a call", BAR_OF_BATCH)):
            ratio = best[peer] / best[mine]
            metric = f"{name}, " + ("predict()" if mine == "predict" else "predict_batch")
            table.append({"metric": metric, "unit": "us a row", "better": "lower", "ours": best[mine],
                          "peer": best[peer], "peer_name": peer_name, "ratio": ratio, "bar": bar,
                          "met": bool(ratio >= bar), "command": COMMAND})
            print(f"  {metric:<44}{best[mine]:>8.3f}{best[peer]:>9.3f}  us {ratio:>7.2f}x {on_processor[peer] / on_processor[mine]:>7.2f}x"
                  f"  {bar:<5.0f}{peer_name}")
    return table


def compare_index(arguments, name, path, ours, rounds):
    """A predicate that one row in a hundred passes, by a predictive index and by inference over all rows. A sign before
    predict() keeps the index from answering."""
    model = os.path.basename(path)[:-len(".onnx")]
    value = f"predict('{model}', x) ->> '$[0][0]'"
    bound = float(np.quantile(ours.values(f"SELECT {value} FROM rows"), 0.99))
    ours.ask("index " + model)
    filled, filled_processor = (int(part) * 1e-9 for part in ours.process.stdout.readline().split()[:2])
    statements = {"index": f"SELECT n FROM rows WHERE {value} > {bound!r}",
                  "inference": f"SELECT n FROM rows WHERE +{value} > {bound!r}",
                  "first ten": f"SELECT n FROM rows ORDER BY {value} DESC LIMIT 10"}
    expected = ours.values(statements["inference"])
    if not np.array_equal(np.sort(ours.values(statements["index"])), np.sort(expected)):
        sys.exit(f"predict bench: {name}: the index does not find what inference finds")
    counts = {"index": len(expected), "inference": len(expected), "first ten": 10}
    best = {side: float("inf") for side in statements}
    on_processor = dict(best)
    for _ in range(rounds):
        for side, sql in statements.items():
            clock, processor = ours.run(sql, counts[side])
            best[side] = min(best[side], clock * 1e3)
            on_processor[side] = min(on_processor[side], processor * 1e3)
    ours.ask("drop " + model)
    ours.process.stdout.readline()
    ratio = best["inference"] / best["index"]
    print(f"  {name + ', 1 % by index':<44}{best['index']:>8.3f}{best['inference']:>9.3f}  ms {ratio:>7.2f}x "
          f"{on_processor['inference'] / on_processor['index']:>7.2f}x  {BAR_OF_INDEX:<5.0f}predict() over all rows")
    print(f"  {'':<44}the first ten in its order {best['first ten']:.3f} ms; filling {filled:.2f} s, "
          f"{filled_processor / arguments.rows * 1e6:.2f} us a row on the processor")
    return [{"metric": f"{name}, predicate by a predictive index", "unit": "ms", "better": "lower", "ours": best["index"],
             "peer": best["inference"], "peer_name": "predict() over all rows", "ratio": ratio, "bar": BAR_OF_INDEX,
             "met": bool(ratio >= BAR_OF_INDEX), "command": COMMAND}]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="foreshore-predict-")
    table = []
    try:
        print(f"predict() over {arguments.rows} rows, one thread, least of {arguments.rounds} interleaved rounds")
        print(f"  {'':<44}{'ours':>8}{'peer':>9}      {'ratio':>7} {'on cpu':>8}  {'bar':<5}peer")
        for name, widths, gives_error in (("scorer", [16, 64, 32, 1], False),
                                          ("autoencoder", [64, 32, 8, 32, 64], False),
                                          ("autoencoder-error", [64, 32, 8, 32, 64], True)):
            path = os.path.join(folder, name + ".onnx")
            network(path, widths, 1, gives_error)
            random = np.random.default_rng(2)
            texts = ["[" + ",".join(f"{value:.6g}" for value in row) + "]"
                     for row in random.normal(0, 1, (arguments.rows, widths[0]))]
            ours = Ours(arguments.ours, os.path.join(folder, name + ".foreshore"), texts, [path])
            table += compare(arguments, name, path, texts, ours, arguments.rounds)
            table += compare_index(arguments, name, path, ours, arguments.rounds)
            ours.process.stdin.close()
            ours.process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(table, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
