"""One peer of the bench of vectors, through its own Python API: a line protocol on standard input and output, so that the
driver (vectors.py) can interleave it with ours, round by round.

    vector_peer.py usearch|zvec|objectbox FOLDER cosine|l2 SCRATCH [COUNT]

Begins with {"build_s", "file_bytes", "version"}. A line "search EF" answers all queries once, on one thread, and gives
{"qps", "recall"} at 10. COUNT: so many vectors of the base, else all. Parameters as ours: M 16, efConstruction 200, two threads to build.
"""

import json
import os
import sys
import time

import numpy

K = 10
LINKS = 16
EF_CONSTRUCTION = 200
THREADS = 2


def read_fvecs(path):
    rows = numpy.fromfile(path, dtype="<i4")
    dimension = int(rows[0])
    return rows.reshape(-1, dimension + 1)[:, 1:].view("<f4").copy()


def unit(rows):
    norms = numpy.linalg.norm(rows, axis=1, keepdims=True)
    return rows / numpy.where(norms == 0, 1, norms)


def folder_bytes(folder):
    return sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(folder) for name in names)


class Usearch:
    """i8. It takes int8 rows as they are, so that these are cast here as suits each metric best: under cosine each row by
    its own greatest number, under L2 all by one."""

    def __init__(self, base, metric, scratch):
        import usearch
        from usearch.index import Index
        self.version = usearch.__version__
        self.metric = metric
        self.greatest = float(numpy.abs(base).max())
        self.index = Index(ndim=base.shape[1], metric="cos" if metric == "cosine" else "l2sq", dtype="i8",
                           connectivity=LINKS, expansion_add=EF_CONSTRUCTION)
        codes = self.cast(base)
        start = time.perf_counter()
        self.index.add(numpy.arange(len(codes)), codes, threads=THREADS)
        self.build_s = time.perf_counter() - start
        path = os.path.join(scratch, "usearch")
        self.index.save(path)
        self.file_bytes = os.path.getsize(path)

    def cast(self, rows):
        greatest = numpy.abs(rows).max(axis=1, keepdims=True) if self.metric == "cosine" else self.greatest
        return numpy.rint(rows * (127 / numpy.where(greatest == 0, 1, greatest))).clip(-127, 127).astype(numpy.int8)

    def prepare(self, queries):
        return self.cast(queries)

    def search(self, queries, ef):
        """All in one call, which spares it the interpreter between two."""
        self.index.expansion_search = ef
        start = time.perf_counter()
        found = self.index.search(queries, K, threads=1)
        return time.perf_counter() - start, found.keys


class Zvec:
    """A collection of documents with an HNSW index over int8."""

    def __init__(self, base, metric, scratch):
        import zvec
        self.zvec = zvec
        self.version = zvec.__version__
        zvec.init(query_threads=1, optimize_threads=THREADS, log_dir=os.path.join(scratch, "logs"))
        folder = os.path.join(scratch, "zvec")
        index = zvec.HnswIndexParam(
            metric_type=zvec.MetricType.COSINE if metric == "cosine" else zvec.MetricType.L2, m=LINKS,
            ef_construction=EF_CONSTRUCTION, quantize_type=zvec.QuantizeType.INT8)
        schema = zvec.CollectionSchema(
            name="points", fields=[zvec.FieldSchema("n", zvec.DataType.INT64)],
            vectors=[zvec.VectorSchema("v", zvec.DataType.VECTOR_FP32, base.shape[1], index_param=index)])
        self.collection = zvec.create_and_open(folder, schema)
        start = time.perf_counter()
        for first in range(0, len(base), 1000):
            statuses = self.collection.insert([
                zvec.Doc(id=str(row), fields={"n": row}, vectors={"v": base[row].tolist()})
                for row in range(first, min(first + 1000, len(base)))])
            if not all(status.ok() for status in statuses):
                raise SystemExit(f"vector_peer: zvec: insert at {first} failed")
        self.collection.optimize()
        self.build_s = time.perf_counter() - start
        self.collection.flush()
        self.file_bytes = folder_bytes(folder)

    def prepare(self, queries):
        return list(queries)

    def search(self, queries, ef):
        found = []
        parameters = self.zvec.HnswQueryParam(ef=ef)
        start = time.perf_counter()
        for query in queries:
            asked = self.zvec.Query("v", vector=query, param=parameters)
            found.append(self.collection.query(asked, topk=K, output_fields=["n"]))
        seconds = time.perf_counter() - start
        return seconds, [[int(document.id) for document in documents] for documents in found]


