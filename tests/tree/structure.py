#!/usr/bin/env python3
"""Checks that the tree keeps its walls: floors include downward only, headers stay clean, files stay readable.

    structure.py ROOT        prints one line per violation; exit status 1 if there is any

Each check is a function from a Tree to violations, so that the self-test can plant one of each.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# Folder to floor; the longest prefix wins. A folder may include its own floor and those below.
FLOORS = {"storage/base": 0, "storage": 1, "index": 2, "engine": 3, "sync": 4, "bindings": 5}
TOP_LEVEL_FOLDERS = set(folder.split("/")[0] for folder in FLOORS) | {
    "tests", "scripts", "docs", "cmake", "examples", ".ci", ".github"}

# Libraries whose types stay in the folder that uses them.
THIRD_PARTY = re.compile(
    r"^(sqlite3|rocksdb/|hnswlib/|google/protobuf/|curl/|boost/|zstd|openssl/|utf8proc|libpq|CLI/|doctest/|"
    r"histedit|editline|nlohmann/)|\.pb\.h$")
# A folder may name a library in its own headers only where those headers stay inside the folder.
THIRD_PARTY_TYPES = re.compile(
    r"\b(sqlite3(_\w+)?\s*\*|rocksdb::\w+|hnswlib::\w+|google::protobuf::\w+|CURL\s*\*|boost::\w+|PGconn)")

CC_LINES_MAX = 800
HEADER_LINES_MAX = 400
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
HOME_PATH = re.compile(r"(?<![\w$}.])/(home|Users)/[A-Za-z][\w.-]*/|(?<![\w$}.])/(root|tmp/wt|work)/[A-Za-z._]")
TEXT_SUFFIXES = {".cc", ".h", ".c", ".py", ".sh", ".md", ".txt", ".cmake", ".json", ".proto", ".in", ""}


class Tree:
    """The files of a repository: those git knows, or all, where there is no git."""

    def __init__(self, root):
        self.root = Path(root)
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                capture_output=True, check=False)
        if listed.returncode == 0:
            names = [name for name in listed.stdout.decode().split("\0") if name]
        else:
            names = [str(path.relative_to(root)) for path in self.root.rglob("*") if path.is_file()]
        self.files = sorted(name for name in names if (self.root / name).is_file() and not name.startswith("build/"))

    def sources(self, *suffixes):
        return [name for name in self.files if name.endswith(suffixes or (".cc", ".h", ".c"))]

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8", errors="replace")

    def includes(self, name):
        """(line number, is a system include, path) for each include of a file."""
        for number, line in enumerate(self.text(name).split("\n"), 1):
            found = INCLUDE.match(line)
            if found:
                yield number, found.group(1) == "<", found.group(2)


def floor_of(name):
    """The floor of a file or folder, or None outside the floors (tests)."""
    for folder in sorted(FLOORS, key=len, reverse=True):
        if name == folder or name.startswith(folder + "/"):
            return FLOORS[folder]
    return None


def public_headers(tree):
    """"foreshore/x.h" to the file that holds it."""
    headers = {}
    for name in tree.files:
        found = re.search(r"(?:^|/)include/(foreshore(?:/[^/]+\.h|\.h))$", name)
        if found:
            headers[found.group(1)] = name
    return headers


def resolve(include, headers, tree):
    """The file of the tree that an include names, or None for one from outside."""
    if include in headers:
        return headers[include]
    return include if (tree.root / include).is_file() else None


def check_downward(tree):
    headers = public_headers(tree)
    for name in tree.sources():
        floor = floor_of(name)
        if floor is None:
            continue
        for number, _, include in tree.includes(name):
            target = resolve(include, headers, tree)
            if target is None:
                continue
            target_floor = floor_of(target)
            if target_floor is None:
                yield f'{name}:{number}: includes "{include}" from outside the floors'
            elif target_floor > floor:
                yield f'{name}:{number}: floor {floor} includes "{include}" of floor {target_floor}'


def check_root_relative(tree):
    """A quoted include that is neither a public header nor a path from the root hides where it comes from."""
    headers = public_headers(tree)
    for name in tree.sources():
        for number, is_system, include in tree.includes(name):
            generated = include.endswith(".pb.h")
            if not is_system and not generated and resolve(include, headers, tree) is None:
                yield f'{name}:{number}: "{include}" is no public header and no path from the root'


def check_cycles(tree):
    """Folders form a graph without cycles. A folder's own include/ counts as that folder."""
    headers = public_headers(tree)

    def folder(name):
        return re.sub(r"/include(/.*)?$", "", os.path.dirname(name))

    edges, where = {}, {}
    for name in tree.sources():
        if floor_of(name) is None:
            continue
        for number, _, include in tree.includes(name):
            target = resolve(include, headers, tree)
            # A module's public headers may stand on the floor's folder above it (engine/include).
            if target is None or folder(target) == folder(name) or "/include/" in target:
                continue
            edges.setdefault(folder(name), set()).add(folder(target))
            where.setdefault((folder(name), folder(target)), f"{name}:{number}")
    state = {}

    def visit(node, path):
        state[node] = "open"
        for target in sorted(edges.get(node, ())):
            if state.get(target) == "open":
                cycle = path[path.index(target):] + [target]
                yield "folder cycle: " + " -> ".join(cycle) + f" (closed at {where[(node, target)]})"
            elif target not in state:
                yield from visit(target, path + [target])
        state[node] = "done"

    for node in sorted(edges):
        if node not in state:
            yield from visit(node, [node])


