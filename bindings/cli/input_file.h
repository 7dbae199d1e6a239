// A file or standard input as a stream buffer: gzip and zstd are unpacked where the first bytes say so, a UTF-8 byte
// order mark is dropped. Memory is bounded: 64 KiB buffers beside what the decompressor needs (zstd: a window of at
// most 128 MiB).
//
// An error of reading or unpacking looks like the end of the stream; status() tells.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <streambuf>
#include <string>
#include <vector>

#include "bindings/cli/interrupt.h"
#include "foreshore/status.h"

namespace foreshore::cli {

class InputFile : public std::streambuf {
 public:
  // "-" is standard input. A wait for input that does not come ends with kCancelled when `interrupt`, which may be null
  // and is borrowed, is requested. kNotFound where the file cannot be opened.
  static Result<std::unique_ptr<InputFile>> Open(const std::string& path, const Interrupt* interrupt);
  ~InputFile() override;
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // 0 where it is not known, as of a pipe.
  std::uint64_t total_bytes() const { return total_bytes_; }
  // Read from the file so far, packed as it is there.
  std::uint64_t consumed_bytes() const { return consumed_bytes_; }
  const Status& status() const { return status_; }

 protected:
  int_type underflow() override;

 private:
  class Decoder;
  class GzipDecoder;
  class ZstdDecoder;
  InputFile(std::string name, int fd, const Interrupt* interrupt);
  // At most `capacity` bytes of the file; 0 at its end.
  Result<std::size_t> ReadRaw(char* bytes, std::size_t capacity);
  Result<std::size_t> ReadDecoded();
  // Chooses the decoder by the first bytes and drops the byte order mark.
  Result<std::size_t> Begin();

  std::string name_;
  int fd_;
  const Interrupt* interrupt_;
  bool is_regular_ = false;
  bool has_begun_ = false;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t consumed_bytes_ = 0;
  std::unique_ptr<Decoder> decoder_;  // Null for plain bytes.
  std::vector<char> raw_;             // Packed bytes [raw_start_, raw_end_) that the decoder has not taken.
  std::size_t raw_start_ = 0;
  std::size_t raw_end_ = 0;
  std::vector<char> buffer_;
  Status status_;
};

// All of a file; kLimit where it is larger than `bytes_max`, as one without end is.
Result<std::string> ReadInputFile(const std::string& path, std::size_t bytes_max);

}  // namespace foreshore::cli
