#!/usr/bin/env python3
"""Writes Debian's package descriptions as JSON lines for `foreshore import`.

    make_documents.py PACKAGES TRANSLATION_EN OUTPUT [--count N]

One line per package: {"id", "name", "section", "priority", "size", "text"}, size in bytes of the package file, text the
long English description with its paragraphs. Packages that share a description word for word count once, since equal
texts have equal vectors and tell nothing about search. The sample is chosen by the SHA-256 of the name, so that it
is spread over the archive and the same on every machine with the same index, and it is written in order of name.
"""

import argparse
import hashlib
import json
import os
import re
import sys

TEXT_CHARACTERS_MIN = 120
MEAN_CHARACTERS_MIN = 200
COUNT_MIN = 10_000


def records(path):
    """Yields the paragraphs of a Debian control file as dicts; continuation lines keep their leading space."""
    record, field = {}, None
    with open(path, encoding="utf-8", errors="strict") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if not line:
                if record:
                    yield record
                record, field = {}, None
            elif line[0] in " \t":
                if field is None:
                    raise ValueError(f"{path}: continuation line {line!r} before any field")
                record[field] += "\n" + line
            else:
                field, _, value = line.partition(":")
                record[field] = value.strip()
    if record:
        yield record


def long_description(value):
    """The paragraphs below the synopsis: wrapped lines are joined, list lines (indented further) stay lines."""
    paragraphs, current = [], ""
    for line in value.split("\n")[1:]:
        line = line[1:]
        if line.strip() == ".":
            paragraphs.append(current)
            current = ""
        elif line.startswith((" ", "\t")) or re.match(r"[*+-] ", line):
            current += ("\n" if current else "") + line.strip()
        else:
            current += (" " if current else "") + line.strip()
    paragraphs.append(current)
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def documents(packages_path, translations_path):
    descriptions = {}
    for record in records(translations_path):
        if "Description-en" in record:
            key = (record["Package"], record.get("Description-md5"))
            descriptions.setdefault(key, long_description(record["Description-en"]))
    by_name = {}
    for record in records(packages_path):
        name = record["Package"]
        text = descriptions.get((name, record.get("Description-md5")), "")
        if name in by_name or len(text) < TEXT_CHARACTERS_MIN:
            continue
        by_name[name] = {
            "id": name,
            "name": name,
            "section": record.get("Section", "misc"),
            "priority": record.get("Priority", "optional"),
            "size": int(record["Size"]),
            "text": text,
        }
    return by_name


def sample(by_name, count):
    chosen, seen_texts = [], set()
    for name in sorted(by_name, key=lambda name: hashlib.sha256(name.encode()).digest()):
        text = by_name[name]["text"]
        if text in seen_texts:
            continue
        seen_texts.add(text)
        chosen.append(by_name[name])
        if len(chosen) == count:
            break
    return sorted(chosen, key=lambda document: document["id"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages")
    parser.add_argument("translations")
    parser.add_argument("output")
    parser.add_argument("--count", type=int, default=COUNT_MIN)
    arguments = parser.parse_args()

    chosen = sample(documents(arguments.packages, arguments.translations), arguments.count)
    if len(chosen) < arguments.count:
        sys.exit(f"make_documents: found {len(chosen)} packages with a long description, expected {arguments.count}")
    mean = sum(len(document["text"]) for document in chosen) / len(chosen)
    if mean < MEAN_CHARACTERS_MIN:
        sys.exit(f"make_documents: mean text is {mean:.0f} characters, expected at least {MEAN_CHARACTERS_MIN}; "
                 "is the translation index complete?")
    partial = arguments.output + ".partial"
    with open(partial, "w", encoding="utf-8") as output:
        for document in chosen:
            output.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    os.replace(partial, arguments.output)
    print(f"make_documents: {len(chosen)} documents, mean text {mean:.0f} characters, in {arguments.output}",
          file=sys.stderr)


if __name__ == "__main__":
    main()