def check_public_headers(tree):
    for include_name, name in public_headers(tree).items():
        for number, is_system, include in tree.includes(name):
            if is_system:
                # The standard library's names have neither a folder nor, in C++, a suffix.
                if "/" in include or (include.endswith(".h") and include not in C_HEADERS):
                    yield f"{name}:{number}: public header includes <{include}>, expected foreshore/* or standard"
            elif not include.startswith("foreshore/"):
                yield f'{name}:{number}: public header includes "{include}", expected foreshore/* or standard'


C_HEADERS = {"stddef.h", "stdint.h", "stdbool.h", "limits.h"}


def check_third_party(tree):
    """No library's type or include in a header that another folder includes."""
    headers = public_headers(tree)
    used_elsewhere = set(headers.values())
    for name in tree.sources():
        for _, _, include in tree.includes(name):
            target = resolve(include, headers, tree)
            same_folder = target is not None and os.path.dirname(target) == os.path.dirname(name)
            if target and target.endswith(".h") and not same_folder and not name.startswith("tests/"):
                used_elsewhere.add(target)
    for name in sorted(used_elsewhere):
        if floor_of(name) is None:
            continue
        for number, _, include in tree.includes(name):
            if THIRD_PARTY.search(include):
                yield f"{name}:{number}: header used by other folders includes <{include}>"
        for number, line in enumerate(tree.text(name).split("\n"), 1):
            found = THIRD_PARTY_TYPES.search(line.split("//")[0])
            if found:
                yield f"{name}:{number}: header used by other folders names {found.group(0).strip()}"


def check_inference(tree):
    headers = public_headers(tree)
    for name in tree.sources():
        if not name.startswith("engine/inference/"):
            continue
        for number, _, include in tree.includes(name):
            target = resolve(include, headers, tree)
            if target and not target.startswith("engine/inference/") and floor_of(target) != 0:
                yield f'{name}:{number}: engine/inference includes "{include}", expected its own files or floor 0'


def check_bindings_use_public_headers(tree):
    headers = public_headers(tree)
    for name in tree.sources():
        if not name.startswith("bindings/"):
            continue
        for number, _, include in tree.includes(name):
            target = resolve(include, headers, tree)
            if target and not target.startswith("bindings/") and target not in headers.values():
                yield f'{name}:{number}: a binding includes "{include}", expected public headers only'


def check_top_level(tree):
    for folder in sorted({name.split("/")[0] for name in tree.files if "/" in name}):
        if folder not in TOP_LEVEL_FOLDERS:
            yield f"{folder}/: unknown top-level folder, expected one of {', '.join(sorted(TOP_LEVEL_FOLDERS))}"


def check_names(tree):
    for name in tree.sources(".cc", ".h"):
        if not re.fullmatch(r"[a-z0-9_]+(\.\w+)?\.(cc|h)", os.path.basename(name)):
            yield f"{name}: file name is not snake_case"
        if {"util", "utils", "common", "misc", "helpers"} & set(name.split("/")):
            yield f"{name}: a helper lives on the lowest floor that needs it, under a name that says what it is"


def check_length(tree):
    for name in tree.sources(".cc", ".h"):
        count = tree.text(name).count("\n")
        limit = HEADER_LINES_MAX if name.endswith(".h") else CC_LINES_MAX
        if count > limit:
            yield f"{name}: {count} lines, expected at most {limit}"


def check_pragma_once(tree):
    for name in tree.sources(".h"):
        text = tree.text(name)
        if "#pragma once" not in text and not re.search(r"#ifndef (\w+_H_?)\s*\n#define \1", text):
            yield f"{name}: header has no #pragma once"


def check_paths(tree):
    for name in tree.files:
        if Path(name).suffix not in TEXT_SUFFIXES or name.startswith("tests/tree/"):
            continue
        for number, line in enumerate(tree.text(name).split("\n"), 1):
            found = HOME_PATH.search(line)
            if found:
                yield f"{name}:{number}: names a place of one machine: {found.group(0)}"


def check_clang_targets(tree):
    """Clang, which builds the fuzzers, does not know GCC's pragma: the folder's list has to say the same."""
    for name in tree.sources(".cc"):
        listing = str(Path(name).parent / "CMakeLists.txt")
        wanted = f"foreshore_clang_target({Path(name).name} "
        if "#pragma GCC target" in tree.text(name) and (listing not in tree.files or wanted not in tree.text(listing)):
            yield f"{name}: has #pragma GCC target, expected {wanted}flags…) in {listing}"


def check_format(tree):
    """Silent where there is no clang-format: the check that scripts/setup.sh's machine makes is enough."""
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if tool is None or not (tree.root / ".clang-format").exists():
        return
    sources = tree.sources()
    for start in range(0, len(sources), 50):
        group = sources[start:start + 50]
        done = subprocess.run([tool, "--dry-run", "-Werror", *group], cwd=tree.root, capture_output=True, text=True,
                              check=False)
        seen = set()
        for line in done.stderr.split("\n"):
            found = re.match(r"(\S+?):(\d+):\d+: error: code should be clang-formatted", line)
            if found and found.group(1) not in seen:
                seen.add(found.group(1))
                yield f"{found.group(1)}:{found.group(2)}: not formatted; run scripts/lint.sh --fix"


CHECKS = [check_downward, check_root_relative, check_cycles, check_public_headers, check_third_party, check_inference,
          check_bindings_use_public_headers, check_top_level, check_names, check_length, check_pragma_once, check_paths,
          check_clang_targets, check_format]


def main():
    tree = Tree(sys.argv[1])
    violations = [f"{violation}  [{check.__name__}]" for check in CHECKS for violation in check(tree)]
    for violation in violations:
        print(violation)
    print(f"{len(tree.files)} files, {len(CHECKS)} checks, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
