"""Writes files as hnswlib's save_index() does (index/hnswlib_file.h has the format), of one level, for tests of the import.

Each element is linked to those before and after it, which is a graph that hnswlib could have made of few vectors.
"""

import struct

LINKS = 4


def write_hnswlib(path, vectors, deleted=()):
    """`vectors`: rows of floats by label."""
    labels = list(vectors)
    dimension = len(vectors[labels[0]])
    vector_offset = 4 + 4 * 2 * LINKS
    label_offset = vector_offset + 4 * dimension
    with open(path, "wb") as file:
        file.write(struct.pack("<6Qi I 3Qd Q".replace(" ", ""), 0, len(labels) + 3, len(labels), label_offset + 8, label_offset,
                               vector_offset, 0, 0, LINKS, 2 * LINKS, LINKS, 0.72, 200))
        for number, label in enumerate(labels):
            near = [other for other in (number - 2, number - 1, number + 1, number + 2) if 0 <= other < len(labels)]
            file.write(struct.pack("<HBB", len(near), int(label in deleted), 0))
            file.write(struct.pack(f"<{2 * LINKS}I", *near, *[0] * (2 * LINKS - len(near))))
            file.write(struct.pack(f"<{dimension}fQ", *vectors[label], label))
        file.write(bytes(4 * len(labels)))
