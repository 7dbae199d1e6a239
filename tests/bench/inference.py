#!/usr/bin/env python3
"""Compares our text models with ONNX Runtime and llama.cpp. Run by scripts/bench.sh inference.

All sides get the same token ids, in turn, call by call, in one run; a call's time is the least of its rounds. ONNX
Runtime takes part with the fastest, for each shape, of its dynamically quantized int8 forms of the same weights
(per-channel or per-tensor, 8 or 7 bits, signed or unsigned weights) and a ready-made one. "On the processor" counts only
time that the process was given, for machines shared with others. The oracle of fidelity is ONNX Runtime in f32.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from inference_sides import Lines, OnnxRuntime, fastest, fidelity, interleave, make_onnx_models

COMMAND = "scripts/bench.sh inference"
PARTS = ("shapes", "threads", "texts", "llama", "gemm", "opening", "memory", "accuracy", "gptq", "lora")
LENGTHS, BATCHES = (16, 64, 128, 256), (1, 8)
CALIBRATION_COUNT = 600


def row(metric, unit, better, ours, peer, peer_name, bar=None, of="ratio"):
    """`bar` bounds the ratio from below, or with `of` "least" or "most" our own value."""
    ratio = None
    if peer:
        ratio = float(ours / peer if better == "higher" else peer / ours)
    met = None
    if bar is not None:
        met = bool({"ratio": lambda: ratio >= bar, "least": lambda: ours >= bar, "most": lambda: ours <= bar}[of]())
    result = {"metric": metric, "unit": unit, "better": better, "ours": float(ours),
              "peer": None if peer is None else float(peer), "peer_name": peer_name, "ratio": ratio, "bar": bar,
              "bar_of": of, "met": met, "command": COMMAND}
    if bar is None:
        result["why"] = "no bar is set"
    return result


def show(item):
    def number(value, form):
        return "" if value is None else format(value, form)
    bar = ""
    if item["bar"] is not None:
        bar = {"ratio": "≥", "least": "≥", "most": "≤"}[item["bar_of"]] + format(item["bar"], "g")
        bar += "x" if item["bar_of"] == "ratio" else ""
    met = {True: "yes", False: "NO", None: ""}[item["met"]]
    ratio = "" if item["ratio"] is None else f"{item['ratio']:.2f}x"
    print(f"{item['metric']:<46}{number(item['ours'], '>11.5g'):>11}{number(item['peer'], '>11.5g'):>11}  "
          f"{item['unit']:<8}{ratio:>8}{bar:>8}  {met:<4}{item['peer_name']}", flush=True)


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        with open(arguments.documents, encoding="utf-8") as lines:
            self.texts = [" ".join(json.loads(line)["text"].split()) for line in lines]
        self.oracle_path, self.forms = make_onnx_models(arguments.model, arguments.cache, arguments.ready_made)
        self.ours = self.server("int8", 1)

    @functools.cached_property
    def onnx(self):
        return {name: OnnxRuntime(path) for name, path in self.forms.items()}

    def server(self, form, thread_count, *more):
        return Lines(self.arguments.ours, self.arguments.model, form, str(thread_count), *more)

    def sample(self, count, offset=0):
        """Token ids of texts that are evenly spread: the file is in order of package name."""
        if len(self.texts) < count:
            sys.exit(f"inference bench: found {len(self.texts)} texts, expected at least {count}")
        places = [(index * len(self.texts) // count + offset) % len(self.texts) for index in range(count)]
        return [self.ours.tokenize(self.texts[place]) for place in places]

    def grid(self, ours, peers, bar, bar_each, name):
        """Every length and batch; real tokens, cut or repeated to length."""
        stream = [token for ids in self.sample(200) for token in ids[1:-1]]
        ratios = []
        for length in LENGTHS:
            for batch in BATCHES:
                call = [[101] + stream[i * (length - 2):][: length - 2] + [102] for i in range(batch)]
                peer = fastest(peers, call, 3)
                sides = {"ours": ours, "peer": peers[peer]}
                results = interleave(sides, [call], self.arguments.rounds * 10)
                mine, theirs = (results[side][0][0] * 1e3 for side in ("ours", "peer"))
                ratios.append(theirs / mine)
                yield row(f"{name}, {batch} x {length} tokens", "ms", "lower", mine, theirs, f"ONNX Runtime {peer}")
        mean = float(np.exp(np.mean(np.log(ratios))))
        yield row(f"{name}, geometric mean", "times", "higher", mean, 1.0, "ONNX Runtime", bar)
        yield row(f"{name}, least", "times", "higher", min(ratios), 1.0, "ONNX Runtime", bar_each)

    def shapes(self):
        yield from self.grid(self.ours, self.onnx, 1.45, 1.25, "one thread")

    def threads(self):
        ours = self.server("int8", 2)
        peers = {name: OnnxRuntime(path, 2) for name, path in self.forms.items()}
        yield from self.grid(ours, peers, 1.35, None, "two threads")
        ours.close()

    def real_texts(self):
        ids = self.sample(self.arguments.texts)
        count, lengths = len(ids), list(map(len, ids))
        batches = [ids[i:i + 8] for i in range(0, count, 8)]
        batch_peer = fastest(self.onnx, batches[len(batches) // 2], 3)
        one_peer = fastest(self.onnx, [sorted(ids, key=len)[count // 2]], 9)
        print(f"{count} texts, {np.mean(lengths):.1f} tokens on average, {min(lengths)} to {max(lengths)}")
        for calls, name, peer, bar in ((batches, "texts in eights, peer padded", batch_peer, 3.5),
                                       ([[each] for each in ids], "texts one by one", one_peer, 1.5)):
            results = interleave({"ours": self.ours, "peer": self.onnx[peer]}, calls, self.arguments.rounds)
            for kind, label in ((0, name), (1, name + ", on the processor")):
                mine, theirs = (count / results[side][kind].sum() for side in ("ours", "peer"))
                yield row(label, "texts/s", "higher", mine, theirs, f"ONNX Runtime {peer}", None if kind else bar)

    def llama(self):
        here = os.path.dirname(__file__)
        peer = Lines(self.arguments.llama, os.path.join(here, "llama_side.py"), self.arguments.gguf)
        calls = [[ids] for ids in self.sample(min(200, self.arguments.texts))]
        results = interleave({"ours": self.ours, "llama": peer}, calls, self.arguments.rounds)
        peer.close()
        cosine = np.mean([(a * b).sum() for a, b in zip(results["ours"][2], results["llama"][2])])
        if cosine < 0.98:
            sys.exit(f"inference bench: llama.cpp's embeddings have cosine {cosine:.3f} with ours: not the same model")
        for kind, label in ((0, "texts one by one"), (1, "texts one by one, on the processor")):
            mine, theirs = (len(calls) / results[side][kind].sum() for side in ("ours", "llama"))
            yield row(label, "texts/s", "higher", mine, theirs, "llama.cpp Q8_0", None if kind else 4)

    def gemm(self):
        best, vnni, peak = (float(value) for value in self.ours.ask("gemm"))
        if peak == 0:
            return
        yield row("int8 product 128 x 384 x 1536, AVX-512 VNNI", "GOPS", "higher", vnni, peak, "this core's VPDPBUSD",
                  0.95)
        yield row("the same by the best kernel", "GOPS", "higher", best, peak, "this core's VPDPBUSD", 0.95)

    def opening(self):
        loads = [self.ours.ask("load") for _ in range(20)]
        peer = min(OnnxRuntime(self.forms["per-channel 8-bit s8"]).load_seconds for _ in range(5)) * 1e3
        yield row("opening the packed model", "ms", "lower", min(int(load[0]) for load in loads) * 1e-6, peer,
                  "ONNX Runtime per-channel 8-bit s8", 5, "most")

    def memory(self):
        """A process of its own; texts repeat where there are fewer."""
        count = self.arguments.memory_texts
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([self.arguments.ours, self.arguments.model, "pack", folder], check=True)
            lines = "".join(self.texts[i % len(self.texts)] + "\n" for i in range(count))
            run = subprocess.run([self.arguments.ours, folder, "memory"], input=lines, text=True, check=True,
                                 capture_output=True)
        reports = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
        yield row(f"peak memory, {count} texts", "MiB", "lower", reports[-1][1] / 1024, None, "", 40, "most")
        yield row("growth after the first tenth", "MiB", "lower", (reports[-1][1] - reports[0][1]) / 1024, None, "", 1,
                  "most")

    def expected(self, ids):
        oracle = OnnxRuntime(self.oracle_path, 2)
        return np.concatenate([oracle.embed([each])[2] for each in ids])

    def accuracy(self):
        ids = self.sample(self.arguments.accuracy_texts)
        expected = self.expected(ids)
        found = np.concatenate([self.ours.embed([each])[2] for each in ids])
        mine = fidelity(found, expected)
        name = "per-channel 8-bit s8"
        part = range(0, len(ids), max(1, len(ids) // 500))
        theirs = np.concatenate([self.onnx[name].embed([ids[i]])[2] for i in part])
        theirs = fidelity(theirs, expected[list(part)])[:2]
        count = f", {len(ids)} texts"
        peer = f"ONNX Runtime {name}, {len(part)} of them"
        yield row("mean cosine to f32" + count, "", "higher", mine[0], theirs[0], peer, 0.995, "least")
        yield row("least cosine to f32" + count, "", "higher", mine[1], theirs[1], peer, 0.98, "least")
        yield row("top-10 overlap with f32" + count, "", "higher", mine[2], None, "", 0.95, "least")

    def gptq(self):
        """Calibrated on one part of the texts and judged on another: even places and odd ones."""
        step = max(2, len(self.texts) // CALIBRATION_COUNT // 2 * 2)
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.writelines(text + "\n" for text in self.texts[::step][:CALIBRATION_COUNT])
            file.flush()
            four = self.server("gptq4", 1, file.name)
            error, seconds, peak_kib = map(float, four.ask("error"))
        ids = [self.ours.tokenize(text) for text in self.texts[1::2]][:: max(1, len(self.texts) // 2 // 1000)][:1000]
        found = np.concatenate([four.embed([each])[2] for each in ids])
        mine = fidelity(found, self.expected(ids))
        yield row("4-bit g128: layers' error", "", "lower", error, 1.0, "rounding to nearest", 0.7, "most")
        yield row(f"4-bit g128: quantizing by {CALIBRATION_COUNT} texts", "s", "lower", seconds, None, "")
        yield row("4-bit g128: peak memory of quantizing", "MiB", "lower", peak_kib / 1024, None, "")
        yield row("4-bit g128: top-10 overlap with f32", "", "higher", mine[2], None, "", 0.90, "least")
        yield row("4-bit g128: mean cosine to f32", "", "higher", mine[0], None, "")
        for length in (16, 64, 256):
            call = [(sum(ids, [])[: length - 1]) + [102]]
            results = interleave({"four": four, "ours": self.ours}, [call], self.arguments.rounds * 10)
            yield row(f"4-bit g128: 1 x {length} tokens", "ms", "lower", results["four"][0][0] * 1e3,
                      results["ours"][0][0] * 1e3, "our int8")
        four.close()

    def lora(self):
        calls = [[ids] for ids in self.sample(min(100, self.arguments.texts))]
        for where, name in (("qv", "query and value"), ("all", "all layers")):
            adapted = self.server("int8", 1)
            adapted.ask("adapter " + where)
            results = interleave({"adapted": adapted, "base": self.ours}, calls, self.arguments.rounds * 3)
            adapted.close()
            slower = [100 * (results["adapted"][kind].sum() / results["base"][kind].sum() - 1) for kind in (0, 1)]
            yield row(f"LoRA rank 8 on {name}: slower by", "%", "lower", slower[0], None, "our int8 without", 8, "most")
            yield row("the same on the processor", "%", "lower", slower[1], None, "our int8 without")

    def run(self, parts):
        methods = {"texts": self.real_texts}
        for part in parts:
            yield from methods.get(part, getattr(self, part, None))()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("ours", "model", "documents", "cache", "ready-made", "llama", "gguf"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--accuracy-texts", type=int, default=5000)
    parser.add_argument("--memory-texts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    # The bars are those of int8 on one model, so a part that is left out leaves its rows out.
    print(f"{'metric':<46}{'ours':>11}{'peer':>11}  {'unit':<8}{'ratio':>8}{'bar':>8}  met peer")
    rows = []
    for item in Bench(arguments).run(arguments.only):
        show(item)
        rows.append(item)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
