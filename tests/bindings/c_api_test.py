#!/usr/bin/env python3
"""Runs the C program on a folder of its own, with the model where there is one."""

import os
import subprocess
import sys
import tempfile

from command_line import MODEL


def main():
    if not MODEL.is_dir() and os.environ.get("CI") == "true":
        sys.exit(f"no model in {MODEL}; scripts/fetch.sh model")
    with tempfile.TemporaryDirectory(prefix="foreshore-c-") as folder:
        model = [str(MODEL)] if MODEL.is_dir() else []
        sys.exit(subprocess.run([os.environ["FORESHORE_C_API_TEST"], folder, *model], check=False).returncode)


if __name__ == "__main__":
    main()
