// Reads CSV (RFC 4180) record by record with bounded memory. Lines end in LF, CRLF or CR.
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

  explicit CsvReader(std::istream& input, char delimiter = ',') : input_(*input.rdbuf()), delimiter_(delimiter) {}
  // False at the end. Quoted fields may span lines. After an error the next call goes on behind the line where it was.
  Result<bool> Next(std::vector<CsvField>& fields);
  // Of the record that Next returned last, from 1.
  std::uint64_t line_number() const { return record_line_; }

 private:
  Status Read(std::vector<CsvField>& fields);
  // The next character, a line end of any kind as '\n'; end of file as eof.
  int Get();

  std::streambuf& input_;
  char delimiter_;
  int last_ = 0;  // What Get returned last.
  std::uint64_t line_ = 1;
  std::uint64_t record_line_ = 0;
};

}  // namespace foreshore::cli
