#!/usr/bin/env python3
"""The structure checks find what they are for: each plants one violation in a clean tree and looks for its name."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import structure  # noqa: E402

CLEAN = {
    "storage/base/coding.h": "#pragma once\n#include <string>\n",
    "storage/base/include/foreshore/status.h": "#pragma once\n#include <string>\n",
    "storage/store.h": '#pragma once\n#include "storage/base/coding.h"\n',
    "storage/sqlite_store.h": '#pragma once\n#include <sqlite3.h>\n#include "storage/store.h"\n',
    "storage/sqlite_store.cc": '#include "storage/sqlite_store.h"\n',
    "index/vector_index.h": '#pragma once\n#include "storage/store.h"\n',
    "engine/include/foreshore/database.h": '#pragma once\n#include <string>\n#include "foreshore/status.h"\n',
    "engine/inference/tensor.h": '#pragma once\n#include "storage/base/coding.h"\n',
    "engine/model/model.h": '#pragma once\n#include "engine/inference/tensor.h"\n',
    "bindings/cli/main.cc": '#include "foreshore/database.h"\n#include "bindings/cli/output.h"\n',
    "bindings/cli/output.h": "#pragma once\n",
    "tests/storage/store_test.cc": '#include "storage/store.h"\n',
    "README.md": "Run `scripts/test.sh`.\n",
}


class StructureTest(unittest.TestCase):
    def violations(self, check, **changes):
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**CLEAN, **changes.pop("files", {})}.items():
                path = Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return list(check(structure.Tree(root)))

    def expect(self, check, files, wanted):
        found = self.violations(check, files=files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(wanted, found[0])

    def test_a_clean_tree_has_no_violation(self):
        for check in structure.CHECKS:
            with self.subTest(check.__name__):
                self.assertEqual(self.violations(check), [])

    def test_an_upward_include_is_found(self):
        self.expect(structure.check_downward,
                    {"storage/bad.cc": '#include "index/vector_index.h"\n'}, "floor 1 includes")

    def test_an_upward_include_of_a_public_header_is_found(self):
        self.expect(structure.check_downward,
                    {"index/bad.cc": '\n#include "foreshore/database.h"\n'}, "index/bad.cc:2: floor 2 includes")

    def test_an_include_of_tests_from_a_floor_is_found(self):
        self.expect(structure.check_downward,
                    {"tests/t.h": "#pragma once\n", "index/bad.cc": '#include "tests/t.h"\n'}, "outside the floors")

    def test_an_include_that_is_not_root_relative_is_found(self):
        self.expect(structure.check_root_relative,
                    {"storage/bad.cc": '#include "store.h"\n'}, "no path from the root")

    def test_a_folder_cycle_is_found(self):
        self.expect(structure.check_cycles,
                    {"engine/model/a.h": '#pragma once\n#include "engine/query/b.h"\n',
                     "engine/query/b.h": '#pragma once\n#include "engine/model/a.h"\n'},
                    "engine/model -> engine/query -> engine/model")

    def test_a_public_header_that_includes_an_inner_one_is_found(self):
        self.expect(structure.check_public_headers,
                    {"storage/include/foreshore/bad.h": '#pragma once\n#include "storage/store.h"\n'},
                    "expected foreshore/* or standard")

    def test_a_public_header_that_includes_a_library_is_found(self):
        self.expect(structure.check_public_headers,
                    {"storage/include/foreshore/bad.h": "#pragma once\n#include <sqlite3.h>\n"}, "<sqlite3.h>")

    def test_a_library_include_in_a_shared_header_is_found(self):
        self.expect(structure.check_third_party,
                    {"index/hnsw.h": "#pragma once\n#include <hnswlib/hnswlib.h>\n",
                     "engine/model/user.cc": '#include "index/hnsw.h"\n'}, "index/hnsw.h:2")

    def test_a_library_type_in_a_shared_header_is_found(self):
        self.expect(structure.check_third_party,
                    {"storage/store.h": "#pragma once\nstruct sqlite3;\nsqlite3* Handle();\n"},
                    "storage/store.h:3: header used by other folders names sqlite3*")

    def test_inference_that_includes_another_floor_is_found(self):
        self.expect(structure.check_inference,
                    {"engine/inference/bad.cc": '#include "storage/store.h"\n'}, "engine/inference includes")

    def test_a_binding_that_includes_an_inner_header_is_found(self):
        self.expect(structure.check_bindings_use_public_headers,
                    {"bindings/cli/bad.cc": '#include "storage/store.h"\n'}, "expected public headers only")

    def test_an_unknown_top_level_folder_is_found(self):
        self.expect(structure.check_top_level, {"util/a.txt": ""}, "util/")

    def test_a_camel_case_file_is_found(self):
        self.expect(structure.check_names, {"storage/SqliteStore.cc": ""}, "not snake_case")

    def test_a_folder_of_helpers_is_found(self):
        self.expect(structure.check_names, {"storage/util/a.cc": ""}, "helper")

    def test_a_long_file_is_found(self):
        self.expect(structure.check_length, {"storage/long.cc": "\n" * 801}, "801 lines")
        self.expect(structure.check_length, {"storage/long.h": "\n" * 401}, "401 lines")

    def test_a_header_without_guard_is_found(self):
        self.expect(structure.check_pragma_once, {"storage/bad.h": "int x;\n"}, "no #pragma once")

    def test_a_path_of_one_machine_is_found(self):
        self.expect(structure.check_paths, {"scripts/a.sh": "cd /home/ada/foreshore\n"}, "/home/ada/")
        self.assertEqual(self.violations(structure.check_paths, files={"scripts/a.sh": "cd $HOME/x/" + "root/y\n"}), [])

    @unittest.skipUnless(structure.shutil.which("clang-format-14") or structure.shutil.which("clang-format"),
                         "no clang-format")
    def test_a_target_that_clang_is_not_told_is_found(self):
        kernel = {"index/kernel.cc": '#pragma GCC target("avx2")\n'}
        self.expect(structure.check_clang_targets, kernel, "index/kernel.cc: has #pragma GCC target")
        other = {"index/CMakeLists.txt": "foreshore_clang_target(other_kernel.cc -mavx2)\n"}
        self.expect(structure.check_clang_targets, {**kernel, **other}, "foreshore_clang_target(kernel.cc ")
        told = {"index/CMakeLists.txt": "foreshore_clang_target(kernel.cc -mavx2)\n"}
        self.assertEqual(self.violations(structure.check_clang_targets, files={**kernel, **told}), [])

    def test_unformatted_code_is_found(self):
        self.expect(structure.check_format,
                    {".clang-format": "BasedOnStyle: Google\nSortIncludes: Never\nIncludeBlocks: Preserve\n",
                     "storage/bad.cc": "int  f( ){return 1 ;}\n"},
                    "not formatted")


if __name__ == "__main__":
    unittest.main()