class Objectbox:
    """Objects with an HNSW index over float32."""

    def __init__(self, base, metric, scratch):
        import objectbox
        self.version = str(objectbox.version)
        folder = os.path.join(scratch, "objectbox")
        distance = objectbox.VectorDistanceType.COSINE if metric == "cosine" else objectbox.VectorDistanceType.EUCLIDEAN

        @objectbox.Entity()
        class Point:
            id = objectbox.Id()
            vector = objectbox.Float32Vector(index=objectbox.HnswIndex(
                dimensions=base.shape[1], neighbors_per_node=LINKS, indexing_search_count=EF_CONSTRUCTION,
                distance_type=distance))

        self.point = Point
        # Else it is written beside this file.
        model_path = os.path.join(scratch, "objectbox-model.json")
        store = objectbox.Store(directory=folder, model_json_file=model_path, max_db_size_in_kb=16 << 20)
        self.box = store.box(Point)
        start = time.perf_counter()
        for first in range(0, len(base), 1000):
            self.box.put([Point(vector=row) for row in base[first:first + 1000]])
        self.build_s = time.perf_counter() - start
        self.file_bytes = folder_bytes(folder)

    def prepare(self, queries):
        return list(queries)

    def search(self, queries, ef):
        """Objects are numbered from 1. How many it is to find is how far it searches."""
        asked = self.box.query(self.point.vector.nearest_neighbors(queries[0], ef)).build()
        asked.limit(K)
        found = []
        start = time.perf_counter()
        for query in queries:
            asked.set_parameter(self.point.vector, query)
            found.append(asked.find_ids_by_score_numpy())
        seconds = time.perf_counter() - start
        return seconds, [ids.astype(numpy.int64) - 1 for ids in found]


def main():
    name, folder, metric, scratch = sys.argv[1:5]
    count = int(sys.argv[5]) if len(sys.argv) > 5 else None
    base = read_fvecs(os.path.join(folder, "base.fvecs"))[:count]
    queries = read_fvecs(os.path.join(folder, "query.fvecs"))
    if metric == "cosine":
        base, queries = unit(base), unit(queries)
    # bench_vectors has written it: 100 true neighbours per query, of which the ten nearest count.
    number = {"cosine": 0, "l2": 2}[metric]
    truth = numpy.fromfile(os.path.join(folder, f"truth-{number}-{len(base)}-{len(queries)}"), dtype="<i8")
    truth = truth.reshape(len(queries), -1)[:, :K]
    peer = {"usearch": Usearch, "zvec": Zvec, "objectbox": Objectbox}[name](base, metric, scratch)
    prepared = peer.prepare(queries)
    print(json.dumps({"build_s": peer.build_s, "file_bytes": peer.file_bytes, "version": peer.version}), flush=True)
    for line in sys.stdin:
        command, ef = line.split()
        if command != "search":
            raise SystemExit(f"vector_peer: found command {command!r}, expected search")
        seconds, found = peer.search(prepared, int(ef))
        hits = sum(len(set(map(int, near)) & set(map(int, true))) for near, true in zip(found, truth))
        print(json.dumps({"qps": len(queries) / seconds, "recall": hits / truth.size}), flush=True)


if __name__ == "__main__":
    main()
