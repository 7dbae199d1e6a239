"""What the tests of the command line share: the executable, a folder of their own, the model where there is one."""

import json
import os
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

FORESHORE = os.environ["FORESHORE_EXECUTABLE"]
CACHE = Path(os.environ.get("FORESHORE_CACHE") or
             Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foreshore")
MODEL = CACHE / "models" / "all-minilm-l6-v2"


def needs_model(test):
    """Skips where the model was not fetched, except in continuous integration, where that is a failure."""
    if MODEL.is_dir() or os.environ.get("CI") == "true":
        return test
    return unittest.skip(f"no model in {MODEL}; scripts/fetch.sh model")(test)


class CommandLineTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="foreshore-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.db = str(self.folder / "db.foreshore")

    def run_raw(self, *arguments, stdin="", **options):
        return subprocess.run([FORESHORE, *map(str, arguments)], input=stdin, capture_output=True, text=True,
                              timeout=options.pop("timeout", 120), check=False, **options)

    def ok(self, *arguments, **options):
        done = self.run_raw(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "", "standard error is for failures and terminals")
        return done.stdout

    def ok_json(self, *arguments, **options):
        return json.loads(self.ok(*arguments, "--format", "json", **options))

    def fails(self, *arguments, status=1, says=(), **options):
        """One line on standard error, naming what it should."""
        done = self.run_raw(*arguments, **options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("foreshore: "), done.stderr)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, done.stderr)
        return done

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def write_bytes(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def ok_bytes(self, *arguments):
        """Standard output as it is, line ends included."""
        return subprocess.run([FORESHORE, *map(str, arguments)], capture_output=True, timeout=120, check=True).stdout

    def import_lines(self, collection, documents):
        lines = "".join(json.dumps(document) + "\n" for document in documents)
        return self.ok("import", self.db, collection, "-", stdin=lines)

    def rows(self, sql):
        return self.ok_json("sql", self.db, sql)

    def start(self, *arguments):
        """A verb that runs until it is stopped."""
        process = subprocess.Popen([FORESHORE, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)

        def end():
            if process.poll() is None:
                process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def start_gateway(self, *arguments):
        process = self.start("gateway", "--listen", "127.0.0.1:0", "--store", self.folder / "gateway", *arguments)
        url = process.stdout.readline().strip()
        self.assertTrue(url.startswith("http://127.0.0.1:"), url or process.stderr.read())
        return process, url

    def stop(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        self.assertEqual((process.returncode, errors), (0, ""))
