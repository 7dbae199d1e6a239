#!/usr/bin/env python3
"""The Python package over the C library."""

import io
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import foreshore

from command_line import MODEL, TINY, CommandLineTest, needs_model, tiny_texts, write_adapter
from hnswlib_file import write_hnswlib
from image_files import part_photo, scratch_onnx


class PythonTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="foreshore-python-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.db = foreshore.open(self.folder / "db.foreshore", create=True)
        self.addCleanup(self.db.close)
        self.db.create_collection("notes")

    def test_documents_are_dicts(self):
        document = {"text": "naïve ☕ \"quoted\"\n", "n": 1, "real": 1.5, "none": None, "yes": True, "deep": {"a": [1, {}]}}
        self.assertEqual(self.db.put("notes", "n1", document), "n1")
        self.assertEqual(self.db.get("notes", "n1"), document)
        self.db.patch("notes", "n1", {"n": 2, "text": None})
        self.assertEqual(self.db.get("notes", "n1")["n"], 2)
        self.assertNotIn("text", self.db.get("notes", "n1"))
        made = self.db.put("notes", None, {"x": 1})
        self.assertEqual(self.db.get("notes", made), {"x": 1})
        self.db.delete("notes", made)
        with self.assertRaises(KeyError):
            self.db.get("notes", made)
        self.assertEqual(self.db.collections(), ["notes"])

    def test_attachments_are_file_objects(self):
        self.db.put("notes", "n1", {"text": "pump"})
        content = os.urandom(700_000)
        info = self.db.put_attachment("notes", "n1", "photo", io.BytesIO(content), "image/jpeg")
        self.assertEqual((info["size_bytes"], info["type"], info["is_here"]), (700_000, "image/jpeg", True))
        self.db.put_attachment("notes", "n1", "note", b"text")
        self.assertEqual([one["name"] for one in self.db.attachments("notes", "n1")], ["photo", "note"])
        with self.db.open_attachment("notes", "n1", "photo") as file:
            self.assertEqual(file.read(), content)
            file.seek(-10, io.SEEK_END)
            self.assertEqual(file.read(), content[-10:])
            file.seek(300_000)
            self.assertEqual(file.read(5), content[300_000:300_005])
        self.db.remove_attachment("notes", "n1", "note")
        with self.assertRaises(foreshore.NotFound):
            self.db.open_attachment("notes", "n1", "note")

        class Failing:
            def read(self, count):
                raise RuntimeError("camera")
        with self.assertRaisesRegex(RuntimeError, "camera"):
            self.db.put_attachment("notes", "n1", "broken", Failing())
        self.assertEqual(len(self.db.attachments("notes", "n1")), 1)

    def test_errors_carry_code_and_message(self):
        with self.assertRaises(foreshore.NotFound) as caught:
            self.db.get("notes", "nowhere")
        self.assertEqual(caught.exception.code, 1)
        self.assertIn("nowhere", str(caught.exception))
        with self.assertRaises(foreshore.AlreadyExists):
            self.db.create_collection("notes")
        with self.assertRaises(foreshore.NotFound):
            self.db.put("unknown", "a", {})
        with self.assertRaises(foreshore.NotFound):
            foreshore.open(self.folder / "none.foreshore")
        for document in ({"a": math.nan}, {"a": {1, 2}}, {"a": math.inf}):
            with self.assertRaises(foreshore.InvalidArgument):
                self.db.put("notes", "a", document)
        with self.assertRaises(ValueError):
            self.db.put("notes", "a\0b", {})
        with self.assertRaises(foreshore.Limit):
            self.db.put("notes", "x" * 300, {})
        with self.assertRaises(foreshore.InvalidArgument):
            foreshore.open(self.folder / "x", create=True, storage="paper")

    def test_a_second_open_is_busy_and_says_who(self):
        with self.assertRaises(foreshore.Busy) as caught:
            foreshore.open(self.folder / "db.foreshore")
        self.assertIn("db.foreshore", str(caught.exception))

    def test_a_closed_database_refuses(self):
        rows = self.db.sql("SELECT 1")
        self.db.close()
        self.db.close()
        with self.assertRaises(foreshore.Cancelled):
            rows.all()
        with self.assertRaises(foreshore.Cancelled):
            self.db.get("notes", "a")
        with self.assertRaises(foreshore.Cancelled):
            self.db.sql("SELECT 1")

    def test_sql_binds_and_iterates(self):
        for number in range(5):
            self.db.put("notes", f"n{number}", {"number": number, "site": "AB"[number % 2]})
        rows = self.db.sql("SELECT id, number FROM notes WHERE site = ? AND number > ? ORDER BY number", "A", 0)
        self.assertEqual([tuple(row) for row in rows], [("n2", 2), ("n4", 4)])
        row = self.db.sql("SELECT :text AS text, :real AS real, :blob AS blob, :none AS none, :big AS big",
                          text="é\0x", real=0.5, blob=b"\0\xff", none=None, big=2**63 - 1).one()
        self.assertEqual(row.as_dict(), {"text": "é\0x", "real": 0.5, "blob": b"\0\xff", "none": None, "big": 2**63 - 1})
        self.assertEqual(row["real"], row[1])
        with self.assertRaises(KeyError):
            row["other"]
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.sql("SELECT ?", 2**63)
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.sql("SELECT ?", object())
        with self.assertRaises(foreshore.Error) as caught:
            self.db.sql("SELECT * FROM nowhere")
        self.assertIn("nowhere", str(caught.exception))
        self.assertEqual(self.db.sql("UPDATE notes SET site = 'C' WHERE site = 'A'").changed_count, 3)
        self.assertEqual(self.db.sql("SELECT count(*) FROM notes WHERE site = 'C'").one()[0], 3)

    ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"

    def test_a_statement_stops_at_its_timeout(self):
        self.db.timeout = 0.05
        with self.assertRaises(foreshore.Cancelled) as caught:
            self.db.sql(self.ENDLESS).all()
        self.assertIn("time limit of 50 ms", str(caught.exception))
        self.db.timeout = None
        self.assertEqual(self.db.sql("SELECT 1").one()[0], 1)
        with self.db.connect(timeout=0.05) as connection:
            with self.assertRaises(foreshore.Cancelled):
                connection.sql(self.ENDLESS).all()
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.connect(timeout=0)

    def test_an_interrupt_of_the_keyboard_stops_a_statement(self):
        # In a process of its own: the signal must come while C code runs, from outside.
        program = (
            "import foreshore, sys\n"
            "db = foreshore.open(sys.argv[1])\n"
            "try:\n"
            "    print('ready', flush=True)\n"
            "    db.sql(sys.argv[2]).all()\n"
            "except KeyboardInterrupt:\n"
            "    print('stopped', db.sql('SELECT 7').one()[0], flush=True)\n")
        self.db.close()
        process = subprocess.Popen([sys.executable, "-c", program, str(self.folder / "db.foreshore"), self.ENDLESS],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        # Once may come before the statement runs; then it stops all the same.
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        self.assertEqual((out, errors), ("stopped 7\n", ""))

    def test_another_thread_stops_a_statement(self):
        with self.db.connect() as connection:
            done = threading.Event()

            def interrupt():
                while not done.wait(0.01):
                    connection.interrupt()

            thread = threading.Thread(target=interrupt)
            thread.start()
            with self.assertRaises(foreshore.Cancelled) as caught:
                connection.sql(self.ENDLESS).all()
            done.set()
            thread.join()
            self.assertIn("interrupted", str(caught.exception))
            self.assertEqual(connection.sql("SELECT 1").one()[0], 1)

    def test_a_connection_keeps_a_transaction(self):
        with self.db.connect() as connection:
            self.assertFalse(connection.in_transaction)
            connection.sql("BEGIN")
            self.assertTrue(connection.in_transaction)
            connection.sql("INSERT INTO notes (id, body) VALUES ('a', '{}')")
            connection.sql("SAVEPOINT s")
            connection.sql("INSERT INTO notes (id, body) VALUES ('b', '{}')")
            connection.sql("ROLLBACK TO s")
            with self.db.connect(busy_timeout=0) as other:
                with self.assertRaises(foreshore.Busy) as caught:
                    other.sql("DELETE FROM notes")
            self.assertIn("a SQL transaction has been writing for", str(caught.exception))
            connection.sql("COMMIT")
            self.assertEqual([row["id"] for row in self.db.sql("SELECT id FROM notes")], ["a"])
            connection.sql("BEGIN")
            connection.sql("DELETE FROM notes")
        self.assertEqual(self.db.sql("SELECT count(*) FROM notes").one()[0], 1)
        with self.assertRaises(foreshore.Cancelled):
            connection.sql("SELECT 1")

    def test_a_transaction_goes_back_to_a_savepoint(self):
        with self.db.transaction() as transaction:
            transaction.put("notes", "a", {"n": 1})
            transaction.savepoint("s")
            transaction.put("notes", "a", {"n": 2})
            transaction.rollback_to("s")
            transaction.put("notes", "b", {"n": 3})
            transaction.release("s")
            with self.assertRaises(foreshore.NotFound):
                transaction.rollback_to("s")
        self.assertEqual(self.db.get("notes", "a"), {"n": 1})
        self.assertEqual(self.db.get("notes", "b"), {"n": 3})

    def test_a_transaction_is_all_or_nothing(self):
        self.db.create_collection("sites")
        with self.db.transaction() as transaction:
            transaction.put("notes", "a", {"n": 1})
            transaction.put("sites", "b", {"n": 2})
            self.assertEqual(transaction.get("notes", "a"), {"n": 1})
        self.assertEqual(self.db.get("sites", "b"), {"n": 2})
        with self.assertRaises(RuntimeError):
            with self.db.transaction() as transaction:
                transaction.delete("notes", "a")
                raise RuntimeError("on purpose")
        self.assertEqual(self.db.get("notes", "a"), {"n": 1})
        with self.assertRaises(foreshore.Cancelled):
            transaction.put("notes", "c", {})

    def test_close_waits_for_no_transaction(self):
        transaction = self.db.transaction()
        with self.assertRaises(foreshore.Busy):
            self.db.close()
        transaction.close()
        self.db.close()

    def test_a_document_is_written_over_the_version_that_was_read(self):
        self.db.put("notes", "a", {"x": 1, "y": 1})
        read = self.db.read("notes", "a")
        self.assertEqual(read, {"x": 1, "y": 1})
        self.db.patch("notes", "a", {"x": 2})
        read["y"] = 3
        self.db.put_over(read)
        self.assertEqual(self.db.get("notes", "a"), {"x": 2, "y": 3})

    def test_indexes_are_made_used_and_dropped(self):
        for number in range(50):
            self.db.put("notes", f"n{number}", {"n": number, "site": {"name": f"s{number % 5}"}, "tags": [number % 3]})
        self.db.create_index("notes", "site.name", "n")
        self.db.create_index("notes", "n", unique=True, where="n >= 10", name="late")
        self.db.create_index("notes", "tags[]")
        self.db.wait_indexed()
        indexes = {index["name"]: index for index in self.db.indexes()}
        self.assertEqual(set(indexes), {"notes.site.name,n", "notes.late", "notes.tags[]"})
        self.assertEqual(indexes["notes.late"]["entry_count"], 40)
        plan = self.db.sql('EXPLAIN QUERY PLAN SELECT * FROM notes WHERE "site.name" = \'s1\' AND n > 20')
        self.assertIn("index site.name,n", list(plan)[0][3])
        rows = self.db.sql("SELECT count(*) FROM notes WHERE array_contains(tags, 2)")
        self.assertEqual([tuple(row) for row in rows], [(16,)])
        with self.assertRaises(foreshore.AlreadyExists):
            self.db.put("notes", "twice", {"n": 12})
        self.db.put("notes", "early", {"n": 2})
        self.db.drop_index("notes", "late")
        self.db.put("notes", "twice", {"n": 12})
        with self.assertRaises(foreshore.NotFound):
            self.db.drop_index("notes", "late")
        self.assertEqual(self.db.verify()["problems"], [])

    def test_vectors_are_searched(self):
        self.db.create_collection("points")
        self.db.create_vector_index("points", "place", dimension=2, metric="l2")
        for number in range(10):
            self.db.put("points", f"p{number}", {"place": [number, 0], "even": number % 2 == 0})
        hits = self.db.search("points", vector=[3.2, 0], k=2, where="even")
        self.assertEqual([hit.id for hit in hits], ["p4", "p2"])
        self.assertTrue(hits[0].document["even"])
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.search("points", vector=[1, 2, 3])
        (index,) = self.db.indexes()
        self.assertEqual((index["name"], index["vector_count"]), ("points.place", 10))
        self.assertEqual((index["bits"], index["links_per_node"], index["graph"], index["ef"]), (8, 16, "flat", 0))
        self.db.drop_vector_index("points", "place")
        self.assertEqual(self.db.indexes(), [])

    def test_an_index_of_vectors_is_tuned(self):
        self.db.create_collection("points")
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.create_vector_index("points", "place", dimension=2, graph="tree")
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.create_vector_index("points", "place", dimension=2, bits=2)
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.create_vector_index("points", "place", dimension=2, bits=4, graph="hnswlib")
        self.db.create_vector_index("points", "place", dimension=2, bits=1)
        self.assertEqual(self.db.indexes()[0]["bits"], 1)
        self.db.drop_vector_index("points", "place")
        self.db.create_vector_index("points", "place", dimension=2, metric="l2", bits=16, links=8, graph="hnswlib")
        for number in range(30):
            self.db.put("points", f"p{number}", {"place": [number, number * number % 7]})
        tuned = self.db.tune_vector_index("points", "place", recall=0.9, samples=5)
        self.assertGreaterEqual(tuned["recall"], 0.9)
        self.assertEqual(tuned["sample_count"], 5)
        (index,) = self.db.indexes()
        self.assertEqual((index["bits"], index["links_per_node"], index["graph"]), (16, 8, "hnswlib"))
        self.assertEqual((index["ef"], index["recall"]), (tuned["ef"], tuned["recall"]))

    def test_an_index_of_hnswlib_is_taken_over(self):
        self.db.create_collection("places")
        path = self.folder / "places.bin"
        write_hnswlib(path, {7 + number: [number, number * number % 7] for number in range(30)}, deleted={8})
        with self.assertRaisesRegex(foreshore.InvalidArgument, "no metric given"):
            self.db.import_hnswlib("places", "place", path)
        with self.assertRaisesRegex(foreshore.NotFound, "no id for 7, expected"):
            self.db.import_hnswlib("places", "place", path, metric="l2", ids={})
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.import_hnswlib("places", "place", path, metric="far")
        ids = {7 + number: f"p{number}" for number in range(30)}
        done = self.db.import_hnswlib("places", "place", path, metric="l2", ids=ids, bits=16)
        self.assertEqual(done, {"document_count": 29, "deleted_count": 1, "dimension": 2, "links_per_node": 4,
                                "links_kept": True})
        self.assertEqual(self.db.get("places", "p9"), {"place": [9, 4]})
        with self.assertRaises(KeyError):
            self.db.get("places", "p1")  # It was deleted.
        (index,) = self.db.indexes()
        self.assertEqual((index["bits"], index["vector_count"], index["opened_from"]), (16, 29, "imported"))
        self.assertEqual([hit.id for hit in self.db.search("places", vector=[9, 4.2], k=2)], ["p9", "p10"])
        again = self.db.import_hnswlib("places", "place", path)  # Under the labels now, beside those.
        self.assertFalse(again["links_kept"])
        self.assertEqual(self.db.indexes()[0]["vector_count"], 58)
        path.write_bytes(path.read_bytes()[:200])
        with self.assertRaisesRegex(foreshore.Corruption, "element_count is 30, expected 0"):
            self.db.import_hnswlib("places", "place", path)

    def test_words_are_searched(self):
        self.db.create_collection("texts")
        self.db.put("texts", "a", {"text": "pump bearing"})
        self.db.create_text_index("texts", ["text"], tokenizer="porter", prefix_lengths=[2])
        self.db.put("texts", "b", {"text": "bearings of the gate"})
        rows = self.db.sql("SELECT id, highlight(texts, 'text', '[', ']') AS seen FROM texts WHERE texts MATCH ? "
                           "ORDER BY id", "bearing")
        self.assertEqual([(row["id"], row["seen"]) for row in rows],
                         [("a", "pump [bearing]"), ("b", "[bearings] of the gate")])
        (index,) = [index for index in self.db.indexes() if index["collection"] == "texts"]
        self.assertEqual((index["full_text"], index["tokenizer"], index["document_count"]), (["text"], "porter", 2))
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.create_text_index("texts", ["text"], tokenizer="none")
        self.db.drop_text_index("texts")
        self.assertEqual(self.db.indexes(), [])

    def test_threads_share_a_database(self):
        failures = []

        def write(start):
            try:
                for number in range(start, start + 50):
                    self.db.put("notes", f"t{number}", {"n": number})
                    self.assertEqual(self.db.sql("SELECT n FROM notes WHERE id = ?", f"t{number}").one()["n"], number)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=write, args=(start,)) for start in (0, 50, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(self.db.sql("SELECT count(*) FROM notes").one()[0], 150)

    def test_paths_and_counts_that_c_would_read_otherwise_are_refused(self):
        for call in (lambda: foreshore.open(f"{self.folder}/a\0b", create=True), lambda: self.db.backup("a\0b"),
                     lambda: self.db.add_model("m", "a\0b"), lambda: self.db.add_adapter("m", "a", "a\0b")):
            with self.assertRaisesRegex(foreshore.InvalidArgument, "NUL"):
                call()
        self.assertFalse((self.folder / "a").exists())
        for k in (0, -1):
            with self.assertRaisesRegex(foreshore.InvalidArgument, "at least 1"):
                self.db.search("notes", "x", k=k)

    def test_rows_of_a_database_that_was_closed_do_not_just_end(self):
        rows = self.db.sql("SELECT value FROM json_each('[1,2,3]')")
        whole = self.db.sql("SELECT value FROM json_each('[1]')")
        self.assertEqual([next(iter(rows))[0], len(whole.all())], [1, 1])
        self.db.close()
        with self.assertRaisesRegex(foreshore.Cancelled, "before the last row"):
            rows.all()
        self.assertEqual(whole.all(), [])

    def test_care(self):
        self.db.put("notes", "a", {"n": 1})
        self.assertEqual(self.db.verify()["problems"], [])
        self.assertEqual(self.db.stats()["collections"], [{"name": "notes", "document_count": 1}])
        self.db.checkpoint()
        self.db.compact()
        self.db.backup(self.folder / "copy.foreshore")
        with foreshore.open(self.folder / "copy.foreshore") as copy:
            self.assertEqual(copy.get("notes", "a"), {"n": 1})
        self.assertEqual(self.db.rescued(), [])

    def test_a_graph_is_quantized_on_photos_and_on_values(self):
        (self.folder / "scratch.onnx").write_bytes(scratch_onnx())
        self.db.add_model("scratch", self.folder / "scratch.onnx", licence="mit", origin="https://example.org/scratch")
        for i in range(60):
            self.db.put("notes", f"p{i}", {"plane": [[[[j * i % 7 / 7 for j in range(5)]] * 5]]})
            self.db.put_attachment("notes", f"p{i}", "photo", part_photo(i), "image/png")
        image = {"color": "grey", "width": 24, "height": 24}
        common = {"method": "int8", "collection": "notes", "calibration": 30, "held_out": 25}
        report = self.db.quantize_model("scratch", "photos", path="photo", image=image, **common)
        self.assertTrue(report["is_activated"], report["refusal"])
        self.assertEqual((report["calibration_count"], report["held_out_count"]), (30, 25))
        self.assertGreater(report["top_one_agreement"], 0.9)
        self.assertEqual((report["model"]["architecture"], report["model"]["quantization"]), ("graph", "int8"))
        self.assertEqual((report["model"]["licence"], report["model"]["origin"]), ("mit", "https://example.org/scratch"))
        found = self.db.sql("SELECT count(*) FROM notes WHERE predict('photos', image_tensor(attachment('notes', id, "
                            "'photo'), '{\"color\":\"grey\"}')) ->> '$[0][0]' > 1").one()[0]
        self.assertEqual(found, 20)
        report = self.db.quantize_model("scratch", "values", path="plane", overlap_min=0, **common)
        self.assertTrue(report["is_activated"], report["refusal"])
        with self.assertRaisesRegex(foreshore.InvalidArgument, "colour"):
            self.db.quantize_model("scratch", "x", path="photo", image={"colour": "grey"}, **common)
        with self.assertRaises(foreshore.InvalidArgument):  # No image has a JSON value at "photo".
            self.db.quantize_model("scratch", "x", path="photo", **common)
        self.db.add_model("tiny", TINY, quantize="none")
        with self.assertRaisesRegex(foreshore.InvalidArgument, "expected a graph for images"):
            self.db.quantize_model("tiny", "x", path="photo", image={}, **common)

    def test_a_model_is_quantized_and_adapted(self):
        self.db.add_model("tiny", TINY, quantize="none")
        with self.db.transaction() as transaction:
            for i, text in enumerate(tiny_texts(80)):
                transaction.put("notes", str(i), {"text": text})
        report = self.db.quantize_model("tiny", "small", method="nf4", collection="notes", path="text",
                                        calibration=50, held_out=30, overlap_min=0)
        self.assertTrue(report["is_activated"])
        self.assertEqual(report["model"]["quantization"], "nf4")
        refused = self.db.quantize_model("tiny", "tight", method="gptq3", collection="notes", path="text",
                                         group_size=32, calibration=50, held_out=30, overlap_min=1)
        self.assertFalse(refused["is_activated"])
        self.assertIn("tight", refused["refusal"])
        self.assertEqual({model["name"] for model in self.db.models()}, {"tiny", "small"})
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.quantize_model("small", "x", collection="notes", path="text")
        plain = self.db.predict("small", "the pump")
        self.assertEqual(self.db.add_adapter("small", "one", write_adapter(self.folder / "one"))["adapters"], ["one"])
        self.db.add_adapter("small", "two", write_adapter(self.folder / "two", sign=-1.0))
        one = self.db.predict("small", "the pump", "one")
        self.assertNotEqual(one, plain)
        self.assertNotEqual(one, self.db.predict("small", "the pump", adapter="two"))
        self.assertEqual(self.db.predict("small", "the pump"), plain)
        self.db.remove_adapter("small", "one")
        with self.assertRaises(foreshore.NotFound):
            self.db.predict("small", "the pump", "one")

    @needs_model
    def test_a_model_embeds_on_write(self):
        model = self.db.add_model("minilm", MODEL)
        self.assertEqual(model["dimension"], 384)
        with self.assertRaises(foreshore.NotFound):
            self.db.create_vector_index("notes", "embedding", model="minilm", sources=["text"], adapter="absent")
        self.db.create_vector_index("notes", "embedding", model="minilm", sources=["text"])
        self.db.put("notes", "cold", {"text": "The freezer is too warm."})
        self.db.put("notes", "door", {"text": "The gate does not open."})
        self.db.wait_embedded(60)
        self.assertEqual(self.db.search("notes", "broken refrigerator", k=1)[0].id, "cold")
        embedding = self.db.embed("minilm", "pump")
        self.assertEqual(len(embedding), 384)
        self.assertAlmostEqual(sum(value * value for value in embedding), 1.0, places=3)
        self.assertTrue(self.db.predict("minilm", {"text": "pump"}))
        with self.assertRaises(foreshore.Conflict):
            self.db.remove_model("minilm")


class PythonSyncTest(CommandLineTest):
    def test_devices_meet_through_a_gateway(self):
        _, url = self.start_gateway()
        seen = []
        with foreshore.open(self.db, create=True) as first, \
                foreshore.open(self.folder / "second.foreshore", create=True) as second:
            first.create_collection("notes")
            first.put("notes", "a", {"x": 1, "y": 1})
            first.sync(url, progress=seen.append)
            second.sync(url)
            self.assertTrue(seen)
            first.patch("notes", "a", {"x": 2})
            second.patch("notes", "a", {"y": 2})
            for device in (first, second, first):
                device.sync(url)
            self.assertEqual(first.get("notes", "a"), {"x": 2, "y": 2})
            self.assertEqual(second.get("notes", "a"), {"x": 2, "y": 2})

            def fail(_):
                raise RuntimeError("on purpose")

            first.put("notes", "b", {})
            with self.assertRaises(RuntimeError):
                first.sync(url, progress=fail)
            first.sync(url)
            with self.assertRaises(foreshore.NetworkError):
                first.sync("http://127.0.0.1:1")


class LiveTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="foreshore-python-")
        self.addCleanup(folder.cleanup)
        self.db = foreshore.open(Path(folder.name) / "db.foreshore", create=True, durability="normal")
        self.addCleanup(self.db.close)
        self.db.create_collection("notes")
        self.db.put("notes", "a", {"n": 1, "site": "A"})

    def test_a_subscription_is_iterated(self):
        with self.db.subscribe("SELECT id, n FROM notes WHERE site = ? ORDER BY n", "A") as subscription:
            first = subscription.wait()
            self.assertTrue(first.is_first)
            self.assertEqual(first.rows, [("a", 1)])
            with self.db.transaction() as txn:
                txn.put("notes", "b", {"n": 0, "site": "A"})
                txn.put("notes", "a", {"n": 2, "site": "A"})
            changes = subscription.wait()
            self.assertEqual([(change.kind, change.old_position, change.new_position) for change in changes.changes],
                             [("inserted", None, 0), ("updated", 0, 1)])
            self.assertEqual(changes.changes[1].old_row["n"], 1)
            self.assertEqual(changes.changes[1].new_row["n"], 2)
            self.assertEqual(changes.rows, [("b", 0), ("a", 2)])
            self.assertGreater(changes.sequence, first.sequence)
            self.assertEqual(self.db.stats()["subscription_count"], 1)
            self.db.delete("notes", "b")
            for changes in subscription:
                self.assertEqual(changes.changes[0].kind, "removed")
                break
            self.assertIsNone(subscription.wait(0))
        self.assertEqual(self.db.stats()["subscription_count"], 0)
        self.assertIsNone(subscription.wait())

    def test_a_callback_may_write_and_close_its_subscription(self):
        done = threading.Event()
        told = []

        def on_changes(changes):
            told.append(changes.rows)
            if len(changes.rows) < 3:
                self.db.put("notes", f"n{len(changes.rows)}", {"n": 0})
            else:
                subscription.close()
                done.set()

        ready = threading.Event()  # Nothing is told before `subscription` is set.
        subscription = self.db.subscribe("SELECT id FROM notes ORDER BY id",
                                         callback=lambda changes: (ready.wait(), on_changes(changes)))
        ready.set()
        self.assertTrue(done.wait(60))
        self.assertEqual([len(rows) for rows in told], [1, 2, 3])
        self.assertFalse(subscription.active)

    def test_what_ends_a_subscription_is_raised(self):
        subscription = self.db.subscribe("SELECT id FROM notes", row_limit=1)
        subscription.wait()
        self.db.put("notes", "b", {})
        with self.assertRaises(foreshore.Limit):
            subscription.wait()
        with self.assertRaises(foreshore.InvalidArgument):
            self.db.subscribe("DELETE FROM notes")

    def test_closing_the_database_ends_an_iteration_on_another_thread(self):
        subscription = self.db.subscribe("SELECT id FROM notes")
        seen = threading.Event()
        count = []

        def follow():
            for changes in subscription:
                count.append(changes)
                seen.set()

        thread = threading.Thread(target=follow)
        thread.start()
        self.assertTrue(seen.wait(60))
        self.db.close()
        thread.join(60)
        self.assertFalse(thread.is_alive())
        self.assertEqual(len(count), 1)


class LibraryTest(unittest.TestCase):
    def test_a_library_that_is_not_there_is_an_import_error(self):
        import subprocess
        import sys
        done = subprocess.run([sys.executable, "-c", "import foreshore"], capture_output=True, text=True, check=False,
                              env={**os.environ, "FORESHORE_LIBRARY": "no-such-library.so"})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ImportError: libforeshore", done.stderr)


if __name__ == "__main__":
    unittest.main()
