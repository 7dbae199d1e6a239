#!/usr/bin/env python3
"""The shell on a terminal: completion, ^C, errors, history."""

import os
import pty
import re
import select
import time
import unittest

from command_line import FORESHORE, CommandLineTest

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r|\x07")
DEADLINE_SECONDS = 30


class Terminal:
    """A child on a pseudo terminal."""

    def __init__(self, *arguments, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(arguments[0], arguments, environment)
        self.seen = ""

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, wanted, seconds=DEADLINE_SECONDS):
        """Reads until `wanted` has come; returns what came up to it."""
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            if time.monotonic() > deadline:
                raise AssertionError(f"expected {wanted!r}, found {self.seen!r}")
            if select.select([self.fd], [], [], 0.5)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:  # The child has ended.
                    data = b""
                if not data:
                    raise AssertionError(f"expected {wanted!r}, found the end after {self.seen!r}")
                self.seen = CONTROL.sub("", self.seen + data.decode("utf-8", "replace"))
        end = self.seen.index(wanted) + len(wanted)
        found, self.seen = self.seen[:end], self.seen[end:]
        return found

    def wait(self):
        deadline = time.monotonic() + DEADLINE_SECONDS
        try:
            while True:
                if time.monotonic() > deadline:
                    raise AssertionError("the shell does not end")
                if select.select([self.fd], [], [], 0.5)[0] and not os.read(self.fd, 65536):
                    break
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class ShellTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.ok("create", self.db)
        self.import_lines("notes", [{"id": "n1", "temperature": 21}, {"id": "n2", "temperature": 22}])

    def shell(self):
        environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        terminal = Terminal(FORESHORE, "shell", self.db, environment=environment)
        terminal.expect("foreshore> ")
        return terminal

    def test_statements_span_lines_and_errors_do_not_end_the_shell(self):
        terminal = self.shell()
        terminal.send("SELECT count(*) AS n\n")
        terminal.send("FROM notes;\n")
        self.assertIn("2", terminal.expect("1 row\n"))
        terminal.expect("foreshore> ")
        terminal.send("SELECT * FROM WHERE;\n")
        terminal.expect("^")
        terminal.expect("error: ")
        terminal.expect("foreshore> ")
        terminal.send(".tables\n")
        terminal.expect("notes")
        terminal.expect("foreshore> ")
        terminal.send(".quit\n")
        self.assertEqual(terminal.wait(), 0)

    def test_tab_completes_keywords_collections_and_fields(self):
        terminal = self.shell()
        terminal.send("SEL\ttempera\tFROM note\t;\n")
        terminal.expect("2 rows")
        terminal.expect("foreshore> ")
        terminal.send("\x04")
        self.assertEqual(terminal.wait(), 0)

    def test_interrupt_drops_the_line_and_keeps_the_shell(self):
        terminal = self.shell()
        terminal.send("DELETE FROM notes")
        terminal.expect("DELETE FROM notes")
        terminal.send("\x03")
        terminal.expect("foreshore> ")
        terminal.send("SELECT 40 + 2 AS answer;\n")
        terminal.expect("42")
        terminal.expect("foreshore> ")
        terminal.send(".quit\n")
        self.assertEqual(terminal.wait(), 0)
        self.assertEqual(self.rows("SELECT count(*) AS n FROM notes"), [{"n": 2}])

    def test_interrupt_stops_rows_that_come(self):
        terminal = self.shell()
        terminal.send(".mode csv\n")
        terminal.expect("foreshore> ")
        terminal.send("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c;\n")
        terminal.expect("1000\n")
        terminal.send("\x03")
        terminal.expect("interrupted")
        terminal.expect("foreshore> ")
        terminal.send(".quit\n")
        self.assertEqual(terminal.wait(), 0)

    def test_interrupt_stops_a_statement_without_rows_and_its_transaction_goes_on(self):
        terminal = self.shell()
        terminal.send("BEGIN;\n")
        terminal.expect("foreshore> ")
        terminal.send(".create other\n")
        terminal.expect("not part of the open transaction")
        terminal.expect("foreshore> ")
        terminal.send("SELECT 'beg' || 'un'; "
                      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c;\n")
        terminal.expect("begun")
        # A signal between the two statements would be for neither.
        for attempt in range(100):
            terminal.send("\x03")
            try:
                terminal.expect("interrupted", 0.5)
                break
            except AssertionError:
                self.assertLess(attempt, 60)
        terminal.expect("foreshore> ")
        terminal.send("COMMIT; SELECT 'still ' || 'here';\n")
        terminal.expect("still here")
        terminal.expect("foreshore> ")  # Before it the terminal is in line mode, and ^D another thing.
        terminal.send("\x04")
        self.assertEqual(terminal.wait(), 0)

    def test_tab_knows_what_the_statement_names(self):
        self.import_lines("pumps", [{"id": "p1", "pressure": 3}])
        terminal = self.shell()
        terminal.send("SELECT p.pres FROM pumps p;" + "\x1b[D" * len(" FROM pumps p;") + "\t\n")
        self.assertIn("3", terminal.expect("1 row\n"))
        terminal.expect("foreshore> ")
        terminal.send(".mode \t\t")
        terminal.expect("csv    json   table")
        terminal.send("j\t\n")
        terminal.expect("foreshore> ")
        terminal.send("SELECT 1 AS a;\n")
        terminal.expect('{"a":1}')
        terminal.expect("foreshore> ")
        terminal.send(".quit\n")
        self.assertEqual(terminal.wait(), 0)

    def test_a_statement_is_edited_over_its_lines(self):
        terminal = self.shell()
        terminal.send("SELECT 5 AS five\n  FROM nots\n WHERE id = 'n1'\x1b[A\x7fes")
        terminal.send("\x1b[B\x05;\n")
        self.assertIn("5", terminal.expect("1 row\n"))
        terminal.expect("foreshore> ")
        terminal.send(".quit\n")
        self.assertEqual(terminal.wait(), 0)

    def test_errors_have_a_caret_and_say_what_may_be_meant(self):
        terminal = self.shell()
        terminal.send("SELECT temprature FROM notes;\n")
        terminal.expect("\n  SELECT temprature FROM notes\n         ^\n")
        terminal.expect('did you mean "temperature"?')
        terminal.expect("foreshore> ")
        terminal.send(".quit\n")
        self.assertEqual(terminal.wait(), 0)

    def test_rows_beyond_the_limit_are_said(self):
        terminal = self.shell()
        terminal.send(".limit 1\n")
        terminal.expect("foreshore> ")
        terminal.send("SELECT id FROM notes ORDER BY id;\n")
        terminal.expect("the first 1 rows; .limit 0 shows all")
        terminal.expect("foreshore> ")
        terminal.send(".quit\n")
        self.assertEqual(terminal.wait(), 0)

    def test_history_is_kept(self):
        terminal = self.shell()
        terminal.send("SELECT 'marker' AS kept;\n")
        terminal.expect("1 row\n")
        terminal.expect("foreshore> ")
        terminal.send(".quit\n")
        terminal.wait()
        terminal = self.shell()
        terminal.send("\x1b[A\x1b[A\n")
        terminal.expect("1 row\n")
        terminal.expect("foreshore> ")  # Before it ^D would be the terminal's, not the editor's.
        terminal.send("\x04")
        self.assertEqual(terminal.wait(), 0)


if __name__ == "__main__":
    unittest.main()
