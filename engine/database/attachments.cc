#include "engine/database/attachments.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"
#include "storage/base/coding.h"
#include "storage/blob_reader.h"
#include "storage/blob_writer.h"

namespace foreshore {
namespace {

constexpr std::size_t kStreamBytes = 256 << 10;
constexpr std::size_t kContentTypeBytesMax = 255;

std::string Described(const CollectionDefinition& collection, std::string_view id, std::string_view name) {
  return "attachment \"" + std::string(name) + "\" of document \"" + collection.name + "/" + std::string(id) + "\"";
}

Status CheckName(std::string_view name) {
  // The same rule as for ids: 1..255 bytes of UTF-8 without control characters.
  const Status status = ValidateDocumentId(name);
  if (status.ok()) return status;
  return Status::InvalidArgument("attachment name of " + std::to_string(name.size()) +
                                 " bytes: expected 1 to 255 bytes of UTF-8 without control characters");
}

// `[{"$blob":"…","size":123,"type":"…"}]`
bool ParseEntry(std::string_view token, AttachmentInfo& info) {
  if (!token.starts_with("[{") || !token.ends_with("}]")) return false;
  bool has_blob = false;
  JsonMembers members(token.substr(1, token.size() - 2));
  for (JsonMember member; members.Next(member);) {
    if (member.key == "\"$blob\"") {
      const auto text = UnescapeString(member.value);
      if (!text.ok() || text->size() != 64 || !FromHex(*text)) return false;
      info.sha256 = *text;
      has_blob = true;
    } else if (member.key == "\"size\"") {
      const char* end = member.value.data() + member.value.size();
      const auto parsed = std::from_chars(member.value.data(), end, info.size_bytes);
      if (parsed.ec != std::errc() || parsed.ptr != end) return false;
    } else if (member.key == "\"type\"") {
      const auto text = UnescapeString(member.value);
      if (text.ok()) info.content_type = *text;
    }
  }
  return has_blob;
}

BlobId BlobOf(const AttachmentInfo& info) {
  BlobId id{};
  const auto bytes = FromHex(info.sha256);
  if (bytes && bytes->size() == id.size()) std::copy(bytes->begin(), bytes->end(), id.begin());
  return id;
}

Result<std::string> RequireBody(ReadView& view, const CollectionDefinition& collection, std::string_view id) {
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view.Get(collection, id));
  if (record) return std::string(record->body);
  return Status::NotFound("collection \"" + collection.name + "\": document \"" + std::string(id) +
                          "\" does not exist");
}

// The document may have a field of that name which is none of ours.
Status CheckField(const CollectionDefinition& collection, std::string_view id, std::string_view body) {
  const std::string_view token = FindValue(body, kAttachmentsField);
  if (token.empty() || token == "null" || IsObjectToken(token)) return Status::Ok();
  return Status::Conflict("collection \"" + collection.name + "\": document \"" + std::string(id) +
                          "\" has a field \"_attachments\" that is no object, expected that of attachments");
}

class BlobAttachment final : public Attachment {
 public:
  BlobAttachment(AttachmentInfo info, std::string described, std::unique_ptr<BlobReader> reader)
      : info_(std::move(info)), described_(std::move(described)), reader_(std::move(reader)) {}
  const AttachmentInfo& info() const override { return info_; }

  Result<std::size_t> ReadAt(std::uint64_t offset, char* buffer, std::size_t capacity) override {
    std::size_t done = 0;
    while (done < capacity) {
      const auto piece = reader_->ReadAt(offset + done, capacity - done);
      if (!piece.ok()) return piece.status().WithContext(described_);
      if (piece->empty()) break;
      std::memcpy(buffer + done, piece->data(), piece->size());
      done += piece->size();
    }
    return done;
  }

 private:
  AttachmentInfo info_;
  std::string described_;
  std::unique_ptr<BlobReader> reader_;
};

}  // namespace

std::vector<AttachmentInfo> AttachmentsOf(std::string_view body) {
  std::vector<AttachmentInfo> infos;
  if (body.empty()) return infos;
  const std::string_view token = FindValue(body, kAttachmentsField);
  if (!IsObjectToken(token)) return infos;
  JsonMembers members(token);
  for (JsonMember member; members.Next(member);) {
    AttachmentInfo info;
    if (!ParseEntry(member.value, info)) continue;
    AppendUnescaped(info.name, member.key);
    infos.push_back(std::move(info));
  }
  return infos;
}

