#!/usr/bin/env python3
"""The command line, run as people and their programs run it."""

import array
import csv
import fcntl
import gzip
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import termios
import time
import unittest
from pathlib import Path

from command_line import FORESHORE, MODEL, TINY, CommandLineTest, needs_model, tiny_texts, write_adapter
from hnswlib_file import write_hnswlib
from image_files import part_photo, scratch_onnx

NOTES = [
    {"id": "n1", "text": "pump overheating", "site": "A", "level": 3},
    {"id": "n2", "text": "gate does not open", "site": "B", "level": 1, "tags": ["x", "y"]},
    {"id": "n3", "text": "naïve café ☕", "site": "A", "deep": {"a": [1, {"b": None}]}},
]


def unread_bytes(pipe):
    """What was written to a pipe and not read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


class UsageTest(CommandLineTest):
    def test_wrong_usage_is_status_2(self):
        self.fails(status=2)
        self.fails("nowhere", status=2)
        self.fails("create", status=2, says="DB")
        self.fails("create", self.db, "--storage", "paper", status=2, says="paper")
        self.fails("sql", self.db, "SELECT 1", "--format", "xml", status=2, says="xml")
        self.fails("search", self.db, "notes", "text", "-k", "0", status=2)

    def test_help_and_version_are_status_0(self):
        self.assertIn("import", self.ok("--help"))
        self.assertIn("--format", self.ok("sql", "--help"))
        self.assertRegex(self.ok("--version"), r"foreshore \d+\.\d+\.\d+")

    def test_what_later_versions_bring_is_said_to_be_unsupported(self):
        self.ok("create", self.db, "--collection", "notes")
        self.fails("index", "create", self.db, "notes", "site", "--vector", "--dim", "2", "--unique", says="--vector")
        self.fails("model", "export", self.db, "m", "file", says="model export")
        self.fails("gateway", "--listen", "127.0.0.1:0", "--store", "postgresql://x", says="postgresql")
        self.fails("gateway", "--listen", "127.0.0.1:0", "--store", self.db, "--tls-cert", "c", says="TLS")


class DatabaseTest(CommandLineTest):
    def test_create_makes_a_database_once(self):
        self.assertEqual(self.ok("create", self.db), "")
        self.assertTrue(os.path.isdir(self.db))
        self.fails("create", self.db, says=[self.db, "exists"])

    def test_create_adds_collections_to_a_database_that_exists(self):
        self.ok("create", self.db)
        self.ok("create", self.db, "--collection", "notes", "--collection", "sites")
        names = [one["name"] for one in self.ok_json("stats", self.db)["collections"]]
        self.assertEqual(sorted(names), ["notes", "sites"])
        self.fails("create", self.db, "--collection", "notes", says="notes")

    def test_a_missing_database_is_not_made(self):
        self.fails("stats", self.db, says=self.db)
        self.fails("sql", self.db, "SELECT 1", says=self.db)
        self.assertFalse(os.path.exists(self.db))

    def test_a_second_process_is_told_who_has_the_database_open(self):
        self.ok("create", self.db)
        shell = subprocess.Popen([FORESHORE, "shell", self.db], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)
        with shell:
            shell.stdin.write(".mode csv\nSELECT 1 AS ready;\n")
            shell.stdin.flush()
            self.assertEqual(shell.stdout.readline(), "ready\n")  # It has the database open.
            self.fails("stats", self.db, says=[self.db, str(shell.pid)])
            shell.stdin.close()
            self.assertEqual(shell.wait(30), 0)
        self.ok("stats", self.db)

    @unittest.skipUnless(os.environ.get("FORESHORE_WITH_ROCKSDB") == "ON", "built without RocksDB")
    def test_rocksdb_holds_the_same(self):
        self.ok("create", self.db, "--storage", "rocksdb")
        self.import_lines("notes", NOTES)
        other = str(self.folder / "sqlite.foreshore")
        self.ok("create", other)
        self.ok("import", other, "notes", "-", stdin=self.ok("export", self.db, "notes"))
        self.assertEqual(self.ok("export", self.db, "notes"), self.ok("export", other, "notes"))
        self.assertEqual(self.ok_json("stats", self.db)["storage"], "rocksdb")

    def test_secondary_indexes(self):
        self.ok("create", self.db, "--collection", "notes")
        lines = [{"id": f"n{n}", "n": n, "site": f"s{n % 4}"} for n in range(200)]
        self.ok("import", self.db, "notes", "-", stdin="".join(json.dumps(line) + "\n" for line in lines))
        self.fails("index", "tune", self.db, "notes.site,n", says="notes.site,n")
        self.ok("index", "create", self.db, "notes", "site,n")
        self.fails("index", "tune", self.db, "notes.site,n", says="expected one of vectors")
        self.ok("index", "create", self.db, "notes", "n", "--unique", "--where", "n > 100", "--name", "late")
        self.fails("index", "create", self.db, "notes", "site", "--unique", says=["notes.site", "n0"])
        self.fails("index", "create", self.db, "notes", "n", "--where", "n >", says=["byte 3"])
        listed = {index["name"]: index for index in self.ok_json("index", "list", self.db)}
        self.assertEqual(set(listed), {"notes.site,n", "notes.late"})
        self.assertEqual(listed["notes.site,n"]["entry_count"], 200)
        self.assertTrue(listed["notes.late"]["is_ready"])
        plan = self.ok("sql", self.db, "EXPLAIN QUERY PLAN SELECT * FROM notes WHERE site = 's1' AND n < 20",
                       "--format", "csv")
        self.assertIn("6:index site,n (site = ? AND n < ?)", plan)
        self.assertEqual(self.ok_json("verify", self.db)["index_entry_count"], 299)
        self.fails("sql", self.db, "INSERT INTO notes (id, n) VALUES ('x', 150)", says=["notes.late", "n150"])
        self.ok("index", "drop", self.db, "notes.late")
        self.ok("sql", self.db, "INSERT INTO notes (id, n) VALUES ('x', 150)")
        self.fails("index", "drop", self.db, "notes.late", says="notes.site,n")

    def test_readings_are_imported_and_sampled_down(self):
        self.ok("create", self.db, "--readings", "r", "--series", "sensor")
        lines = [{"t": 1000 * i, "sensor": "ab"[i % 2], "value": i / 4} for i in range(1000)]
        self.import_lines("r", lines)
        rows = self.ok_json("sql", self.db, "SELECT time_bucket AS minute, count(*) AS n, last(value, t) AS v FROM r "
                            "WHERE sensor = 'a' AND bucket_width = '1m' AND t < 180000 GROUP BY time_bucket")
        self.assertEqual(rows, [{"minute": 60000 * i, "n": 30, "v": (60 * i + 58) / 4} for i in range(3)])
        other = str(self.folder / "other.foreshore")
        self.ok("create", other, "--readings", "r", "--series", "sensor")
        self.ok("import", other, "r", "-", stdin=self.ok("export", self.db, "r"))
        self.assertEqual(self.ok("export", self.db, "r"), self.ok("export", other, "r"))
        self.fails("import", self.db, "r", "-", stdin='{"sensor":"a"}\n', says="\"t\"")
        self.assertEqual(self.ok_json("verify", self.db)["problems"], [])

    def test_documents_expire_by_a_field(self):
        self.fails("create", self.db, "--expiry-field", "until", says="--collection")
        self.ok("create", self.db, "--collection", "notes", "--expiry-field", "until")
        self.import_lines("notes", [{"id": "a", "until": 1}, {"id": "b", "until": "9999-01-01"}, {"id": "c"}])
        self.assertEqual(self.ok_json("sql", self.db, "SELECT id FROM notes ORDER BY id"), [{"id": "b"}, {"id": "c"}])
        self.assertEqual(self.ok_json("stats", self.db)["collections"], [{"name": "notes", "document_count": 2}])
        self.assertEqual(self.ok_json("verify", self.db)["problems"], [])
        self.ok("create", self.db, "--collection", "notes", "--expiry-field", "other")
        self.assertEqual(len(self.ok_json("sql", self.db, "SELECT id FROM notes")), 3)
        self.ok("create", self.db, "--readings", "r")
        self.fails("create", self.db, "--collection", "r", "--expiry-field", "t", says="readings")

    def test_attachments_go_in_and_out(self):
        self.ok("create", self.db)
        self.import_lines("notes", NOTES)
        content = bytes(range(256)) * 3000
        source, target = self.folder / "photo", self.folder / "copy"
        source.write_bytes(content)
        info = self.ok_json("attach", "put", self.db, "notes", "n1", "photo.jpg", str(source), "--type", "image/jpeg")
        self.assertEqual((info["size_bytes"], info["type"]), (len(content), "image/jpeg"))
        self.ok("attach", "put", self.db, "notes", "n1", "words", "-", stdin="some words")
        self.assertEqual(self.ok("attach", "get", self.db, "notes", "n1", "words"), "some words")
        self.ok("attach", "get", self.db, "notes", "n1", "photo.jpg", str(target))
        self.assertEqual(target.read_bytes(), content)
        self.ok("attach", "remove", self.db, "notes", "n1", "words")
        self.assertEqual([one["name"] for one in self.ok_json("attach", "list", self.db, "notes", "n1")], ["photo.jpg"])
        self.fails("attach", "get", self.db, "notes", "n1", "words", says="words")
        self.fails("attach", "put", self.db, "notes", "n9", "words", str(source), says="n9")
        self.fails("attach", "put", self.db, "notes", "n1", "words", str(self.folder / "none"), says="none")
        self.assertEqual(self.ok_json("verify", self.db)["problems"], [])

    def test_a_damaged_attachment_takes_no_earlier_files_place(self):
        self.ok("create", self.db)
        self.import_lines("notes", NOTES)
        content = bytes(range(256)) * 3000
        sha256 = self.ok_json("attach", "put", self.db, "notes", "n1", "photo",
                              self.write_bytes("photo", content))["sha256"]
        blob = self.folder / "db.foreshore" / "blobs" / sha256[:2] / sha256
        blob.write_bytes(content[:-1] + b"x")
        target = Path(self.write("copy", "what was there"))
        self.fails("attach", "get", self.db, "notes", "n1", "photo", target, says=sha256[:8])
        self.assertEqual(target.read_text(), "what was there")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["copy", "db.foreshore", "photo"])
        self.fails("attach", "get", self.db, "notes", "n1", "photo", self.folder / "none" / "copy", says="none")
        self.fails("attach", "get", self.db, "notes", "n1", "photo", self.folder, says="directory")

    def test_what_create_refuses_leaves_nothing_behind(self):
        self.fails("create", self.db, "--collection", "notes", "--collection", "bad name", says="bad name")
        self.assertFalse(Path(self.db).exists())
        self.ok("create", self.db, "--collection", "notes")
        self.fails("create", self.db, "--collection", "bad name", says="bad name")
        self.assertEqual(self.ok_json("sql", self.db, "SELECT count(*) AS n FROM notes"), [{"n": 0}])

    def test_files_that_are_none_and_files_without_end_are_refused(self):
        self.ok("create", self.db)
        self.fails("predict", self.db, "m", "--input", "@/", says=["/", "directory"])
        self.fails("predict", self.db, "m", "--input", "@/dev/zero", says=["/dev/zero", "larger than"])
        self.fails("sync", self.db, "http://127.0.0.1:1", "--token", "/dev/zero", says=["/dev/zero", "larger than"])
        self.fails("sync", self.db, "http://127.0.0.1:1", "--token", self.folder, says="directory")
        self.fails("import", self.db, "notes", "-", "--threads", "100000", status=2, says="--threads")
        self.import_lines("notes", NOTES)
        self.fails("search", self.db, "notes", "pump", "--text", says=["notes", "full-text index"])

    def test_a_failure_is_one_line_that_does_nothing_to_the_terminal(self):
        done = self.fails("stats", self.folder / "a\x1b[2J\tb\x7f\nc", says="a [2J b  c")
        self.assertTrue(all(character.isprintable() for character in done.stderr[:-1]), repr(done.stderr))

    def test_verify_backup_and_compact(self):
        self.ok("create", self.db)
        self.import_lines("notes", NOTES)
        report = self.ok_json("verify", self.db)
        self.assertEqual(report["problems"], [])
        self.assertEqual(report["document_count"], 3)
        copy = str(self.folder / "copy.foreshore")
        self.ok("backup", self.db, copy)
        # A copy is another device: it says so once, and takes an identity of its own.
        first_open = self.run_raw("stats", copy, "--format", "json")
        self.assertEqual(first_open.returncode, 0)
        self.assertIn("new replica", first_open.stderr)
        self.assertTrue(json.loads(first_open.stdout)["identity_forked"])
        self.assertEqual(self.ok("export", copy, "notes"), self.ok("export", self.db, "notes"))
        self.fails("backup", self.db, copy, says=copy)
        self.ok("compact", self.db)
        self.assertEqual(self.ok("export", copy, "notes"), self.ok("export", self.db, "notes"))

    def test_a_damaged_store_is_named_and_not_opened(self):
        self.ok("create", self.db)
        self.import_lines("notes", NOTES)
        with open(os.path.join(self.db, "store.db"), "r+b") as store:
            store.write(b"\0" * 100)
        self.fails("stats", self.db, says="store.db")

    def test_stats_say_what_is_there(self):
        self.ok("create", self.db)
        self.import_lines("notes", NOTES)
        stats = self.ok_json("stats", self.db)
        self.assertEqual(stats["collections"], [{"name": "notes", "document_count": 3}])
        self.assertGreater(stats["disk_bytes"], 0)
        self.assertIn("3 documents", self.ok("stats", self.db))


class TransferTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.ok("create", self.db)

    def test_what_is_imported_is_exported_in_order_of_id(self):
        self.import_lines("notes", reversed(NOTES))
        lines = self.ok("export", self.db, "notes").splitlines()
        self.assertEqual([json.loads(line) for line in lines], NOTES)

    def test_export_of_an_import_of_an_export_is_equal_to_the_byte(self):
        self.import_lines("notes", NOTES + [{"id": "n4", "$body": {"id": "inner", "x": 1.50}}])
        first = self.ok("export", self.db, "notes")
        self.ok("import", self.db, "copy", "-", stdin=first)
        self.assertEqual(self.ok("export", self.db, "copy"), first)
        self.assertEqual(self.rows("SELECT body ->> '$.id' AS inner FROM notes WHERE id = 'n4'"),
                         [{"inner": "inner"}])

    def test_documents_without_an_id_get_one(self):
        self.import_lines("notes", [{"a": 1}, {"a": 2}])
        rows = self.rows("SELECT id, a FROM notes ORDER BY a")
        self.assertEqual([row["a"] for row in rows], [1, 2])
        self.assertRegex(rows[0]["id"], r"^[0-9a-f]{8}-[0-9a-f]{4}-7")

    def test_the_id_may_be_another_field(self):
        path = self.write("a.jsonl", '{"serial":7,"a":1}\n')
        self.ok("import", self.db, "notes", path, "--id", "serial")
        self.assertEqual(self.rows("SELECT id, serial FROM notes"), [{"id": "7", "serial": 7}])

    def test_a_bad_line_is_named_and_its_batch_is_not_imported(self):
        good = "".join(f'{{"id":"d{number}","n":{number}}}\n' for number in range(25))
        path = self.write("a.jsonl", good + '{"id":"bad","n":tru}\n' + '{"id":"after"}\n')
        self.fails("import", self.db, "notes", path, "--batch", "10", says=["a.jsonl:26", "20 documents imported"])
        self.assertEqual(self.rows("SELECT count(*) AS n FROM notes"), [{"n": 20}])
        for line in ['{"id":"bad"', '["bad"]', '{"id":{}}', '{"id":"' + "x" * 300 + '"}', '{"a":1,"a":2}',
                     "\x00", '{"a":"' + "x" * (2 << 20) + '"}', '{"a":' + "[" * 100 + "]" * 100 + "}"]:
            with self.subTest(line[:40]):
                self.fails("import", self.db, "other", "-", stdin='{"id":"first"}\n' + line + "\n", says=":2: 0 doc")
                self.assertEqual(self.rows("SELECT count(*) AS n FROM other"), [{"n": 0}])

    def test_a_last_line_without_its_end_counts(self):
        self.ok("import", self.db, "notes", "-", stdin='{"id":"a"}\n\n{"id":"b"}')
        self.assertEqual(self.rows("SELECT id FROM notes ORDER BY id"), [{"id": "a"}, {"id": "b"}])

    def test_csv_is_imported_and_exported(self):
        path = self.write("a.csv", 'id,text,level,code\nn1,"a, ""b""\nc",3,"007"\nn2,plain,,x\n')
        self.ok("import", self.db, "notes", path)
        self.assertEqual(self.rows("SELECT body FROM notes ORDER BY id"),
                         [{"body": '{"text":"a, \\"b\\"\\nc","level":3,"code":"007"}'},
                          {"body": '{"text":"plain","code":"x"}'}])
        exported = self.ok("export", self.db, "notes", "--format", "csv")
        self.assertEqual(list(csv.reader(io.StringIO(exported))),
                         [["id", "text", "level", "code"], ["n1", 'a, "b"\nc', "3", "007"], ["n2", "plain", "", "x"]])
        self.ok("import", self.db, "copy", "-", "--format", "csv", stdin=exported)
        self.assertEqual(self.ok("export", self.db, "copy"), self.ok("export", self.db, "notes"))

    def test_csv_records_of_another_length_are_refused(self):
        path = self.write("a.csv", "id,a\nx,1\ny,1,2\n")
        self.fails("import", self.db, "notes", path, says=["a.csv:3", "3 fields", "2"])

    def test_csv_round_trips_types(self):
        bodies = [{"n": 1, "b": True, "t": "true", "x": None, "tags": ["a,b", {"c": 1}], "mixed": "12"},
                  {"n": 2.50, "b": False, "t": "007", "place": {"row": [1, None]}, "mixed": 12},
                  {"n": "many", "t": "[1]", "x": "", "tags": "{}", "mixed": "plain text"},
                  {"t": "\"[1]\"", "x": " edge ", "tags": "line\r\nbreak, \"quoted\"", "mixed": "null"}]
        self.import_lines("notes", [{"id": f"d{number}", **body} for number, body in enumerate(bodies)])
        first = self.ok("export", self.db, "notes")
        for delimiter in (",", ";", "tab"):
            with self.subTest(delimiter):
                copy = "copy" + str(ord(delimiter[0]))
                exported = self.ok_bytes("export", self.db, "notes", "--format", "csv", "--delimiter", delimiter)
                self.ok("import", self.db, copy, self.write_bytes("a.csv", exported), "--delimiter", delimiter)
                lines = [json.loads(line) for line in self.ok("export", self.db, copy).splitlines()]
                self.assertEqual(lines, [json.loads(line) for line in first.splitlines()])

    def test_csv_types_are_asked_for_and_kept(self):
        path = self.write("a.csv", "\ufeffid;code;size;on\r\na;12;\"3\";yes\r\nb;13;NA;0\r\n")
        self.ok("import", self.db, "notes", path, "--delimiter", ";", "--null", "NA", "--types",
                "code=text,size=number,on=boolean")
        self.assertEqual(self.rows("SELECT id, body FROM notes ORDER BY id"),
                         [{"id": "a", "body": '{"code":"12","size":3,"on":true}'},
                          {"id": "b", "body": '{"code":"13","on":false}'}])
        self.fails("import", self.db, "notes", path, "--delimiter", ";", "--types", "size=number",
                   says=["a.csv:3", '"size"', '"NA"', "number"])
        self.fails("import", self.db, "notes", path, "--types", "size=number", says='"size"')
        self.fails("import", self.db, "notes", path, "--delimiter", "ab", says='"ab"')
        self.fails("import", self.db, "notes", self.write("a.jsonl", "{}\n"), "--types", "text", says="--types")

    def test_a_csv_file_without_a_header(self):
        path = self.write("a.tsv", "n1\tpump\t3\nn2\tgate\t4\n")
        self.ok("import", self.db, "notes", path, "--columns", "id,text,level")
        self.assertEqual(self.rows("SELECT id, text, level FROM notes ORDER BY id"),
                         [{"id": "n1", "text": "pump", "level": 3}, {"id": "n2", "text": "gate", "level": 4}])

    def test_json_arrays_are_imported_and_exported(self):
        path = self.write("a.json", json.dumps(NOTES, indent=2))
        self.ok("import", self.db, "notes", path)
        exported = self.ok("export", self.db, "notes", "--format", "json")
        self.assertEqual(json.loads(exported), NOTES)
        self.ok("import", self.db, "copy", "-", "--format", "json", stdin=exported)
        self.assertEqual(self.ok("export", self.db, "copy"), self.ok("export", self.db, "notes"))
        self.ok("create", self.db, "--collection", "empty")
        self.assertEqual(json.loads(self.ok("export", self.db, "empty", "--format", "json")), [])
        # What sql prints is input too.
        rows = self.ok("sql", self.db, "SELECT id, level FROM notes", "--format", "json")
        self.ok("import", self.db, "rows", "-", "--format", "json", stdin=rows)
        self.assertEqual(self.rows("SELECT count(*) AS n FROM rows"), [{"n": 3}])
        self.fails("import", self.db, "notes", "-", "--format", "json", stdin='[{"id":"x"},\n{"id":"y"', says="-:2: 0 d")

    def test_packed_files_are_unpacked(self):
        lines = "".join(json.dumps({"id": f"{number:05}", "text": "pump " * 20}) + "\n" for number in range(3000))
        packed = gzip.compress(lines[:200_000].encode()) + gzip.compress(lines[200_000:].encode())
        self.ok("import", self.db, "notes", self.write_bytes("a.jsonl.gz", packed))
        self.assertEqual(self.rows("SELECT count(*) AS n FROM notes"), [{"n": 3000}])
        # The bytes decide, not the name.
        self.ok("import", self.db, "copy", self.write_bytes("plain.jsonl", packed))
        self.assertEqual(self.ok("export", self.db, "copy"), self.ok("export", self.db, "notes"))
        self.fails("import", self.db, "cut", self.write_bytes("cut.jsonl.gz", packed[:len(packed) // 2]),
                   "--on-error", "skip", says=["cut.jsonl.gz", "packed data ends"])
        self.fails("import", self.db, "bad", self.write_bytes("bad.jsonl.gz", packed[:40] + b"x" * 100),
                   says=["bad.jsonl.gz", "gzip"])
        self.fails("import", self.db, "wide", self.write_bytes("wide.jsonl", lines.encode("utf-16")), says="UTF-16")

    @unittest.skipUnless(shutil.which("zstd"), "no zstd command")
    def test_zstd_files_are_unpacked(self):
        lines = "".join(json.dumps({"id": f"{number:05}", "text": "pump " * 40}) + "\n" for number in range(3000))
        path = self.write("a.jsonl", lines)
        subprocess.run(["zstd", "-q", path], check=True)
        self.ok("import", self.db, "notes", path + ".zst")
        self.assertEqual(self.rows("SELECT count(*) AS n FROM notes"), [{"n": 3000}])
        with open(path + ".zst", "rb") as packed:
            cut = packed.read()[:-20]
        self.fails("import", self.db, "cut", self.write_bytes("cut.zst", cut), says=["cut.zst", "packed data ends"])

    def test_bad_documents_are_skipped_when_asked(self):
        good = [f'{{"id":"d{number}","n":{number}}}\n' for number in range(40)]
        bad = {5: '{"id":"x","n":tru}\n', 6: "no json\n", 17: '{"id":""}\n', 30: '{"id":"' + "x" * 300 + '"}\n',
               31: '{"a":"' + "x" * (3 << 20) + '"}\n', 33: '{"a":1,"a":2}\n'}
        lines = list(good)
        for number, line in bad.items():
            lines.insert(number, line)
        path = self.write("a.jsonl", "".join(lines))
        done = self.run_raw("import", self.db, "notes", path, "--batch", "10", "--on-error", "skip")
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("6 documents skipped: line 6: ", done.stderr)
        self.assertIn("; line 7: ", done.stderr)
        self.assertIn("; …", done.stderr)
        self.assertEqual(self.rows("SELECT count(*) AS n, sum(n) AS s FROM notes"), [{"n": 40, "s": sum(range(40))}])
        self.fails("import", self.db, "notes", path, "--batch", "10", says="a.jsonl:6: 0 documents")

    def test_an_import_goes_on_behind_what_is_there(self):
        path = self.write("a.csv", "n\n" + "".join(f"{number}\n" for number in range(10)))
        self.ok("import", self.db, "notes", path, "--skip", "4")
        self.assertEqual(self.rows("SELECT min(n) AS first, count(*) AS n FROM notes"), [{"first": 4, "n": 6}])
        self.ok("import", self.db, "notes", path, "--skip", "10")
        self.assertEqual(self.rows("SELECT count(*) AS n FROM notes"), [{"n": 6}])

    def test_an_interrupted_import_keeps_what_it_has_and_says_where_to_go_on(self):
        lines = "".join(f'{{"n":{number}}}\n' for number in range(250))
        process = subprocess.Popen([FORESHORE, "import", self.db, "notes", "-", "--batch", "100"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with process:
            process.stdin.write(lines)
            process.stdin.flush()
            # Once it has read what there is, it works on it or waits for more.
            deadline = time.monotonic() + 60
            while unread_bytes(process.stdin) > 0:
                self.assertLess(time.monotonic(), deadline, "the import does not read its input")
            process.send_signal(signal.SIGINT)
            # Not communicate: it would close the input, and the wait for it would not be interrupted but over.
            errors = process.stderr.read()
            self.assertEqual(process.wait(60), 1, errors)
        found = re.search(r"interrupted after (\d+) documents .* --skip (\d+) ", errors)
        self.assertIsNotNone(found, errors)
        self.assertEqual(found[1], found[2])
        kept = int(found[1])
        self.assertEqual(self.rows("SELECT count(*) AS n FROM notes"), [{"n": kept}])
        self.ok("import", self.db, "notes", "-", "--skip", found[2], stdin=lines)
        self.assertEqual(self.rows("SELECT count(*) AS n, count(DISTINCT n) AS different FROM notes"),
                         [{"n": 250, "different": 250}])

    @unittest.skipUnless(os.environ.get("FORESHORE_TEST_IMPORT_MB"), "FORESHORE_TEST_IMPORT_MB says how large a file")
    def test_memory_is_bounded_whatever_the_size_of_the_file(self):
        peaks = {}
        for megabytes in (20, int(os.environ["FORESHORE_TEST_IMPORT_MB"])):
            path = self.folder / "large.jsonl"
            with open(path, "w", encoding="ascii") as file:
                count = 0
                while file.tell() < megabytes << 20:
                    for count in range(count, count + 1000):
                        file.write(f'{{"id":"d{count:09}","site":{count % 97},"text":"{"pump overheating " * 55}"}}\n')
                    count += 1
            start = time.monotonic()
            child = subprocess.Popen([FORESHORE, "import", self.db, f"c{megabytes}", path])
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(child.returncode, 0)
            seconds = time.monotonic() - start
            peaks[megabytes] = usage.ru_maxrss / 1024
            print(f"import of {megabytes} MB, {count} documents: {seconds:.1f} s, peak {peaks[megabytes]:.0f} MiB")
            self.assertEqual(self.rows(f"SELECT count(*) AS n FROM c{megabytes}"), [{"n": count}])
            path.unlink()
        small, large = peaks.values()
        self.assertLess(large, small + 64, "memory grows with the file")

    def test_export_selects_documents_and_fields(self):
        self.import_lines("notes", NOTES)
        out = self.ok("export", self.db, "notes", "--where", "site = 'A' -- both", "--fields", "level,deep.a")
        self.assertEqual([json.loads(line) for line in out.splitlines()],
                         [{"id": "n1", "level": 3}, {"id": "n3", "deep.a": [1, {"b": None}]}])
        out = self.ok("export", self.db, "notes", "--where", "level > 1", "--format", "csv", "--fields", "site,id,level")
        self.assertEqual(out, "id,site,level\nn1,A,3\n")
        self.fails("export", self.db, "notes", "--where", "nowhere = 1", says="nowhere")
        self.fails("export", self.db, "notes", "--where", "1) UNION SELECT (1", says="UNION")
        self.import_lines("notes", [{"id": "n4", "$body": {"id": "inner"}}])
        self.fails("export", self.db, "notes", "--format", "csv", says=["n4", '"id"'])

    def test_an_exported_file_is_whole_or_not_there(self):
        self.import_lines("notes", NOTES)
        path = self.folder / "out.jsonl"
        self.assertEqual(self.ok("export", self.db, "notes", "-o", path), "")
        self.assertEqual(path.read_text(encoding="utf-8"), self.ok("export", self.db, "notes"))
        before = path.read_text(encoding="utf-8")
        self.fails("export", self.db, "notes", "-o", path, "--where", "json_extract('{', '$') = id", says="JSON")

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        self.fails("export", self.db, "notes", "-o", path, preexec_fn=limit)
        self.assertEqual(path.read_text(encoding="utf-8"), before)
        self.assertEqual([name for name in os.listdir(self.folder) if "partial" in name], [])
        self.fails("export", self.db, "notes", "-o", self.folder, says="directory")
        self.fails("export", self.db, "notes", "-o", self.folder / "none" / "out.csv", says="none")
        self.ok("export", self.db, "notes", "-o", self.folder / "out.csv")
        self.assertTrue((self.folder / "out.csv").read_text(encoding="utf-8").startswith("id,text,site,level,"))
        self.ok("export", self.db, "notes", "-o", "/dev/null")

    def test_a_missing_file_and_collection_are_named(self):
        self.fails("import", self.db, "notes", self.folder / "none.jsonl", says="none.jsonl")
        self.fails("export", self.db, "nowhere", says='"nowhere"')
        self.fails("import", self.db, "_bad name", "-", stdin="{}\n", says="_bad name")

    def test_a_closed_pipe_ends_an_export_quietly(self):
        self.import_lines("notes", [{"id": f"{number:05}", "text": "x" * 500} for number in range(2000)])
        export = self.start("export", self.db, "notes")
        export.stdout.readline()
        export.stdout.close()
        self.assertIn(export.wait(30), (-signal.SIGPIPE, 1))

    def test_a_full_disk_for_output_is_a_failure(self):
        self.import_lines("notes", NOTES)
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([FORESHORE, "export", self.db, "notes"], stdout=full, stderr=subprocess.PIPE,
                                  text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output", done.stderr)

    def test_a_full_disk_fails_an_import_and_harms_nothing(self):
        self.import_lines("notes", NOTES)
        lines = "".join(json.dumps({"id": f"big{number}", "text": "x" * 5000}) + "\n" for number in range(2000))

        def limit():
            # Writes beyond this size fail as on a disk that is full; the signal would end the process first.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

        self.fails("import", self.db, "notes", "-", "--batch", "50", stdin=lines, preexec_fn=limit)
        self.assertEqual(self.ok_json("verify", self.db)["problems"], [])
        count = self.rows("SELECT count(*) AS n FROM notes")[0]["n"]
        self.assertEqual((count - 3) % 50, 0, "whole batches only")
        self.ok("import", self.db, "notes", "-", stdin=lines)
        self.assertEqual(self.rows("SELECT count(*) AS n FROM notes"), [{"n": 2003}])


class SqlTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.ok("create", self.db)
        self.import_lines("notes", NOTES)

    def test_rows_come_in_three_formats(self):
        sql = "SELECT id, level, deep IS NULL AS shallow, 1.5 AS real FROM notes ORDER BY id LIMIT 2"
        self.assertEqual(self.rows(sql), [{"id": "n1", "level": 3, "shallow": 1, "real": 1.5},
                                          {"id": "n2", "level": 1, "shallow": 1, "real": 1.5}])
        self.assertEqual(self.ok("sql", self.db, sql, "--format", "csv"),
                         "id,level,shallow,real\nn1,3,1,1.5\nn2,1,1,1.5\n")
        self.assertEqual(self.ok("sql", self.db, sql),
                         "id  level  shallow  real\n--  -----  -------  ----\nn1      3        1   1.5\n"
                         "n2      1        1   1.5\n")

    def test_no_rows_are_an_empty_array(self):
        self.assertEqual(self.rows("SELECT id FROM notes WHERE id = 'x'"), [])

    def test_columns_of_one_name_are_told_apart(self):
        self.assertEqual(self.rows("SELECT 1 AS a, 2 AS a"), [{"a": 1, "a_2": 2}])

    def test_several_statements_run_in_order(self):
        self.ok("sql", self.db, "UPDATE notes SET level = 9 WHERE id = 'n1'; DELETE FROM notes WHERE id = 'n2'")
        self.assertEqual(self.rows("SELECT id, level FROM notes ORDER BY id"),
                         [{"id": "n1", "level": 9}, {"id": "n3", "level": None}])

    def test_statements_come_from_standard_input_too(self):
        out = self.ok("sql", self.db, "-", "--format", "csv", stdin="SELECT 'a;b' AS x;\nSELECT 2 AS y;\n")
        self.assertEqual(out, "x\na;b\ny\n2\n")

    def test_errors_name_what_is_wrong(self):
        self.fails("sql", self.db, "SELECT * FROM nowhere", says="nowhere")
        self.fails("sql", self.db, "SELEC 1", says="SELEC")
        self.fails("sql", self.db, " ; ", says="nothing to run")

    def test_the_shell_reads_a_script(self):
        script = ("-- a script\n.mode csv\nSELECT id\n  FROM notes -- ; not here\n WHERE level = 3;\n"
                  ".tables\n.timer off\nSELECT 'x;y' AS last")
        self.assertEqual(self.ok("shell", self.db, stdin=script), "id\nn1\ncollection,documents\nnotes,3\nlast\nx;y\n")

    def test_a_script_ends_at_its_first_failure(self):
        self.fails("shell", self.db, stdin="SELECT * FROM nowhere;\nDELETE FROM notes;\n", says="nowhere")
        self.assertEqual(self.rows("SELECT count(*) AS n FROM notes"), [{"n": 3}])
        self.fails("shell", self.db, stdin=".nothing\n", says=".nothing")
        self.fails("shell", self.db, stdin=".mode xml\n", says="xml")

    def test_errors_say_what_may_have_been_meant(self):
        self.fails("sql", self.db, "SELECT levle FROM notes", says=["levle", 'did you mean "level"?'])
        self.fails("sql", self.db, "SELECT id FROM nots", says=["nots", 'did you mean "notes"?'])
        self.fails("sql", self.db, "SELECT a FROM notes", says="body ->> '$.deep.a'")
        self.fails("sql", self.db, "SELECT lenght(text) FROM notes", says='did you mean "length"?')
        self.fails("shell", self.db, stdin=".tabels\n", says='did you mean ".tables"?')

    def test_a_plan_is_a_tree(self):
        out = self.ok("sql", self.db, "EXPLAIN QUERY PLAN SELECT id FROM notes ORDER BY level")
        self.assertTrue(out.startswith("QUERY PLAN\n|--SCAN notes"), out)
        self.assertIn("detail", self.rows("EXPLAIN QUERY PLAN SELECT id FROM notes")[0])

    def test_the_shell_shows_what_is_there(self):
        out = self.ok("shell", self.db, stdin=".mode csv\n.fields notes\n.schema notes\n.help import\n")
        self.assertIn("level,integer,2\n", out)
        self.assertIn("deep.a,array,1\n", out)
        self.assertIn("deep.a[],\"integer, object\",1\n", out)
        self.assertIn("notes,site\n", out)
        self.assertIn(".import COLLECTION FILE\n", out)
        self.assertIn("--on-error", out)
        self.assertIn(".width", self.ok("shell", self.db, stdin=".help\n"))
        self.assertIn('"documents"', self.ok("shell", self.db, stdin=".mode json\n.tables\n"))

    def test_the_shell_reads_scripts_and_moves_files(self):
        script = self.write("a.sql", ".mode csv\nSELECT count(*) AS n\n  FROM copy;\n")
        out = self.folder / "my notes.json"
        self.assertEqual(self.ok("shell", self.db, stdin=f".export notes -o '{out}' --where \"site = 'A'\"\n"
                                                         f".import copy '{out}'\n.read {script}\n"), "n\n2\n")
        self.assertEqual(len(json.loads(out.read_text(encoding="utf-8"))), 2)
        again = self.write("again.sql", f".read {self.folder}/again.sql\n")
        self.fails("shell", self.db, stdin=f".read {again}\n", says="deep")
        self.fails("shell", self.db, stdin=f".read {self.folder}\n", says="cannot be opened")
        self.fails("shell", self.db, stdin=".import notes\n", says=".import")
        bad = self.write("bad.sql", "SELECT 1;\nSELECT nowhere;\n")
        self.fails("shell", self.db, stdin=f".read {bad}\n", says=["bad.sql:2", "nowhere"])


class HnswlibTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.ok("create", self.db)
        self.file = self.folder / "saved.bin"
        write_hnswlib(self.file, {10 + number: [number, number * number % 7] for number in range(20)}, deleted={12})

    def test_a_saved_index_becomes_documents_and_an_index(self):
        self.fails("index", "import", self.db, "places", "place", self.file, says="no metric given, expected that of")
        # What was refused leaves no collection behind.
        broken = self.write("broken.hnsw", "x" * 200)
        self.fails("index", "import", self.db, "places", "place", broken, "--metric", "l2", says="broken.hnsw")
        self.fails("index", "import", self.db, "places", "id", self.file, "--metric", "l2", says="reserved")
        self.fails("index", "import", self.db, "_places", "place", self.file, "--metric", "l2", says="_places")
        self.assertEqual(self.ok_json("stats", self.db)["collections"], [])
        (row,) = self.ok_json("index", "import", self.db, "places", "place", self.file, "--metric", "l2")
        self.assertEqual(row, {"name": "places.place", "documents": 19, "deleted": 1, "dimension": 2, "links": 4,
                               "graph": "kept"})
        rows = self.ok_json("sql", self.db, "SELECT id FROM places WHERE place MATCH '[3, 2.1]' ORDER BY distance LIMIT 2")
        self.assertEqual([each["id"] for each in rows], ["13", "14"])
        (row,) = self.ok_json("index", "import", self.db, "places", "place", self.file)
        self.assertEqual(row["graph"], "built")
        self.assertEqual(self.ok_json("verify", self.db)["problems"], [])
        self.fails("index", "import", self.db, "places", "place", self.file, "--metric", "dot", says="metric is l2")

    def test_labels_are_mapped_to_ids(self):
        lines = [f"{10 + number}\tp{number}" for number in range(20)]
        ids = self.write("ids.tsv", "\n".join(lines) + "\n")
        arguments = ["index", "import", self.db, "places", "place", self.file, "--metric", "l2", "--rebuild"]
        (row,) = self.ok_json(*arguments, "--ids", ids)
        self.assertEqual((row["documents"], row["graph"]), (19, "built"))
        self.assertEqual(self.ok_json("sql", self.db, "SELECT count(*) AS n FROM places WHERE id = 'p3'"), [{"n": 1}])
        ids = self.write("ids.tsv", "\n".join(lines[:5]) + "\n")
        self.fails(*arguments, "--ids", ids, says=["ids.tsv", "no line for label 15"])
        for bad, says in (("10 p0\n", 'ids.tsv:1: found "10 p0", expected a label, a tab and an id'),
                          ("10\ta\n\n10\tb\n", "ids.tsv:3: label 10 is there twice")):
            self.fails(*arguments, "--ids", self.write("ids.tsv", bad), says=says)

    def test_a_damaged_file_is_refused(self):
        content = self.file.read_bytes()
        for bad, says in ((b"", "expected"), (content[:-1], "expected"), (b"\xff" * len(content), "expected"),
                          (content + b"x", "expected 0")):
            self.file.write_bytes(bad)
            self.fails("index", "import", self.db, "places", "place", self.file, "--metric", "l2",
                       says=["saved.bin", says])
        self.fails("index", "import", self.db, "places", "place", self.folder / "nowhere", "--metric", "l2",
                   says="nowhere")
        self.assertEqual(self.ok_json("index", "list", self.db), [])


class VectorTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.ok("create", self.db, "--collection", "points")

    def test_an_index_of_given_vectors_is_made_listed_searched_and_dropped(self):
        self.ok("index", "create", self.db, "points", "place", "--vector", "--dim", "2", "--metric", "l2")
        self.import_lines("points", [{"id": "a", "place": [0, 1]}, {"id": "b", "place": [5, 5]}])
        (index,) = self.ok_json("index", "list", self.db)
        self.assertEqual((index["name"], index["dimension"], index["metric"], index["vector_count"]),
                         ("points.place", 2, "l2", 2))
        self.assertIn("points.place", self.ok("index", "list", self.db))
        self.fails("index", "create", self.db, "points", "place", "--vector", "--dim", "2", says="points.place")
        self.fails("search", self.db, "points", "some text", says="place")  # No model that could embed the text.
        self.fails("import", self.db, "points", "-", stdin='{"id":"c","place":[1]}\n', says=["-:1", "place"])
        self.ok("index", "drop", self.db, "points.place")
        self.assertEqual(self.ok_json("index", "list", self.db), [])
        self.fails("index", "drop", self.db, "points.place", says="points.place")

    def test_a_full_text_index_is_made_listed_searched_and_dropped(self):
        self.import_lines("points", [{"id": "a", "text": "pump bearing", "site": {"name": "Nord"}, "place": [1, 0]},
                                     {"id": "b", "text": "pumping station", "place": [0, 1]},
                                     {"id": "c", "text": "Überdruck", "place": [3, 3]}])
        self.ok("index", "create", self.db, "points", "text,site.name", "--text", "--prefix", "2,3")
        (index,) = self.ok_json("index", "list", self.db)
        self.assertEqual((index["name"], index["full_text"], index["tokenizer"], index["document_count"]),
                         ("points", ["text", "site.name"], "unicode", 3))
        self.assertIn("text,site.name", self.ok("index", "list", self.db))
        self.fails("index", "create", self.db, "points", "text", "--text", says="points")
        found = self.ok_json("search", self.db, "points", "pu* NOT nord", "--text")
        self.assertEqual([hit["id"] for hit in found], ["b"])
        self.assertGreater(found[0]["score"], 0)
        self.assertEqual([hit["id"] for hit in self.ok_json("search", self.db, "points", "uberdruck", "--text")], ["c"])
        self.fails("search", self.db, "points", '"open', "--text", says="unterminated")
        self.fails("search", self.db, "points", "x", "--text", "--hybrid", says="--hybrid")
        self.ok("index", "drop", self.db, "points")
        self.assertEqual(self.ok_json("index", "list", self.db), [])
        self.ok("index", "create", self.db, "points", "text", "--text", "--tokenizer", "trigram")
        self.assertEqual(len(self.ok_json("search", self.db, "points", "ump", "--text")), 2)
        self.fails("index", "create", self.db, "points", "text", "--text", "--tokenizer", "none", status=2, says="none")
        self.ok("verify", self.db)

    def test_unknown_names_are_refused(self):
        self.fails("index", "create", self.db, "nowhere", "v", "--vector", "--dim", "2", says=["nowhere", "points"])
        self.fails("index", "create", self.db, "points", "v", "--vector", "--model", "none", "--source", "text",
                   says="none")
        self.fails("search", self.db, "nowhere", "text", says="nowhere")
        self.fails("model", "show", self.db, "none", says="none")
        self.fails("model", "remove", self.db, "none", says="none")
        self.fails("predict", self.db, "none", "--input", '"x"', says="none")
        self.fails("model", "add", self.db, "m", self.folder / "no-such", says="no-such")
        self.assertEqual(self.ok_json("model", "list", self.db), [])

    def test_a_file_that_is_no_model_is_refused(self):
        path = self.write("model.onnx", "this is no model")
        vocabulary = self.write("words.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
        self.fails("model", "add", self.db, "m", path, "--vocab", vocabulary, says="model.onnx")
        self.fails("model", "add", self.db, "m", path, says="malformed")
        self.assertEqual(self.ok_json("model", "list", self.db), [])

    def test_a_model_is_quantized_on_documents_and_kept_where_it_is_good_enough(self):
        self.ok("model", "add", self.db, "tiny", TINY, "--quantize", "none")
        self.import_lines("points", [{"id": str(i), "text": text} for i, text in enumerate(tiny_texts(80))])
        common = ["--calibrate", "points.text", "--samples", "50", "--held-out", "30"]
        report = self.ok_json("model", "quantize", self.db, "tiny", "--as", "four", *common, "--min-overlap", "0")
        self.assertTrue(report["is_activated"])
        self.assertEqual((report["calibration_count"], report["held_out_count"]), (50, 30))
        self.assertEqual(self.ok_json("model", "show", self.db, "four"), report["model"])
        self.assertEqual(report["model"]["quantization"], "gptq4")
        self.assertLess(report["quantized_bytes"], report["original_bytes"])
        self.assertGreater(report["mean_cosine"], 0.9)
        done = self.fails("model", "quantize", self.db, "tiny", "--as", "three", "--method", "gptq3", *common,
                          "--min-overlap", "1", says=["three", "not activated", "expected at least 1.000"])
        self.assertIn("ten nearest the same", done.stdout)
        self.fails("model", "show", self.db, "three", says="three")
        self.fails("model", "quantize", self.db, "four", "--as", "x", *common, says="gptq4")
        self.fails("model", "quantize", self.db, "tiny", "--as", "x", "--calibrate", "points", says="COLLECTION.PATH")
        self.fails("model", "quantize", self.db, "tiny", "--as", "x", "--calibrate", "points.none", says="found 0 texts")
        self.ok("verify", self.db)

    def test_a_graph_is_quantized_on_photos(self):
        path = self.write_bytes("scratch.onnx", scratch_onnx())
        self.ok("model", "add", self.db, "scratch", path, "--licence", "mit", "--origin", "https://example.org/scratch")
        self.import_lines("points", [{"id": str(i), "n": i} for i in range(45)])
        photos = [self.write_bytes(f"{number}.png", part_photo(number)) for number in range(12)]
        for i in range(45):
            self.ok("attach", "put", self.db, "points", i, "photo", photos[i % 12])
        common = ["--method", "int8", "--samples", "20", "--held-out", "20", "--calibrate", "points.photo", "--as"]
        report = self.ok_json("model", "quantize", self.db, "scratch", *common, "eight", "--image", '{"color":"grey"}')
        self.assertEqual((report["is_activated"], report["calibration_count"]), (True, 20))
        listed = self.ok("model", "list", self.db, "--format", "csv").splitlines()
        self.assertEqual(len(listed), 3)
        for line in listed[1:]:
            self.assertIn(",mit,https://example.org/scratch,", line)
        self.fails("model", "quantize", self.db, "scratch", *common, "x", "--image", "grey",
                   says="image_tensor options: not valid JSON")
        self.fails("model", "quantize", self.db, "scratch", *common, "x", says="found 0")

    def test_what_of_a_graph_runs_as_one_step_is_shown(self):
        for name, function in (("plain", "Abs"), ("fused", "Relu")):
            self.ok("model", "add", self.db, name, self.write_bytes(f"{name}.onnx", scratch_onnx(function)))
        self.assertEqual(self.ok_json("model", "show", self.db, "fused")["fusions"], "1 activation")
        self.assertIn("1 activation", self.ok("model", "show", self.db, "fused"))
        self.assertNotIn("fusions", self.ok_json("model", "show", self.db, "plain"))
        self.import_lines("points", [{"id": "a", "x": [[[[0, 1], [2, 3]]]]}])
        plan = self.ok("sql", self.db, "EXPLAIN QUERY PLAN SELECT predict('fused', x) FROM points")
        self.assertIn("PREDICT by fused", plan)
        self.assertIn(", fused: 1 activation", plan)
        plan = self.ok("sql", self.db, "EXPLAIN QUERY PLAN SELECT predict('plain', x) FROM points")
        self.assertIn("PREDICT by plain", plan)
        self.assertNotIn("fused:", plan)

    def test_the_sources_of_vectors_are_listed(self):
        version = self.ok_json("model", "add", self.db, "tiny", TINY)["version"]
        self.ok("index", "create", self.db, "points", "embedding", "--vector", "--model", "tiny", "--source", "text")
        self.ok("index", "create", self.db, "points", "place", "--vector", "--dim", "2")
        self.import_lines("points", [{"id": "a", "text": "the pump", "place": [0, 1]}, {"id": "b", "text": "hot"}])
        sources = self.ok_json("index", "sources", self.db, "points")
        self.assertEqual([(row["id"], row["field"], row["model"], row["version"], row["stale"]) for row in sources],
                         [("a", "embedding", "tiny", version, None), ("b", "embedding", "tiny", version, None),
                          ("a", "place", None, None, None)])
        of_field = self.ok_json("index", "sources", self.db, "points.embedding")
        self.assertEqual(of_field, sources[:2])
        self.assertIn("tiny", self.ok("index", "sources", self.db, "points"))
        self.fails("index", "sources", self.db, "points.none", says="points.none")
        self.fails("index", "sources", self.db, "nowhere", says=["nowhere", "points"])

    def predictive_index(self):
        """Over what the model and its adapter make of a text."""
        self.ok("create", self.db, "--collection", "said")
        lines = [{"id": f"n{n}", "text": text} for n, text in enumerate(["the pump", "hot", "a b c"])]
        self.ok("import", self.db, "said", "-", stdin="".join(json.dumps(line) + "\n" for line in lines))
        create = ["index", "create", self.db, "said", "text", "--predict", "--model", "tiny"]
        self.fails(*create, says=["said.tiny_text", "output"])
        self.fails(*create, "--output", "$.embedding[0]", "--unique", says="--predict")
        self.fails("index", "create", self.db, "said", "text", "--output", "$[0]", says="--predict")
        self.ok(*create, "--output", "$.embedding[0]", "--adapter", "one", "--name", "first")
        first = "predict('tiny', body -> '$.text', 'one') ->> '$.embedding[0]'"
        plan = self.ok("sql", self.db, f"EXPLAIN QUERY PLAN SELECT id FROM said WHERE {first} > 0")
        self.assertIn("values of index said.first, no inference", plan)  # So few documents are scanned.
        found = self.ok_json("sql", self.db, f"SELECT id FROM said WHERE {first} > -2 ORDER BY {first}")
        listed = {index["name"]: index for index in self.ok_json("index", "list", self.db)}
        self.assertEqual(listed["said.first"]["kind"], "predictive")
        self.assertEqual(listed["said.first"]["output"], "$.embedding[0]")
        self.assertIn("predictive", self.ok("index", "list", self.db))
        self.assertIn("said.first", self.ok("stats", self.db))
        self.assertEqual(self.ok_json("stats", self.db)["pending_prediction_count"], 0)
        self.fails("model", "remove", self.db, "tiny", says="said.first")
        gathered = "json_object('text', text)"
        self.ok("index", "create", self.db, "said", gathered, *create[5:], "--output", "$.embedding[1]")
        second = f"predict('tiny', {gathered}) ->> '$.embedding[1]'"
        plan = self.ok("sql", self.db, f"EXPLAIN QUERY PLAN SELECT id FROM said WHERE {second} > 0")
        self.assertIn("values of index said.tiny_text, no inference", plan)
        listed = {index["name"]: index for index in self.ok_json("index", "list", self.db)}
        self.assertEqual((listed["said.tiny_text"]["path"], listed["said.tiny_text"]["awaited_count"]), (gathered, 0))
        self.fails("index", "create", self.db, "said", "json_array(1)", *create[5:], "--output", "$[0]", says="said")
        self.ok("verify", self.db)
        self.ok("index", "drop", self.db, "said.tiny_text")
        self.ok("index", "drop", self.db, "said.first")
        self.assertEqual(self.ok_json("sql", self.db, f"SELECT id FROM said WHERE {first} > -2 ORDER BY {first}"), found)

    def test_adapters_are_kept_beside_a_model(self):
        self.ok("model", "add", self.db, "tiny", TINY)
        plain = self.ok("predict", self.db, "tiny", "--input", '"the pump"')
        added = self.ok_json("model", "add-adapter", self.db, "tiny", "one", write_adapter(self.folder / "one"))
        self.assertEqual(added["adapters"], ["one"])
        self.assertNotEqual(self.ok("predict", self.db, "tiny", "--input", '"the pump"', "--adapter", "one"), plain)
        self.assertEqual(self.ok("predict", self.db, "tiny", "--input", '"the pump"'), plain)
        self.fails("predict", self.db, "tiny", "--input", '"x"', "--adapter", "two", says=["two", "expected one of one"])
        self.predictive_index()
        self.fails("model", "add-adapter", self.db, "tiny", "two", self.folder, says="adapter_config.json")
        self.ok("model", "remove-adapter", self.db, "tiny", "one")
        self.fails("predict", self.db, "tiny", "--input", '"x"', "--adapter", "one", says="one")
        self.ok("verify", self.db)

    @needs_model
    def test_documents_are_embedded_on_the_way_in_and_found_by_meaning(self):
        model = self.ok_json("model", "add", self.db, "minilm", MODEL)
        self.assertEqual((model["dimension"], model["quantization"]), (384, "int8"))
        self.assertEqual(self.ok_json("model", "show", self.db, "minilm"), model)
        self.assertEqual(self.ok_json("model", "list", self.db), [model])
        self.ok("index", "create", self.db, "points", "embedding", "--vector", "--model", "minilm", "--source", "text")
        self.import_lines("points", [
            {"id": "cold", "text": "The freezer is too warm.", "site": "A"},
            {"id": "door", "text": "The gate does not open.", "site": "A"},
            {"id": "ice", "text": "The cooling unit has stopped.", "site": "B"}])
        hits = self.ok_json("search", self.db, "points", "refrigerator broken", "-k", "2")
        self.assertEqual({hit["id"] for hit in hits}, {"cold", "ice"})
        self.assertLessEqual(hits[0]["distance"], hits[1]["distance"])
        self.assertEqual(hits[0]["body"]["site"], "A" if hits[0]["id"] == "cold" else "B")
        (hit,) = self.ok_json("search", self.db, "points", "refrigerator broken", "-k", "1", "--where", "site = 'B'")
        self.assertEqual(hit["id"], "ice")
        self.assertIn("ice", self.ok("search", self.db, "points", "refrigerator broken"))
        self.assertEqual(self.ok_json("stats", self.db)["pending_embedding_count"], 0)
        self.assertEqual(
            self.rows("SELECT id FROM points WHERE embedding MATCH embed('minilm', 'entrance stuck') "
                      "ORDER BY distance LIMIT 1"), [{"id": "door"}])
        self.fails("search", self.db, "points", "x", "--where", "nowhere = 1", says="nowhere")
        self.fails("model", "remove", self.db, "minilm", says="minilm")
        embedding = json.loads(self.ok("predict", self.db, "minilm", "--input", '{"text":"pump"}'))
        self.assertTrue(embedding)
        path = self.write("input.json", '"pump"')
        self.assertEqual(json.loads(self.ok("predict", self.db, "minilm", "--input", "@" + path)), embedding)
        self.fails("predict", self.db, "minilm", "--input", "@" + path + ".none", says=".none")


class SyncTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.ok("create", self.db)
        self.second = str(self.folder / "second.foreshore")
        self.ok("create", self.second)

    def sync(self, database, url, *arguments):
        return self.ok_json("sync", database, url, *arguments)

    def test_two_devices_that_edited_apart_end_equal_to_the_byte(self):
        gateway, url = self.start_gateway()
        self.import_lines("notes", NOTES)
        report = self.sync(self.db, url)
        self.assertEqual(report["documents_pushed"], 3)
        self.sync(self.second, url)
        self.assertEqual(self.ok("export", self.second, "notes"), self.ok("export", self.db, "notes"))
        self.ok("sql", self.db, "UPDATE notes SET level = 10, text = 'first' WHERE id = 'n1'")
        self.ok("sql", self.second, "UPDATE notes SET site = 'Z', text = 'second' WHERE id = 'n1'; "
                                    "DELETE FROM notes WHERE id = 'n2'")
        for database in (self.db, self.second, self.db, self.second):
            self.sync(database, url)
        exports = [self.ok("export", database, "notes") for database in (self.db, self.second)]
        self.assertEqual(exports[0], exports[1])
        merged = json.loads(exports[0].splitlines()[0])
        self.assertEqual((merged["level"], merged["site"]), (10, "Z"))
        rescued = [self.ok_json("stats", database)["rescued_count"] for database in (self.db, self.second)]
        self.assertEqual(rescued, [1, 1], "the text that lost is kept aside on both")
        self.stop(gateway)

    def test_follow_brings_changes_over_and_ends_on_a_signal(self):
        gateway, url = self.start_gateway()
        self.import_lines("notes", NOTES)
        follower = self.start("sync", self.db, url, "--follow")
        deadline = time.monotonic() + 60
        while self.ok_json("stats", self.second)["collections"] != [{"name": "notes", "document_count": 3}]:
            self.assertLess(time.monotonic(), deadline, "the followed changes did not arrive")
            self.sync(self.second, url)
        self.stop(follower, signal.SIGINT)
        self.assertEqual(self.ok("export", self.second, "notes"), self.ok("export", self.db, "notes"))
        self.stop(gateway)

    def test_a_follower_prints_what_changes_in_what_it_watches(self):
        gateway, url = self.start_gateway()
        self.import_lines("notes", NOTES)
        self.sync(self.db, url)
        self.sync(self.second, url)
        follower = self.start("sync", self.second, url, "--follow",
                              "--watch", "SELECT id, level FROM notes WHERE site = 'A' ORDER BY id")
        first = [json.loads(follower.stdout.readline()) for _ in range(2)]
        self.assertEqual([(one["change"], one["new"]) for one in first],
                         [("inserted", {"id": "n1", "level": 3}), ("inserted", {"id": "n3", "level": None})])
        self.ok("sql", self.db, "UPDATE notes SET level = 10 WHERE id = 'n1'; UPDATE notes SET level = 2 WHERE id = 'n2'")
        self.sync(self.db, url)
        changed = json.loads(follower.stdout.readline())
        self.assertEqual((changed["change"], changed["old"], changed["new"]),
                         ("updated", {"id": "n1", "level": 3}, {"id": "n1", "level": 10}))
        self.stop(follower, signal.SIGINT)
        self.stop(gateway)

    def test_the_replica_that_purges_hides_at_once_and_deletes_after_the_grace_period(self):
        gateway, url = self.start_gateway()
        self.fails("sync", self.second, url, "--purge-expired", status=2, says="--follow")
        self.fails("sync", self.second, url, "--watch", "SELECT 1", status=2, says="--follow")
        self.ok("create", self.second, "--collection", "notes", "--expiry-field", "until")
        self.import_lines("notes", [{"id": "a", "until": 1}, {"id": "b", "until": "9999-01-01"}])
        self.sync(self.db, url)
        follower = self.start("sync", self.second, url, "--follow", "--purge-expired", "--watch", "SELECT id FROM notes")
        self.assertEqual(json.loads(follower.stdout.readline())["new"], {"id": "b"})
        self.stop(follower, signal.SIGINT)
        self.sync(self.db, url)
        self.assertEqual(len(self.rows("SELECT id FROM notes")), 2, "a week has to pass between two looks")
        self.stop(gateway)

    def test_a_gateway_that_is_not_there_is_a_failure(self):
        self.fails("sync", self.db, "http://127.0.0.1:1", says="127.0.0.1:1")
        self.fails("sync", self.db, "ftp://nowhere", says="ftp")
        self.fails("sync", self.db, "http://127.0.0.1:1", "--token", self.folder / "none", says="none")

    def test_a_gateway_asks_for_its_token(self):
        token = self.write("token", "secret\n")
        gateway, url = self.start_gateway("--token", token)
        self.fails("sync", self.db, url)
        self.fails("sync", self.db, url, "--token", self.write("wrong", "guess\n"))
        self.sync(self.db, url, "--token", token)
        self.stop(gateway)

    def test_a_gateway_refuses_a_bad_address_and_a_store_in_use(self):
        self.fails("gateway", "--listen", "nowhere", "--store", self.folder / "g", says="nowhere")
        gateway, url = self.start_gateway()
        self.fails("gateway", "--listen", "127.0.0.1:0", "--store", self.folder / "gateway", says="gateway")
        address = url.removeprefix("http://")
        self.fails("gateway", "--listen", address, "--store", self.folder / "other", says=address.split(":")[1])
        self.stop(gateway, signal.SIGINT)


if __name__ == "__main__":
    unittest.main()
