// Attachments: content of any size that belongs to a document, kept outside it in a file named by its SHA-256, so that
// equal content is stored once.
//
// A document refers to its attachments in the field "_attachments": {"photo.jpg": [{"$blob": "<sha-256>", "size": 123,
// "type": "image/jpeg"}]}. That is ordinary content: it merges by name, is seen by SQL, and travels by sync. Replacing
// the document without the field removes the attachments.
//
// Threads: an Attachment belongs to one thread at a time; the rest are values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "foreshore/status.h"

namespace foreshore {

struct AttachmentInfo {
  std::string name;
  std::string content_type;  // As it was given; may be empty.
  std::uint64_t size_bytes = 0;
  std::string sha256;    // Hexadecimal.
  bool is_here = false;  // False: the document came by sync and the content has not arrived yet.
};

// Puts up to `capacity` bytes into `buffer` and returns how many; 0 ends the content.
using AttachmentSource = std::function<Result<std::size_t>(char* buffer, std::size_t capacity)>;

// Content that is written, synced and waits for a transaction. Dropped, it is collected later.
class StagedAttachment {
 public:
  std::uint64_t size_bytes() const { return size_bytes_; }
  const std::string& sha256() const { return sha256_; }

 private:
  friend class AttachmentAccess;
  std::uint64_t size_bytes_ = 0;
  std::string sha256_;
  std::shared_ptr<const void> hold_;  // Shared by copies: keeps the content from being collected.
};

// An open attachment. It stays readable when it is removed or replaced meanwhile.
class Attachment {
 public:
  virtual ~Attachment() = default;
  virtual const AttachmentInfo& info() const = 0;
  // Up to `capacity` bytes from `offset`; 0 at the end. Every byte was checked: kCorruption where the content is
  // damaged there.
  virtual Result<std::size_t> ReadAt(std::uint64_t offset, char* buffer, std::size_t capacity) = 0;
};

}  // namespace foreshore
