#!/usr/bin/env python3
"""The shared library shows nothing but its interface, all of it, and needs no library that it must not.

    exports_test.py LIBRARY HEADER [--rocksdb]
"""

import re
import subprocess
import sys
import unittest
from pathlib import Path

LIBRARY, HEADER = sys.argv[1:3]
WITH_ROCKSDB = "--rocksdb" in sys.argv[3:]


class ExportsTest(unittest.TestCase):
    def test_only_the_interface_is_visible(self):
        symbols = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", LIBRARY], capture_output=True,
                                 text=True, check=True).stdout
        names = {line.split()[0] for line in symbols.splitlines()}
        self.assertEqual({name for name in names if not name.startswith("foreshore_")}, set())
        declared = set()
        for header in Path(HEADER).parent.rglob("*.h"):
            text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.S)
            declared |= set(re.findall(r"\b(foreshore_\w+)\(", text))
        self.assertEqual(names, declared)

    def test_a_device_needs_no_server_library(self):
        entries = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True).stdout
        needed = re.findall(r"NEEDED\).*\[(.*?)\]", entries)
        forbidden = ["boost", "libpq", "libedit", "readline"] + ([] if WITH_ROCKSDB else ["rocksdb"])
        self.assertEqual([name for name in needed if any(part in name for part in forbidden)], [])
        undefined = subprocess.run(["nm", "-D", "--undefined-only", "-C", LIBRARY], capture_output=True, text=True,
                                   check=True).stdout
        self.assertNotIn("boost::", undefined)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
