// How import and export are spelled, the same behind the verbs and behind the shell's commands.
//
// Threads: free functions.
#pragma once

#include <string>
#include <vector>

#include "bindings/cli/command.h"

namespace CLI {
class App;
}

namespace foreshore::cli {

void AddImportOptions(CLI::App& verb, ImportArguments& arguments);
void AddExportOptions(CLI::App& verb, ExportArguments& arguments);

// The words behind ".import" and ".export". kInvalidArgument where they are spelled wrong.
Result<ImportArguments> ParseImportWords(std::vector<std::string> words);
Result<ExportArguments> ParseExportWords(std::vector<std::string> words);

}  // namespace foreshore::cli
