// Reads CSV (RFC 4180) record by record with bounded memory.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "foreshore/status.h"

namespace foreshore::cli {

struct CsvField {
  std::string text;
  bool is_quoted = false;
};

class CsvReader {
 public:
  // A record may take as much as a document.
  static constexpr std::size_t kRecordBytesMax = 2 << 20;

  explicit CsvReader(std::istream& input) : input_(input) {}
  // False at the end. Quoted fields may span lines.
  Result<bool> Next(std::vector<CsvField>& fields);
  // Of the record that Next returned last, from 1.
  std::uint64_t line_number() const { return record_line_; }

 private:
  std::istream& input_;
  std::uint64_t line_ = 1;
  std::uint64_t record_line_ = 0;
};

// A record as a JSON object. An unquoted number is a number, an unquoted empty field is absent, all else is text.
std::string CsvObject(const std::vector<std::string>& names, const std::vector<CsvField>& fields);

}  // namespace foreshore::cli
