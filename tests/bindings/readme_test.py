#!/usr/bin/env python3
"""What the README shows is what runs: its C++ is the compiled example, its shell and Python are run as they stand."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from command_line import FORESHORE, MODEL, needs_model

SOURCE = Path(os.environ["FORESHORE_SOURCE"])
README = (SOURCE / "README.md").read_text(encoding="utf-8")


def block(language, marker):
    """The one code block after a marker comment."""
    found = re.findall(r"<!-- " + re.escape(marker) + r" -->\n```" + language + r"\n(.*?)```", README, flags=re.S)
    assert len(found) == 1, f"README has {len(found)} blocks of {language} after {marker!r}, expected 1"
    return found[0]


class ReadmeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="foreshore-readme-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "all-minilm-l6-v2").symlink_to(MODEL)

    def run_here(self, *command, **options):
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=300,
                              **options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_the_cpp_example_is_the_compiled_file(self):
        example = (SOURCE / "tests/bindings/readme_example.cc").read_text(encoding="utf-8")
        self.assertEqual(block("cpp", "tests/bindings/readme_example.cc"), example)

    @needs_model
    def test_the_cpp_example_finds_its_document(self):
        out = self.run_here(os.environ["FORESHORE_README_EXAMPLE"])
        self.assertRegex(out, r'^n1 0\.\d+ \{"text":"pump 3 runs far too hot","site":"A"\}\n$')

    @needs_model
    def test_the_shell_example_runs(self):
        path = f"{Path(FORESHORE).parent}{os.pathsep}{os.environ['PATH']}"
        out = self.run_here("bash", "-euo", "pipefail", "-c", block("sh", "run by tests/bindings/readme_test.py"),
                            env={**os.environ, "PATH": path})
        self.assertIn("pump 3 runs far too hot", out)
        self.assertRegex(out, r"\nn2 +0\.\d+\n")
        self.assertEqual(len((self.folder / "notes.jsonl").read_text(encoding="utf-8").splitlines()), 2)

    @needs_model
    def test_the_python_example_runs(self):
        out = self.run_here(sys.executable, "-c", block("python", "run by tests/bindings/readme_test.py"))
        self.assertEqual(out, "n1 pump 3 runs far too hot\nn1 pump 3 runs far too hot\nn2 the gate does not open\n")

    def test_every_path_that_documents_link_to_is_there(self):
        for name in ("README.md", "CONTRIBUTING.md", "docs/cli.md"):
            text = (SOURCE / name).read_text(encoding="utf-8")
            for target in re.findall(r"\]\(([^)#:]+)\)", text):
                self.assertTrue(((SOURCE / name).parent / target).exists(), f"{name} links to {target}")

    def test_the_verbs_of_the_manual_are_the_verbs_of_the_program(self):
        text = subprocess.run([FORESHORE, "--help"], capture_output=True, text=True, check=True).stdout
        verbs = set(re.findall(r"^  ([a-z]+) ", text.split("Subcommands:")[1], flags=re.M))
        manual = set(re.findall(r"`([a-z]+) [^`]*DB\b", (SOURCE / "docs/cli.md").read_text(encoding="utf-8"))) | {"gateway"}
        self.assertEqual(verbs, manual)


if __name__ == "__main__":
    unittest.main()
