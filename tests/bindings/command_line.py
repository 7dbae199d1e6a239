"""What the tests of the command line share: the executable, a folder of their own, the model where there is one."""

import json
import os
import signal
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

FORESHORE = os.environ["FORESHORE_EXECUTABLE"]
CACHE = Path(os.environ.get("FORESHORE_CACHE") or
             Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foreshore")
MODEL = CACHE / "models" / "all-minilm-l6-v2"


TINY = Path(__file__).parent.parent / "golden" / "bert_tiny"
TINY_WORDS = ("the", "pump", "is", "overheating", "hot", "cold", "a", "b", "c", "d")


def tiny_texts(count):
    """Texts in the words that the tiny BERT knows."""
    return [" ".join(TINY_WORDS[(7 * i + k * (1 + i // 10)) % 10] for k in range(3 + i % 5)) for i in range(count)]


def write_adapter(folder, sign=1.0):
    """A LoRA adapter of rank 1 for the queries of the tiny BERT's first layer, as PEFT saves it."""
    numbers = {"lora_A": [0.5 * sign] * 8, "lora_B": [float(i) for i in range(8)]}
    header, data = {}, b""
    for part, shape in (("lora_A", [1, 8]), ("lora_B", [8, 1])):
        raw = struct.pack("<8f", *numbers[part])
        header[f"base_model.model.encoder.layer.0.attention.self.query.{part}.weight"] = {
            "dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": 1, "lora_alpha": 4, "target_modules": ["query"], "bias": "none"}))
    return folder


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
