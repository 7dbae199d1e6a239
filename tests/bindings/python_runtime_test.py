#!/usr/bin/env python3
"""Models that a Python function runs."""

import array
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import foreshore


def letters(texts):
    return [[text.count(letter) for letter in "abc"] for text in texts]


class RuntimeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="foreshore-runtime-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "db.foreshore"
        self.db = foreshore.open(self.path, create=True)
        self.addCleanup(self.db.close)
        self.db.create_collection("notes")

    def scores(self, callback, **options):
        options = {"version": "1", "input_shape": (2,), "output_shape": (1,), **options}
        return self.db.register_runtime("scores", callback, **options)

    def test_numbers_go_through_sql_and_predict(self):
        seen = []

        def subtract(rows):
            self.assertEqual((rows.format, rows.shape[1], rows.readonly), ("f", 2, True))
            seen.append(rows.shape[0])
            return [row[0] - row[1] for row in rows.tolist()]

        model = self.scores(subtract, batch=4)
        self.assertEqual((model["architecture"], model["runtime_version"], model["is_registered"]), ("runtime", "1", True))
        self.assertEqual(self.db.predict("scores", [3, 1]), [[2]])
        self.assertEqual(self.db.predict("scores", [[3, 1], [5, 1]]), [[2], [4]])
        for n in range(10):
            self.db.put("notes", f"n{n}", {"a": n, "b": 1, "x": [n, 1]})
        seen.clear()
        rows = self.db.sql("SELECT key, output FROM predict_batch('scores', 'SELECT id, a, b FROM notes')").all()
        self.assertEqual([row["output"] for row in rows], [n - 1 for n in range(10)])
        self.assertEqual(seen, [4, 4, 2])
        rows = self.db.sql("SELECT predict('scores', x) AS p FROM notes ORDER BY id").all()
        self.assertEqual([row["p"] for row in rows], [f"[[{n - 1}]]" for n in range(10)])

    def test_predictions_are_indexed(self):
        asked = []

        def double(rows):
            asked.append(rows.shape[0])
            return [row[0] * 2 + row[1] for row in rows.tolist()]

        self.scores(double)
        for n in range(20):
            self.db.put("notes", f"n{n:02}", {"x": [n, 0.5]})
        self.db.create_predictive_index("notes", "scores", "x", "$[0][0]", name="hot")
        self.db.wait_indexed()
        asked.clear()
        sql = "SELECT id FROM notes WHERE predict('scores', x) ->> '$[0][0]' > ? ORDER BY id"
        self.assertEqual([row["id"] for row in self.db.sql(sql, 35)], ["n18", "n19"])
        self.assertEqual(asked, [])
        self.assertEqual([(index["name"], index["kind"], index["failed_count"]) for index in self.db.indexes()],
                         [("notes.hot", "predictive", 0)])
        with self.assertRaises(foreshore.Conflict):
            self.db.remove_model("scores")
        self.db.create_predictive_index("notes", "scores", "json_object('input', json_array(n, 1))", "$[0][0]")
        for n in range(20):
            self.db.put("notes", f"m{n:02}", {"n": n})
        self.db.wait_indexed()
        asked.clear()
        gathered = "SELECT id FROM notes WHERE predict('scores', json_object('input', json_array(n, 1))) ->> '$[0][0]' > 37"
        self.assertEqual([row["id"] for row in self.db.sql(gathered)], ["m19"])
        self.assertEqual(asked, [])
        self.db.drop_predictive_index("notes", "scores_n")
        with self.assertRaisesRegex(foreshore.InvalidArgument, "json_array"):
            self.db.create_predictive_index("notes", "scores", "json_array(n + 1)", "$[0][0]")
        self.db.drop_predictive_index("notes", "hot")
        self.assertEqual([row["id"] for row in self.db.sql(sql, 35)], ["n18", "n19"])
        self.assertNotEqual(asked, [])

    def test_an_array_of_floats_is_taken_as_it_is(self):
        self.scores(lambda rows: array.array("f", [row[0] * 2 for row in rows.tolist()]))
        self.assertEqual(self.db.predict("scores", [1.25, 0]), [[2.5]])

    def test_texts_are_embedded_and_searched(self):
        self.db.register_runtime("letters", letters, version="1", dimension=3)
        self.assertEqual(self.db.embed("letters", "abca"), [2, 1, 1])
        self.db.create_vector_index("notes", "letters", model="letters", sources=["text"], metric="l2")
        self.db.put("notes", "aa", {"text": "aa"})
        self.db.put("notes", "cc", {"text": "c ☕ c"})
        self.db.wait_embedded(60)
        rows = self.db.sql("SELECT id FROM notes WHERE letters MATCH embed('letters', 'ccc') ORDER BY distance LIMIT 1")
        self.assertEqual(rows.one()["id"], "cc")

    def test_exceptions_and_wrong_outputs_are_errors_with_their_words(self):
        def boom(rows):
            raise RuntimeError("no accelerator ☕")

        for callback, words in ((boom, "RuntimeError: no accelerator ☕"), (lambda rows: [1, 2], "made 2 numbers, expected 1"),
                                (lambda rows: None, "TypeError"), (lambda rows: "1", "found str"),
                                (lambda rows: [float("nan")], "NaN"), (lambda rows: array.array("f", [1, 2]), "made 2"),
                                (lambda rows: sys.exit(3), "SystemExit")):
            self.scores(callback)
            with self.subTest(words), self.assertRaisesRegex(foreshore.Error, words):
                self.db.predict("scores", [1, 2])

        def busy(rows):
            raise foreshore.Busy("later", 8)

        self.scores(busy)
        with self.assertRaisesRegex(foreshore.Busy, 'model "scores": its runtime: later'):
            self.db.predict("scores", [1, 2])

    def test_a_callback_reads_and_may_not_write_or_close(self):
        said = []

        def callback(rows):
            said.append(self.db.sql("SELECT count(*) AS n FROM notes").one()["n"])
            for what in (lambda: self.db.put("notes", "x", {}), self.db.close, lambda: self.db.wait_embedded(1),
                         lambda: self.db.unregister_runtime("scores"), lambda: self.db.predict("scores", [1, 2])):
                try:
                    what()
                    said.append("done")
                except foreshore.Conflict:
                    said.append("conflict")
            return [1]

        self.scores(callback)
        self.assertEqual(self.db.sql("SELECT predict('scores', '[1,2]') AS p").one()["p"], "[[1]]")
        self.assertEqual(said, [0] + ["conflict"] * 5)
        self.db.put("notes", "x", {})

    def test_several_threads_ask_at_once(self):
        self.scores(lambda rows: [row[0] - row[1] for row in rows.tolist()])
        wrong = []

        def ask(n):
            for _ in range(100):
                if self.db.predict("scores", [n, 1]) != [[n - 1]]:
                    wrong.append(n)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_another_process_without_the_callback_gets_an_error(self):
        self.scores(lambda rows: [0] * rows.shape[0], version="2024-05")
        self.db.close()
        with foreshore.open(self.path) as db:
            self.assertFalse(db.models()[0]["is_registered"])
            with self.assertRaisesRegex(foreshore.Unsupported, "version \"2024-05\", is not registered here"):
                db.predict("scores", [1, 2])
            with self.assertRaises(foreshore.Unsupported):
                db.sql("SELECT predict('scores', '[1,2]')").all()
            self.assertEqual(db.verify()["problems"], [])

    # Method: what the C library does last is to wait, so that a thread that was left meets what is gone by then.
    def test_the_interpreter_ends_while_vectors_are_made(self):
        code = ("import ctypes, sys, time\n"
                "libc = ctypes.CDLL(None)\n"
                "wait = ctypes.cast(libc.usleep, ctypes.c_void_p)\n"
                "libc.__cxa_atexit(wait, ctypes.c_void_p(500000), None)\n"
                "import foreshore\n"
                "db = foreshore.open(sys.argv[1], create=True)\n"
                "db.create_collection('c')\n"
                "db.register_runtime('m', lambda texts: (time.sleep(0.01), [[1, 2]] * len(texts))[1], version='1',\n"
                "                    dimension=2, batch=1)\n"
                "db.create_vector_index('c', 'v', model='m', sources=['t'])\n"
                "for i in range(50): db.put('c', str(i), {'t': str(i)})\n"
                "rows = db.sql('SELECT id FROM c')\n"
                "row = next(iter(rows))\n"
                "transaction = db.transaction()\n"
                "transaction.put('c', 'undone', {})\n"
                "print('end')\n")
        path = str(self.path) + "2"
        run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60,
                             env=os.environ)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "end\n", ""))
        with foreshore.open(path) as db:
            self.assertEqual(db.sql("SELECT count(*) AS n FROM c").all()[0]["n"], 50)

    def test_a_forked_child_ends_without_the_database(self):
        code = ("import foreshore, os, sys\n"
                "db = foreshore.open(sys.argv[1], create=True)\n"
                "db.create_collection('c')\n"
                "child = os.fork()\n"
                "if child == 0: sys.exit(7)\n"
                "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), db.put('c', 'a', {}))\n")
        run = subprocess.run([sys.executable, "-c", code, str(self.path) + "3"], capture_output=True, text=True,
                             timeout=60, env=os.environ)
        self.assertEqual((run.returncode, run.stdout), (0, "7 a\n"), run.stderr)

    def test_unregistering_and_registering_again(self):
        self.scores(lambda rows: [1])
        self.db.unregister_runtime("scores")
        with self.assertRaises(foreshore.Unsupported):
            self.db.predict("scores", [1, 2])
        with self.assertRaises(foreshore.NotFound):
            self.db.unregister_runtime("scores")
        self.scores(lambda rows: [2])
        self.assertEqual(self.db.predict("scores", [1, 2]), [[2]])
        self.db.remove_model("scores")
        with self.assertRaises(foreshore.NotFound):
            self.db.predict("scores", [1, 2])


if __name__ == "__main__":
    unittest.main()
