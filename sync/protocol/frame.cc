#include "sync/protocol/frame.h"

#include <zstd.h>

#include <string>

#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

constexpr char kPlain = 0;
constexpr char kZstd = 1;
constexpr int kLevel = 3;

Status TooLarge(std::string_view what, std::size_t found, std::size_t max) {
  return Status::Limit("sync message: " + std::string(what) + " is " + std::to_string(found) + " bytes, at most " +
                       std::to_string(max) + " are accepted");
}

}  // namespace

Result<ByteString> EncodeFrame(Bytes message) {
  if (message.size() > kMessageBytesMax) return TooLarge("content", message.size(), kMessageBytesMax);
  ByteString frame(1 + ZSTD_compressBound(message.size()), '\0');
  frame[0] = kZstd;
  std::size_t written = ZSTD_compress(frame.data() + 1, frame.size() - 1, message.data(), message.size(), kLevel);
  if (ZSTD_isError(written) != 0) {
    return Status::Internal(std::string("sync message: compression failed: ") + ZSTD_getErrorName(written));
  }
  frame.resize(1 + written);
  bool is_accepted = message.size() <= written * kInflationRatioMax;
  if (written >= message.size() || (!is_accepted && message.size() < kFrameBytesMax)) {
    frame.assign(1, kPlain);
    frame.append(message);
  } else if (!is_accepted) {
    return Status::Limit("sync message: inflates " + std::to_string(message.size() / written) + " times, at most " +
                         std::to_string(kInflationRatioMax) + " are accepted");
  }
  if (frame.size() > kFrameBytesMax) return TooLarge("frame", frame.size(), kFrameBytesMax);
  return frame;
}

Result<ByteString> DecodeFrame(Bytes frame) {
  if (frame.empty()) return Status::Corruption("sync message: empty body, expected a frame");
  if (frame.size() > kFrameBytesMax) return TooLarge("frame", frame.size(), kFrameBytesMax);
  Bytes content = frame.substr(1);
  if (frame[0] == kPlain) return ByteString(content);
  if (frame[0] != kZstd) {
    return Status::Corruption("sync message: frame kind " + std::to_string(static_cast<unsigned char>(frame[0])) +
                              ", expected 0 or 1");
  }
  if (ZSTD_findFrameCompressedSize(content.data(), content.size()) != content.size()) {
    return Status::Corruption("sync message: damaged zstd frame");
  }
  unsigned long long size_bytes = ZSTD_getFrameContentSize(content.data(), content.size());
  if (size_bytes == ZSTD_CONTENTSIZE_UNKNOWN || size_bytes == ZSTD_CONTENTSIZE_ERROR) {
    return Status::Corruption("sync message: zstd frame without a content size");
  }
  if (size_bytes > kMessageBytesMax) return TooLarge("content", size_bytes, kMessageBytesMax);
  if (size_bytes > content.size() * kInflationRatioMax) {
    return Status::Limit("sync message: inflates " + std::to_string(size_bytes / content.size()) + " times, at most " +
                         std::to_string(kInflationRatioMax) + " are accepted");
  }
  ByteString message(static_cast<std::size_t>(size_bytes), '\0');
  std::size_t written = ZSTD_decompress(message.data(), message.size(), content.data(), content.size());
  if (ZSTD_isError(written) != 0 || written != message.size()) {
    return Status::Corruption("sync message: damaged zstd frame");
  }
  return message;
}

}  // namespace foreshore
