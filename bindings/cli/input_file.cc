#include "bindings/cli/input_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace foreshore::cli {
namespace {

constexpr std::size_t kBufferBytes = 64 << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

// Turns packed bytes into plain ones.
class InputFile::Decoder {
 public:
  virtual ~Decoder() = default;
  // Advances `start` by what it took and says how much it made. 0 made with nothing taken: it wants more.
  virtual Result<std::size_t> Decode(const char* bytes, std::size_t* start, std::size_t end, char* out,
                                     std::size_t capacity) = 0;
  // Whether the file may end here.
  virtual bool is_whole() const = 0;
};

class InputFile::GzipDecoder : public InputFile::Decoder {
 public:
  GzipDecoder() { is_ready_ = inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK; }
  ~GzipDecoder() override { inflateEnd(&stream_); }

  Result<std::size_t> Decode(const char* bytes, std::size_t* start, std::size_t end, char* out,
                             std::size_t capacity) override {
    if (!is_ready_) return Status::Internal("gzip: cannot begin");
    if (is_whole_) {  // Another member follows, as in files that were joined.
      inflateReset(&stream_);
      is_whole_ = false;
    }
    // zlib does not write to its input; its interface is older than const.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes + *start));
    stream_.avail_in = static_cast<uInt>(end - *start);
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(capacity);
    const int code = inflate(&stream_, Z_NO_FLUSH);
    *start = end - stream_.avail_in;
    if (code == Z_STREAM_END) {
      is_whole_ = true;
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
      return Status::Corruption(std::string("gzip: ") + (stream_.msg != nullptr ? stream_.msg : "broken data"));
    }
    return capacity - stream_.avail_out;
  }
  bool is_whole() const override { return is_whole_; }

 private:
  z_stream stream_ = {};
  bool is_ready_ = false;
  bool is_whole_ = false;
};

class InputFile::ZstdDecoder : public InputFile::Decoder {
 public:
  ZstdDecoder() : stream_(ZSTD_createDStream()) {}
  ~ZstdDecoder() override { ZSTD_freeDStream(stream_); }

  Result<std::size_t> Decode(const char* bytes, std::size_t* start, std::size_t end, char* out,
                             std::size_t capacity) override {
    if (stream_ == nullptr) return Status::Internal("zstd: cannot begin");
    ZSTD_inBuffer input = {bytes, end, *start};
    ZSTD_outBuffer output = {out, capacity, 0};
    const std::size_t code = ZSTD_decompressStream(stream_, &output, &input);
    if (ZSTD_isError(code) != 0) return Status::Corruption(std::string("zstd: ") + ZSTD_getErrorName(code));
    *start = input.pos;
    is_whole_ = code == 0;
    return output.pos;
  }
  bool is_whole() const override { return is_whole_; }

 private:
  ZSTD_DStream* stream_;
  bool is_whole_ = false;
};

InputFile::InputFile(std::string name, int fd, const Interrupt* interrupt)
    : name_(std::move(name)), fd_(fd), interrupt_(interrupt), raw_(kBufferBytes), buffer_(kBufferBytes) {
  struct stat file = {};
  if (fstat(fd_, &file) == 0 && S_ISREG(file.st_mode)) {
    is_regular_ = true;
    total_bytes_ = static_cast<std::uint64_t>(file.st_size);
  }
}

InputFile::~InputFile() {
  if (fd_ > STDERR_FILENO) close(fd_);
}

Result<std::unique_ptr<InputFile>> InputFile::Open(const std::string& path, const Interrupt* interrupt) {
  if (path == "-") return std::unique_ptr<InputFile>(new InputFile("standard input", STDIN_FILENO, interrupt));
  const std::string name = "file \"" + path + "\"";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Status::NotFound(name + ": cannot be opened: " + std::strerror(errno));
  std::unique_ptr<InputFile> file(new InputFile(name, fd, interrupt));
  struct stat info = {};
  if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
    return Status::InvalidArgument(name + ": found a directory, expected a file");
  }
  return file;
}

