#!/usr/bin/env python3
"""Compares the int8 executor with ONNX Runtime on real texts. Run by scripts/bench.sh inference.

Oracle: ONNX Runtime in f32 on the same weights and token ids. Speed peer: the fastest of ONNX Runtime's dynamically
quantized int8 forms (per-channel or per-tensor, 8-bit or 7-bit weights), fidelity peer: the one nearest to f32, both
chosen on a probe of the same texts. All sides run on one thread, each text through each side in turn; a text's time is
the least of its rounds. "On the processor" counts only time that the process was given, for machines shared with others.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
import onnxruntime
from onnxruntime.quantization import quantize_dynamic

PROBE_COUNT = 24
COMMAND = "scripts/bench.sh inference"


class Ours:
    def __init__(self, executable, model):
        self.process = subprocess.Popen([executable, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline().split()
        if not reply:
            sys.exit("inference bench: bench_inference ended early")
        return reply

    def tokenize(self, text):
        return [int(token) for token in self.ask("tokenize " + " ".join(text.split()))]

    def embed(self, ids):
        """Seconds by the clock, seconds on the processor, embedding."""
        reply = self.ask("embed " + " ".join(map(str, ids)))
        return int(reply[0]) * 1e-9, int(reply[1]) * 1e-9, np.array(reply[2:], dtype=np.float64)


class Peer:
    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        started = time.perf_counter()
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.load_seconds = time.perf_counter() - started

    def embed(self, ids):
        row = np.array([ids], dtype=np.int64)
        feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        started, processor_started = time.perf_counter(), time.process_time()
        hidden = self.session.run(None, feed)[0][0]
        processor_seconds = time.process_time() - processor_started
        seconds = time.perf_counter() - started
        mean = hidden.astype(np.float64).mean(axis=0)
        return seconds, processor_seconds, mean / np.linalg.norm(mean)


def make_models(arguments):
    """Paths of the f32 oracle and of the int8 forms by name."""
    os.makedirs(arguments.cache, exist_ok=True)
    oracle = os.path.join(arguments.cache, "bert.onnx")
    script = os.path.join(os.path.dirname(__file__), "../../scripts/make_bert_onnx.py")
    forms = {}
    if not os.path.exists(oracle):
        subprocess.run([sys.executable, script, arguments.model, oracle + ".part"], check=True)
        os.rename(oracle + ".part", oracle)
    for per_channel in (False, True):
        for reduce_range in (False, True):
            name = ("per-channel" if per_channel else "per-tensor") + (" 7-bit" if reduce_range else " 8-bit")
            path = os.path.join(arguments.cache, name.replace(" ", "-") + ".onnx")
            if not os.path.exists(path):
                quantize_dynamic(oracle, path + ".part", per_channel=per_channel, reduce_range=reduce_range)
                os.rename(path + ".part", path)
            forms[name] = path
    return oracle, forms


def read_texts(path, count):
    with open(path, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    if len(texts) < count:
        sys.exit(f"inference bench: {path} has {len(texts)} texts, expected at least {count}")
    # Evenly spread: the file is in order of package name.
    return [texts[index * len(texts) // count] for index in range(count)]


def choose_peers(oracle, forms, probe):
    """Names of the fastest int8 form and of the one with the highest mean cosine."""
    peers = {name: Peer(path) for name, path in forms.items()}
    seconds = dict.fromkeys(peers, 0.0)
    cosines = dict.fromkeys(peers, 0.0)
    for ids in probe:
        expected = oracle.embed(ids)[2]
        for name, peer in peers.items():
            runs = [peer.embed(ids) for _ in range(3)]
            seconds[name] += min(run[1] for run in runs)
            cosines[name] += float(runs[0][2] @ expected)
    fastest = min(seconds, key=seconds.get)
    nearest = max(cosines, key=cosines.get)
    return {name: peers[name] for name in {fastest, nearest}}, fastest, nearest


def run_interleaved(sides, token_ids, round_count):
    """Per side: least seconds by the clock and on the processor of each text, and the embeddings."""
    count = len(token_ids)
    results = {name: (np.full(count, np.inf), np.full(count, np.inf), [None] * count) for name in sides}
    for round_index in range(round_count):
        for index, ids in enumerate(token_ids):
            for name, side in sides.items():
                seconds, processor_seconds, embedding = side.embed(ids)
                clock, processor, embeddings = results[name]
                clock[index] = min(clock[index], seconds)
                processor[index] = min(processor[index], processor_seconds)
                embeddings[index] = embedding
            if sys.stderr.isatty():
                done = round_index * count + index + 1
                print(f"\r{done}/{count * round_count}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return results


def fidelity(embeddings, expected):
    """Mean and least cosine, and the mean share of each text's ten nearest that stay among its ten nearest."""
    found = np.array(embeddings)
    cosines = (found * expected).sum(axis=1)

    def nearest(vectors):
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -np.inf)
        return np.argpartition(-similarity, 10, axis=1)[:, :10]

    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest(found), nearest(expected))])
    return cosines.mean(), cosines.min(), overlap


