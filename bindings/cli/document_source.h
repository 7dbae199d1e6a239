// Documents out of a stream of JSON lines, JSON or CSV, one at a time: memory is bounded by a document (2 MiB), for CSV
// and its types by the first 1,000 records (1 MiB) too.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <istream>
#include <memory>
#include <string>

#include "bindings/cli/json_member.h"
#include "foreshore/status.h"

namespace foreshore::cli {

struct SourceOptions {
  std::string format = {};  // "jsonl", "json" (one array of objects, or objects one after the other) or "csv".
  std::string id_field = "id";
  // CSV only.
  char delimiter = ',';
  std::string columns = {};    // Names with commas between, for a file without a header.
  std::string types = {};      // As ApplyCsvTypes reads them.
  std::string null_text = {};  // An unquoted cell like this is absent.
};

class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // False at the end. An error is about one document where can_continue() is true: the next call reads the one behind.
  virtual Result<bool> Next(ImportDocument& document) = 0;
  virtual bool can_continue() const { return true; }
  // Where the document, or the error, of the last Next began; from 1.
  virtual std::uint64_t line_number() const = 0;
};

// `input` is borrowed.
Result<std::unique_ptr<DocumentSource>> MakeDocumentSource(std::istream& input, const SourceOptions& options);

// By the file's suffix, ".gz" and ".zst" aside, where `asked` is empty; else what was asked for.
std::string TransferFormat(const std::string& asked, const std::string& file);
// One character, "tab" or "\t"; empty: by the file's suffix. kInvalidArgument for another.
Result<char> TransferDelimiter(const std::string& asked, const std::string& file);

}  // namespace foreshore::cli