Result<std::size_t> InputFile::ReadRaw(char* bytes, std::size_t capacity) {
  for (;;) {
    if (interrupt_ != nullptr && !is_regular_) {
      pollfd wanted[2] = {{fd_, POLLIN, 0}, {interrupt_->fd(), POLLIN, 0}};
      if (poll(wanted, 2, -1) < 0 && errno != EINTR) return Status::Io(name_ + ": " + std::strerror(errno));
      if (interrupt_->is_requested()) return Status::Cancelled(name_ + ": interrupted");
      if (wanted[0].revents == 0) continue;
    }
    const ssize_t size = read(fd_, bytes, capacity);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Status::Io(name_ + ": cannot be read: " + std::strerror(errno));
    consumed_bytes_ += static_cast<std::uint64_t>(size);
    return static_cast<std::size_t>(size);
  }
}

Result<std::size_t> InputFile::ReadDecoded() {
  for (;;) {
    // Without input too: what did not fit into the buffer last time is still in the decoder.
    if (raw_start_ < raw_end_ || !decoder_->is_whole()) {
      const auto made = decoder_->Decode(raw_.data(), &raw_start_, raw_end_, buffer_.data(), buffer_.size());
      if (!made.ok()) return made.status().WithContext(name_);
      if (*made > 0) return *made;
    }
    if (raw_start_ < raw_end_) continue;
    raw_start_ = 0;
    FORESHORE_ASSIGN_OR_RETURN(raw_end_, ReadRaw(raw_.data(), raw_.size()));
    if (raw_end_ > 0) continue;
    if (decoder_->is_whole()) return std::size_t{0};
    return Status::Corruption(name_ + ": packed data ends before its end");
  }
}

Result<std::size_t> InputFile::Begin() {
  has_begun_ = true;
  // A pipe may give a few bytes at a time.
  while (raw_end_ < 4) {
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t size, ReadRaw(raw_.data() + raw_end_, raw_.size() - raw_end_));
    if (size == 0) break;
    raw_end_ += size;
  }
  const std::string_view head(raw_.data(), raw_end_);
  std::size_t size = 0;
  if (head.starts_with("\x1F\x8B")) {
    decoder_ = std::make_unique<GzipDecoder>();
  } else if (head.starts_with("\x28\xB5\x2F\xFD")) {
    decoder_ = std::make_unique<ZstdDecoder>();
  } else {
    buffer_.swap(raw_);
    size = raw_end_;
  }
  if (decoder_) {
    FORESHORE_ASSIGN_OR_RETURN(size, ReadDecoded());
  }
  const std::string_view text(buffer_.data(), size);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    return Status::InvalidArgument(name_ + ": found UTF-16, expected UTF-8");
  }
  return size;
}

InputFile::int_type InputFile::underflow() {
  if (!status_.ok()) return traits_type::eof();
  const bool is_first = !has_begun_;
  auto read_plain = [&]() -> Result<std::size_t> { return ReadRaw(buffer_.data(), buffer_.size()); };
  const Result<std::size_t> size = is_first ? Begin() : decoder_ ? ReadDecoded() : read_plain();
  if (!size.ok()) status_ = size.status();
  if (!size.ok() || *size == 0) return traits_type::eof();
  std::size_t start = 0;
  if (is_first && std::string_view(buffer_.data(), *size).starts_with(kByteOrderMark)) start = kByteOrderMark.size();
  setg(buffer_.data(), buffer_.data() + start, buffer_.data() + *size);
  return start == *size ? underflow() : traits_type::to_int_type(*gptr());
}

Result<std::string> ReadInputFile(const std::string& path, std::size_t bytes_max) {
  FORESHORE_ASSIGN_OR_RETURN(const auto file, InputFile::Open(path, nullptr));
  std::string content;
  std::string piece(kBufferBytes, '\0');
  while (const std::streamsize count = file->sgetn(piece.data(), static_cast<std::streamsize>(piece.size()))) {
    content.append(piece, 0, static_cast<std::size_t>(count));
    if (content.size() > bytes_max) {
      return Status::Limit("file \"" + path + "\": larger than " + std::to_string(bytes_max) + " bytes");
    }
  }
  FORESHORE_RETURN_IF_ERROR(file->status());
  return content;
}

}  // namespace foreshore::cli
