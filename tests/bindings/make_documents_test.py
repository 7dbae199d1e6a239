#!/usr/bin/env python3
"""scripts/make_documents.py on small indexes of our own."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(os.environ["FORESHORE_SOURCE"], "scripts", "make_documents.py")
LONG = "A tool that measures the tide. " * 12


def package(name, number, section="utils"):
    return (f"Package: {name}\nSection: {section}\nPriority: optional\nSize: {number}\n"
            f"Description: a synopsis\nDescription-md5: md5-{name}\n\n")


def description(name, lines):
    body = "".join(f" {line}\n" for line in lines)
    return f"Package: {name}\nDescription-md5: md5-{name}\nDescription-en: a synopsis\n{body}\n"


class MakeDocumentsTest(unittest.TestCase):
    def run_script(self, packages, translations, count):
        with tempfile.TemporaryDirectory() as folder:
            inputs = [Path(folder, "Packages"), Path(folder, "Translation-en")]
            inputs[0].write_text(packages, encoding="utf-8")
            inputs[1].write_text(translations, encoding="utf-8")
            output = Path(folder, "documents.jsonl")
            done = subprocess.run([sys.executable, SCRIPT, *inputs, output, "--count", str(count)],
                                  capture_output=True, text=True, check=False)
            lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else None
            return done, None if lines is None else [json.loads(line) for line in lines]

    def test_packages_and_descriptions_are_joined(self):
        done, documents = self.run_script(
            package("b", 20) + package("a", 10, "net") + package("without", 1) + package("short", 1),
            description("b", [LONG + "b", ".", "Second", "paragraph:", " * one", " * two"]) +
            description("a", [LONG + "a"]) + description("short", ["Too short."]), 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([document["id"] for document in documents], ["a", "b"])
        self.assertEqual(documents[0], {"id": "a", "name": "a", "section": "net", "priority": "optional", "size": 10,
                                        "text": LONG + "a"})
        self.assertEqual(documents[1]["text"], LONG + "b\n\nSecond paragraph:\n* one\n* two")

    def test_equal_texts_count_once(self):
        done, documents = self.run_script(package("a", 1) + package("b", 1),
                                          description("a", [LONG]) + description("b", [LONG]), 2)
        self.assertEqual((done.returncode, documents), (1, None))
        self.assertIn("found 1 packages", done.stderr)

    def test_texts_that_are_short_on_average_are_refused(self):
        done, documents = self.run_script(package("a", 1), description("a", ["x" * 150]), 1)
        self.assertEqual((done.returncode, documents), (1, None))
        self.assertIn("mean text is 150", done.stderr)


if __name__ == "__main__":
    unittest.main()