def row(metric, unit, better, ours, peer, peer_name, bar, by_ratio):
    """`bar` bounds the ratio when `by_ratio`, else our own value."""
    ratio = ours / peer if better == "higher" else peer / ours
    result = {"metric": metric, "unit": unit, "better": better, "ours": float(ours), "peer": float(peer),
              "peer_name": peer_name, "ratio": float(ratio), "bar": bar,
              "met": None if bar is None else bool((ratio if by_ratio else ours) >= bar), "command": COMMAND}
    if bar is None:
        result["why"] = "no bar is set"
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("ours", "model", "documents", "cache"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    arguments = parser.parse_args()

    oracle_path, forms = make_models(arguments)
    ours = Ours(arguments.ours, arguments.model)
    token_ids = [ours.tokenize(text) for text in read_texts(arguments.documents, arguments.texts)]
    oracle = Peer(oracle_path)
    peers, fastest, nearest = choose_peers(oracle, forms, token_ids[:: max(1, len(token_ids) // PROBE_COUNT)])
    load_ms = min(int(ours.ask("load")[0]) for _ in range(5)) * 1e-6
    peer_load_ms = min(Peer(forms[fastest]).load_seconds for _ in range(5)) * 1e3

    expected = np.array([oracle.embed(ids)[2] for ids in token_ids])
    results = run_interleaved({"ours": ours, **peers}, token_ids, arguments.rounds)
    mine, theirs = fidelity(results["ours"][2], expected), fidelity(results[nearest][2], expected)
    count = len(token_ids)
    speed_name, fidelity_name = f"ONNX Runtime int8 {fastest}", f"ONNX Runtime int8 {nearest}"
    rows = [
        row("mean cosine to f32", "", "higher", mine[0], theirs[0], fidelity_name, 0.99, False),
        row("least cosine to f32", "", "higher", mine[1], theirs[1], fidelity_name, 0.97, False),
        row("top-10 overlap with f32", "", "higher", mine[2], theirs[2], fidelity_name, 0.93, False),
        row("speed, one thread, one by one", "texts/s", "higher", count / results["ours"][0].sum(),
            count / results[fastest][0].sum(), speed_name, 1.0, True),
        row("the same on the processor", "texts/s", "higher", count / results["ours"][1].sum(),
            count / results[fastest][1].sum(), speed_name, None, True),
        row("opening the model", "ms", "lower", load_ms, peer_load_ms, speed_name, None, True),
    ]
    tokens = sum(map(len, token_ids))
    print(f"{count} texts, {tokens / count:.1f} tokens on average, least of {arguments.rounds} interleaved rounds")
    print(f"{'metric':<32}{'ours':>12}{'peer':>12}  {'unit':<8}{'ratio':>7}{'bar':>7}  {'met':<4} peer")
    for item in rows:
        bar = "" if item["bar"] is None else f"{item['bar']:.2f}"
        met = {True: "yes", False: "NO", None: ""}[item["met"]]
        print(f"{item['metric']:<32}{item['ours']:>12.5g}{item['peer']:>12.5g}  {item['unit']:<8}"
              f"{item['ratio']:>6.2f}x{bar:>7}  {met:<4} {item['peer_name']}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
