// Import and export between a file and an open database, for the verbs and for the shell.
//
// Both stream: an import holds one batch of documents, an export one document. CSV is read twice by an export, since
// its header names every field. Threads: free functions, one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bindings/cli/command.h"
#include "bindings/cli/interrupt.h"

namespace foreshore::cli {

struct ImportReport {
  std::uint64_t imported_count = 0;
  std::uint64_t skipped_count = 0;
  std::vector<std::pair<std::uint64_t, std::string>> skipped;  // The first few: line and reason.
  double seconds = 0;
};

// Makes the collection where it is missing. kCancelled, saying where to go on, after an interrupt.
Result<ImportReport> ImportFile(Database& database, const ImportArguments& arguments, const Interrupt& interrupt);
// What was skipped, in one line; empty where nothing was.
std::string SkippedText(const std::string& file, const ImportReport& report);

// The number of documents written.
Result<std::uint64_t> ExportFile(Database& database, const ExportArguments& arguments, const Interrupt& interrupt);

}  // namespace foreshore::cli
