// Attachments of documents over views: the field "_attachments" and the blobs that it names (foreshore/attachment.h).
//
// Threads: the functions follow the rule of the view they are given.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/core.h"
#include "foreshore/attachment.h"

namespace foreshore {

inline constexpr std::string_view kAttachmentsField = "_attachments";

// What a body's field says; entries that do not follow the convention are left out. is_here is not set.
std::vector<AttachmentInfo> AttachmentsOf(std::string_view body);

class AttachmentAccess {
 public:
  static Result<StagedAttachment> Stage(DatabaseCore& core, const AttachmentSource& source);
  static Result<AttachmentInfo> Put(WriteView& view, const CollectionDefinition& collection, std::string_view id,
                                    std::string_view name, std::string_view content_type,
                                    const StagedAttachment& content);
  static Result<std::vector<AttachmentInfo>> List(ReadView& view, const CollectionDefinition& collection,
                                                  std::string_view id);
  static Result<std::unique_ptr<Attachment>> Open(ReadView& view, const CollectionDefinition& collection,
                                                  std::string_view id, std::string_view name);
  // The whole content. kLimit for more than `bytes_max`.
  static Result<ByteString> ReadAll(ReadView& view, const CollectionDefinition& collection, std::string_view id,
                                    std::string_view name, std::uint64_t bytes_max);
  static Status Remove(WriteView& view, const CollectionDefinition& collection, std::string_view id,
                       std::string_view name);
};

}  // namespace foreshore
