// Attachments of the public facade.
#include "engine/database/attachments.h"

#include <algorithm>
#include <cstring>

#include "engine/api/transaction_state.h"
#include "foreshore/database.h"

namespace foreshore {

Result<StagedAttachment> Database::StageAttachment(const AttachmentSource& source) {
  return AttachmentAccess::Stage(*core_, source);
}

Result<AttachmentInfo> Database::PutAttachment(const std::string& collection, const std::string& id,
                                               const std::string& name, const AttachmentSource& source,
                                               const std::string& content_type) {
  {
    // Before gigabytes are read for nothing.
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
    FORESHORE_RETURN_IF_ERROR(AttachmentAccess::List(*view, *definition, id).status());
  }
  FORESHORE_ASSIGN_OR_RETURN(const StagedAttachment staged, StageAttachment(source));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginWrite());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
  FORESHORE_ASSIGN_OR_RETURN(AttachmentInfo info,
                             AttachmentAccess::Put(*view, *definition, id, name, content_type, staged));
  FORESHORE_RETURN_IF_ERROR(view->Commit());
  return info;
}

Result<AttachmentInfo> Database::PutAttachment(const std::string& collection, const std::string& id,
                                               const std::string& name, std::string_view content,
                                               const std::string& content_type) {
  const AttachmentSource source = [&](char* buffer, std::size_t capacity) -> Result<std::size_t> {
    const std::size_t count = std::min(capacity, content.size());
    std::memcpy(buffer, content.data(), count);
    content.remove_prefix(count);
    return count;
  };
  return PutAttachment(collection, id, name, source, content_type);
}

Result<std::unique_ptr<Attachment>> Database::OpenAttachment(const std::string& collection, const std::string& id,
                                                             const std::string& name) {
  // Collecting waits for this snapshot; once it is open, the content stays.
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
  return AttachmentAccess::Open(*view, *definition, id, name);
}

Result<std::vector<AttachmentInfo>> Database::ListAttachments(const std::string& collection, const std::string& id) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
  return AttachmentAccess::List(*view, *definition, id);
}

Status Database::RemoveAttachment(const std::string& collection, const std::string& id, const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginWrite());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
  FORESHORE_RETURN_IF_ERROR(AttachmentAccess::Remove(*view, *definition, id, name));
  return view->Commit();
}

Result<AttachmentInfo> Transaction::PutAttachment(const std::string& collection, const std::string& id,
                                                  const std::string& name, const StagedAttachment& content,
                                                  const std::string& content_type) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, state_->view->catalog().Require(collection));
  return AttachmentAccess::Put(*state_->view, *definition, id, name, content_type, content);
}

Result<std::unique_ptr<Attachment>> Transaction::OpenAttachment(const std::string& collection, const std::string& id,
                                                                const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, state_->view->catalog().Require(collection));
  return AttachmentAccess::Open(*state_->view, *definition, id, name);
}

Result<std::vector<AttachmentInfo>> Transaction::ListAttachments(const std::string& collection, const std::string& id) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, state_->view->catalog().Require(collection));
  return AttachmentAccess::List(*state_->view, *definition, id);
}

Status Transaction::RemoveAttachment(const std::string& collection, const std::string& id, const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, state_->view->catalog().Require(collection));
  return AttachmentAccess::Remove(*state_->view, *definition, id, name);
}

}  // namespace foreshore
