// Attachments of documents.
#include "bindings/c/call.h"
#include "bindings/json/reports.h"

using foreshore::AttachmentInfo;
using foreshore::Result;
using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::CopyOut;
using foreshore::c::OrEmpty;
using foreshore::c::Required;

struct foreshore_attachment {
  std::unique_ptr<foreshore::Attachment> attachment;
};

int32_t foreshore_attachment_put(foreshore_database* database, const char* collection, const char* id, const char* name,
                                 const char* content_type, foreshore_read_callback read, void* context, char** json,
                                 foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", id, "id", name, "name"));
    if (read == nullptr) return Status::InvalidArgument("argument \"read\" is NULL, expected a value");
    const foreshore::AttachmentSource source = [&](char* buffer, std::size_t capacity) -> Result<std::size_t> {
      const int64_t count = read(context, buffer, capacity);
      if (count < 0) return Status::Cancelled(std::string("attachment \"") + name + "\": the callback gave up");
      return static_cast<std::size_t>(count);
    };
    FORESHORE_ASSIGN_OR_RETURN(const AttachmentInfo info,
                               database->database->PutAttachment(collection, id, name, source, OrEmpty(content_type)));
    return json == nullptr ? Status::Ok() : CopyOut(foreshore::AttachmentJson(info), json);
  });
}

int32_t foreshore_attachment_open(foreshore_database* database, const char* collection, const char* id,
                                  const char* name, foreshore_attachment** attachment, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(
        Required(database, "database", collection, "collection", id, "id", name, "name", attachment, "attachment"));
    auto handle = std::make_unique<foreshore_attachment>();
    FORESHORE_ASSIGN_OR_RETURN(handle->attachment, database->database->OpenAttachment(collection, id, name));
    *attachment = handle.release();
    return Status::Ok();
  });
}

uint64_t foreshore_attachment_size(const foreshore_attachment* attachment) {
  return attachment == nullptr ? 0 : attachment->attachment->info().size_bytes;
}

int32_t foreshore_attachment_read(foreshore_attachment* attachment, uint64_t offset, char* buffer, size_t capacity,
                                  size_t* read_bytes, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(attachment, "attachment", buffer, "buffer", read_bytes, "read_bytes"));
    FORESHORE_ASSIGN_OR_RETURN(*read_bytes, attachment->attachment->ReadAt(offset, buffer, capacity));
    return Status::Ok();
  });
}

void foreshore_attachment_free(foreshore_attachment* attachment) {
  delete attachment;
}

int32_t foreshore_list_attachments(foreshore_database* database, const char* collection, const char* id, char** json,
                                   foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", id, "id", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto infos, database->database->ListAttachments(collection, id));
    return CopyOut(foreshore::AttachmentsJson(infos), json);
  });
}

int32_t foreshore_attachment_remove(foreshore_database* database, const char* collection, const char* id,
                                    const char* name, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", id, "id", name, "name"));
    return database->database->RemoveAttachment(collection, id, name);
  });
}
