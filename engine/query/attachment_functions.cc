#include "engine/query/attachment_functions.h"

#include <algorithm>

#include "engine/database/attachments.h"
#include "engine/image/image_tensor.h"
#include "engine/query/sql_json.h"

namespace foreshore {

namespace {

SessionState& SessionOf(sqlite3_context* context) {
  return *static_cast<SessionState*>(sqlite3_user_data(context));
}

bool AnyNull(int count, sqlite3_value** arguments) {
  return std::any_of(arguments, arguments + count,
                     [](sqlite3_value* value) { return sqlite3_value_type(value) == SQLITE_NULL; });
}

// Empty-handed where the document or the attachment does not exist.
Result<std::optional<ByteString>> Content(SessionState& session, std::string_view collection_name, std::string_view id,
                                          std::string_view name) {
  const CollectionDefinition* collection = session.declared->Find(collection_name);
  if (collection == nullptr) {
    return Status::NotFound("attachment: collection \"" + std::string(collection_name) + "\" does not exist");
  }
  FORESHORE_ASSIGN_OR_RETURN(ReadView * view, session.View());
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view->Get(*collection, id));
  if (!record) return std::optional<ByteString>();
  const auto infos = AttachmentsOf(record->body);
  const auto found =
      std::find_if(infos.begin(), infos.end(), [&](const AttachmentInfo& info) { return info.name == name; });
  if (found == infos.end()) return std::optional<ByteString>();
  FORESHORE_ASSIGN_OR_RETURN(ByteString bytes,
                             AttachmentAccess::ReadAll(*view, *collection, id, name, kImageFileBytesMax));
  return std::optional(std::move(bytes));
}

Bytes BlobOf(sqlite3_value* value) {
  const auto* data = static_cast<const char*>(sqlite3_value_blob(value));
  return Bytes(data, data == nullptr ? 0 : static_cast<std::size_t>(sqlite3_value_bytes(value)));
}

Result<ByteString> TensorOf(Bytes file, std::string_view options_json) {
  ImageTensorOptions options;
  if (!options_json.empty()) {
    FORESHORE_ASSIGN_OR_RETURN(options, ParseImageTensorOptions(options_json));
  }
  return ImageTensorBlob(file, options);
}

}  // namespace

void AttachmentContent(sqlite3_context* context, int count, sqlite3_value** arguments) {
  if (AnyNull(count, arguments)) return;
  const auto content = Content(SessionOf(context), TextOf(arguments[0]), TextOf(arguments[1]), TextOf(arguments[2]));
  if (!content.ok()) return SessionOf(context).FailFunction(context, content.status());
  if (*content) sqlite3_result_blob64(context, (*content)->data(), (*content)->size(), SQLITE_TRANSIENT);
}

void ImageTensor(sqlite3_context* context, int count, sqlite3_value** arguments) {
  if (AnyNull(count, arguments)) return;
  const auto tensor = TensorOf(BlobOf(arguments[0]), count > 1 ? TextOf(arguments[1]) : std::string_view());
  if (!tensor.ok()) return SessionOf(context).FailFunction(context, tensor.status());
  sqlite3_result_blob64(context, tensor->data(), tensor->size(), SQLITE_TRANSIENT);
}

}  // namespace foreshore