Result<StagedAttachment> AttachmentAccess::Stage(DatabaseCore& core, const AttachmentSource& source) {
  FORESHORE_ASSIGN_OR_RETURN(const auto writer, BlobWriter::Create(core.blobs()));
  ByteString buffer(kStreamBytes, '\0');
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, source(buffer.data(), buffer.size()));
    if (count == 0) break;
    if (count > buffer.size()) {
      return Status::InvalidArgument("attachment source: gave " + std::to_string(count) + " bytes, expected at most " +
                                     std::to_string(buffer.size()));
    }
    FORESHORE_RETURN_IF_ERROR(writer->Append(Bytes(buffer).substr(0, count)));
  }
  FORESHORE_ASSIGN_OR_RETURN(const BlobId blob, writer->Finish());
  StagedAttachment staged;
  staged.size_bytes_ = writer->size_bytes();
  staged.sha256_ = ToHex(AsBytes(blob));
  staged.hold_ = writer->hold();
  return staged;
}

Result<AttachmentInfo> AttachmentAccess::Put(WriteView& view, const CollectionDefinition& collection,
                                             std::string_view id, std::string_view name, std::string_view content_type,
                                             const StagedAttachment& content) {
  FORESHORE_RETURN_IF_ERROR(CheckName(name));
  if (content_type.size() > kContentTypeBytesMax) {
    return Status::Limit(Described(collection, id, name) + ": content type of " + std::to_string(content_type.size()) +
                         " bytes, expected at most 255");
  }
  if (content.hold_ == nullptr) {
    return Status::InvalidArgument(Described(collection, id, name) + ": expected content that was staged");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireBody(view, collection, id));
  FORESHORE_RETURN_IF_ERROR(CheckField(collection, id, body));
  std::string patch = "{\"_attachments\":{";
  AppendJsonString(patch, name);
  patch += ":[{\"$blob\":\"" + content.sha256_ + "\",\"size\":" + std::to_string(content.size_bytes_);
  if (!content_type.empty()) {
    patch += ",\"type\":";
    AppendJsonString(patch, content_type);
  }
  patch += "}]}}";
  view.KeepBlobs(content.hold_);
  FORESHORE_RETURN_IF_ERROR(view.Patch(collection, id, patch));
  return AttachmentInfo{std::string(name), std::string(content_type), content.size_bytes_, content.sha256_, true};
}

Result<std::vector<AttachmentInfo>> AttachmentAccess::List(ReadView& view, const CollectionDefinition& collection,
                                                           std::string_view id) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, RequireBody(view, collection, id));
  std::vector<AttachmentInfo> infos = AttachmentsOf(body);
  for (AttachmentInfo& info : infos) info.is_here = view.core().blobs().Contains(BlobOf(info));
  return infos;
}

Result<std::unique_ptr<Attachment>> AttachmentAccess::Open(ReadView& view, const CollectionDefinition& collection,
                                                           std::string_view id, std::string_view name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto infos, List(view, collection, id));
  const std::string described = Described(collection, id, name);
  const auto found =
      std::find_if(infos.begin(), infos.end(), [&](const AttachmentInfo& info) { return info.name == name; });
  if (found == infos.end()) return Status::NotFound(described + " does not exist");
  if (!found->is_here) {
    return Status::NotFound(described + ": its content (" + std::to_string(found->size_bytes) + " bytes, blob " +
                            found->sha256 + ") has not arrived yet, expected after a sync");
  }
  auto reader = BlobReader::Open(view.core().blobs(), BlobOf(*found));
  if (!reader.ok()) return reader.status().WithContext(described);
  if ((*reader)->size_bytes() != found->size_bytes) {
    return Status::Corruption(described + ": its content has " + std::to_string((*reader)->size_bytes()) +
                              " bytes, expected " + std::to_string(found->size_bytes));
  }
  return std::unique_ptr<Attachment>(std::make_unique<BlobAttachment>(*found, described, std::move(reader).value()));
}

Result<ByteString> AttachmentAccess::ReadAll(ReadView& view, const CollectionDefinition& collection,
                                             std::string_view id, std::string_view name, std::uint64_t bytes_max) {
  FORESHORE_ASSIGN_OR_RETURN(const auto attachment, Open(view, collection, id, name));
  const std::uint64_t size_bytes = attachment->info().size_bytes;
  if (size_bytes > bytes_max) {
    return Status::Limit(Described(collection, id, name) + ": has " + std::to_string(size_bytes) +
                         " bytes, expected at most " + std::to_string(bytes_max));
  }
  ByteString bytes(size_bytes, '\0');
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, attachment->ReadAt(0, bytes.data(), bytes.size()));
  bytes.resize(count);
  return bytes;
}

Status AttachmentAccess::Remove(WriteView& view, const CollectionDefinition& collection, std::string_view id,
                                std::string_view name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto infos, List(view, collection, id));
  const bool is_there =
      std::any_of(infos.begin(), infos.end(), [&](const AttachmentInfo& info) { return info.name == name; });
  if (!is_there) return Status::NotFound(Described(collection, id, name) + " does not exist");
  std::string patch = "{\"_attachments\":{";
  AppendJsonString(patch, name);
  return view.Patch(collection, id, patch + ":null}}");
}

}  // namespace foreshore
