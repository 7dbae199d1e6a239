// A file that is there whole or not at all: written beside its place under another name, synced, and renamed by Commit.
// Without Commit nothing is left. What is no regular file (a pipe, /dev/null) is written in place. Standard output is
// used for an empty path.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "foreshore/status.h"

namespace foreshore::cli {

class OutputFile {
 public:
  static Result<std::unique_ptr<OutputFile>> Create(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  Status Write(std::string_view bytes);
  Status Commit();
  std::uint64_t written_bytes() const { return written_bytes_; }

 private:
  OutputFile() = default;
  Status Problem(const char* what) const;

  std::FILE* file_ = nullptr;
  std::string path_;       // Empty: standard output.
  std::string temporary_;  // Empty: written in place.
  std::uint64_t written_bytes_ = 0;
};

}  // namespace foreshore::cli
