"""Anomaly scores on machine data by SQL: an autoencoder of heart beats scores the beats of a database.

The model and the beats come from `scripts/fetch.sh ecg`; without them the test says so and is skipped, where CI is "true"
it fails. The network sees the shape of a beat alone; that a beat came early is what it is judged by.
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from command_line import CACHE, FORESHORE

ECG = CACHE / "models" / "ecg"


class EcgTest(unittest.TestCase):
    def setUp(self):
        if not (ECG / "beats.jsonl").exists():
            if os.environ.get("CI") == "true":
                self.fail(f"no {ECG}; scripts/fetch.sh ecg")
            self.skipTest(f"no {ECG}; scripts/fetch.sh ecg")
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.database = str(Path(self.folder.name) / "ward.foreshore")
        self.run_command("create", self.database, "--collection", "beats")
        self.run_command("import", self.database, "beats", str(ECG / "beats.jsonl"))
        self.run_command("model", "add", self.database, "ecg", str(ECG / "ecg.onnx"))

    def run_command(self, *arguments):
        done = subprocess.run([FORESHORE, *arguments], capture_output=True, text=True, check=False, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def rows(self, sql):
        return json.loads(self.run_command("sql", self.database, sql, "--format", "json"))

    def test_scores_tell_early_beats_from_those_in_time(self):
        samples = ", ".join(f"s{i}" for i in range(64))
        scored = (f"SELECT b.early, CAST(p.output AS REAL) AS score FROM predict_batch('ecg', 'SELECT id, {samples} FROM beats') "
                  "AS p JOIN beats AS b ON b.id = p.key")
        [count] = self.rows(f"SELECT count(*) AS n, min(score) AS least FROM ({scored})")
        self.assertGreater(count["n"], 200)
        self.assertGreater(count["least"], 0)
        # The part of pairs of an early beat and one in time in which the early one has the higher score.
        [found] = self.rows(
            f"WITH scored AS MATERIALIZED ({scored}) SELECT avg(a.score > b.score) AS area FROM scored AS a, scored AS b "
            "WHERE a.early < 0.85 AND b.early BETWEEN 0.9 AND 1.1")
        self.assertGreater(found["area"], 0.8)

    def test_predict_gives_one_beat_the_score_that_the_batch_gives(self):
        samples = ", ".join(f"s{i}" for i in range(64))
        [found] = self.rows(
            f"SELECT max(abs((predict('ecg', json_array({samples})) ->> '$[0][0]') - p.output)) AS gap "
            f"FROM beats JOIN predict_batch('ecg', 'SELECT id, {samples} FROM beats') AS p ON p.key = beats.id")
        self.assertLess(found["gap"], 1e-5)


if __name__ == "__main__":
    unittest.main()
