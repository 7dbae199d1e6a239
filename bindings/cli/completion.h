// What Tab offers: names and keywords that can stand at the cursor.
//
// Threads: free functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bindings/cli/database_names.h"

namespace foreshore::cli {

struct Completion {
  std::size_t replaced_bytes = 0;  // Before the cursor.
  std::vector<std::string> words;  // Sorted, each once.
  std::string suffix = " ";        // Goes behind the word where there is only one.
};

// `before` and `after` the cursor: the statement's collections may be named behind it.
Completion CompleteSql(std::string_view before, std::string_view after, const DatabaseNames& names);

// What a shell command takes at one place.
enum class ArgumentKind { kNone, kCollection, kModel, kMode, kSwitch, kFile, kCommand };

struct ShellCommand {
  std::string_view name;       // ".mode"
  std::string_view arguments;  // "table|json|csv"
  std::string_view summary;
  std::string_view detail;  // More lines for ".help NAME"; may be empty.
  ArgumentKind first = ArgumentKind::kNone;
  ArgumentKind second = ArgumentKind::kNone;
};
// Sorted by name.
const std::vector<ShellCommand>& ShellCommands();
const ShellCommand* FindShellCommand(std::string_view name);
// `before` begins with the dot.
Completion CompleteCommand(std::string_view before, const DatabaseNames& names);

// A command's words; quotes keep spaces together. kInvalidArgument for a quote without an end.
Result<std::vector<std::string>> SplitWords(std::string_view line);

}  // namespace foreshore::cli
