// The shell's commands, lines that begin with a dot.
//
// Threads: one at a time.
#pragma once

#include <functional>
#include <string>

#include "bindings/cli/output.h"
#include "foreshore/database.h"
#include "foreshore/sql.h"

namespace foreshore::cli {

struct ShellState {
  Database& database;
  SqlConnection& connection;  // Of the statements.
  PrintOptions options = {};
  bool is_timed = false;
  bool is_over = false;
  std::function<Status(const std::string& path)> read_script = {};
};

Status RunShellCommand(ShellState& state, const std::string& line);

}  // namespace foreshore::cli
