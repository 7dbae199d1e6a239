// Blobs and who refers to them: following a document's references, collecting, checking.
#include <algorithm>
#include <iterator>

#include "engine/database/attachments.h"
#include "engine/database/blob_index.h"
#include "engine/database/blob_references.h"
#include "engine/database/core.h"
#include "engine/model/model_registry.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::string_view kIndexedSetting = "blob_references";

std::string NameOf(const BlobId& blob) {
  return "blob " + ToHex(AsBytes(blob));
}

}  // namespace

Status DatabaseCore::OpenBlobIndex() {
  FORESHORE_ASSIGN_OR_RETURN(blob_index_, BlobIndex::Open(*store_));
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginWrite());
  FORESHORE_ASSIGN_OR_RETURN(const auto indexed, txn->Get(settings_, Bytes(kIndexedSetting)));
  if (indexed) return Status::Ok();
  // A database from before there was this index: its references are found once.
  std::vector<BlobReference> references;
  for (const CollectionDefinition& collection : catalog_->collections) {
    if (collection.is_readings()) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn->NewCursor(collection.documents));
    for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid()) break;
      FORESHORE_ASSIGN_OR_RETURN(const RecordView record, ViewRecord(cursor->value()));
      for (const BlobId& blob : DistinctBlobReferences(record.body)) {
        references.push_back({blob, collection.id, cursor->integer_key(),
                              blobs_->Contains(blob) ? ChangeOrigin::kLocal : ChangeOrigin::kSync});
      }
    }
  }
  for (const BlobReference& reference : references) FORESHORE_RETURN_IF_ERROR(blob_index_->Add(*txn, reference));
  FORESHORE_RETURN_IF_ERROR(txn->Put(settings_, Bytes(kIndexedSetting), "1"));
  return txn->Commit();
}

Status WriteView::RefuseAbsentBlobs(std::string_view old_body, std::string_view body) {
  if (body.find('$') == std::string_view::npos) return Status::Ok();
  std::vector<BlobId> known;
  bool known_is_read = false;
  for (const BlobId& blob : FindBlobReferences(body)) {
    if (core_.blobs().Contains(blob)) continue;
    // A reference that came by sync may be wanted still, and then is no news of this write.
    if (!std::exchange(known_is_read, true)) known = DistinctBlobReferences(old_body);
    if (std::binary_search(known.begin(), known.end(), blob)) continue;
    return Status::NotFound(NameOf(blob) + " is not here: put its content before a document refers to it");
  }
  return Status::Ok();
}

Status WriteView::FollowBlobs(const CollectionDefinition& collection, std::int64_t docid, std::string_view old_body,
                              std::string_view body, ChangeOrigin origin) {
  if (old_body.find('$') == std::string_view::npos && body.find('$') == std::string_view::npos) return Status::Ok();
  const std::vector<BlobId> before = DistinctBlobReferences(old_body);
  const std::vector<BlobId> after = DistinctBlobReferences(body);
  std::vector<BlobId> changed;
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(changed));
  for (const BlobId& blob : changed) {
    FORESHORE_RETURN_IF_ERROR(core_.blob_index().Add(*write_txn_, {blob, collection.id, docid, origin}));
  }
  changed.clear();
  std::set_difference(before.begin(), before.end(), after.begin(), after.end(), std::back_inserter(changed));
  for (const BlobId& blob : changed) {
    FORESHORE_RETURN_IF_ERROR(core_.blob_index().Remove(*write_txn_, {blob, collection.id, docid, origin}, sequence_));
  }
  return Status::Ok();
}

// What the models' manifests list, which no document names.
Status DatabaseCore::VisitModelBlobs(
    ReadView& view, const std::function<void(std::string_view body, const std::vector<BlobId>&)>& visit) {
  const CollectionDefinition* collection = view.catalog().Find(kModelsCollection);
  if (collection == nullptr) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view.Scan(*collection));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
    if (!more) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const auto of_model, models_->BlobsOf(cursor->body()));
    visit(cursor->body(), of_model);
  }
}

// Under the write lock no transaction can come to refer to a blob that is being looked at; who has written one, or
// found it there, for a transaction to come has a hold.
Status DatabaseCore::CollectBlobs(BlobSweep sweep) {
  std::map<BlobId, std::int64_t> settled;  // Dead in a state that a power cut cannot take back.
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginRead());
    FORESHORE_RETURN_IF_ERROR(blob_index_->VisitDead(*txn, [&](const BlobId& blob, std::int64_t sequence) {
      settled.emplace(blob, sequence);
      return Status::Ok();
    }));
  }
  if (settled.empty() && sweep == BlobSweep::kDead) return Status::Ok();
  // The commit that dropped the last reference may not be on the disk yet; the file's removal could get there first.
  if (!settled.empty() && options_.durability == Durability::kNormal) FORESHORE_RETURN_IF_ERROR(store_->Checkpoint());
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
  std::set<BlobId> of_models;
  FORESHORE_RETURN_IF_ERROR(VisitModelBlobs(*view, [&](std::string_view, const std::vector<BlobId>& listed) {
    of_models.insert(listed.begin(), listed.end());
  }));
  // Weights that vectors were made by stay until others have taken their place, whatever the models' rows say by now.
  std::set<BlobId> pinned;
  for (const ModelPin& pin : PinsInUse()) {
    FORESHORE_ASSIGN_OR_RETURN(const auto of_pin, models_->BlobsOfPin(pin));
    pinned.insert(of_pin.begin(), of_pin.end());
  }
  const std::int64_t oldest = OldestSnapshot();
  std::vector<BlobId> unreferenced;
  FORESHORE_RETURN_IF_ERROR(blob_index_->VisitDead(view->txn(), [&](const BlobId& blob, std::int64_t sequence) {
    const auto known = settled.find(blob);  // With another sequence it was referred to and dropped again since.
    if (sequence < oldest && known != settled.end() && known->second == sequence) unreferenced.push_back(blob);
    return Status::Ok();
  }));
  const std::size_t dead_count = unreferenced.size();
  if (sweep == BlobSweep::kAll) {
    // Files that no transaction came to refer to, left by a crash or an error in between.
    FORESHORE_ASSIGN_OR_RETURN(auto present, blobs_->List());
    FORESHORE_ASSIGN_OR_RETURN(const auto partial, blobs_->ListPartial());
    present.insert(present.end(), partial.begin(), partial.end());
    for (const BlobId& blob : present) {
      FORESHORE_ASSIGN_OR_RETURN(const bool is_referenced, blob_index_->IsReferenced(view->txn(), blob));
      FORESHORE_ASSIGN_OR_RETURN(const bool is_dead, blob_index_->IsDead(view->txn(), blob));
      if (!is_referenced && !is_dead) unreferenced.push_back(blob);
    }
  }
  for (std::size_t i = 0; i < unreferenced.size(); ++i) {
    const BlobId& blob = unreferenced[i];
    if (pinned.contains(blob)) continue;  // Later.
    if (!of_models.contains(blob)) {
      FORESHORE_ASSIGN_OR_RETURN(const bool collected, blobs_->Collect(blob));
      if (!collected) break;  // Somebody holds: another time.
    }
    if (i >= dead_count) continue;
    view->wrote_ = true;
    FORESHORE_RETURN_IF_ERROR(blob_index_->ForgetDead(*view->write_txn_, blob));
  }
  return view->Commit();
}

Status DatabaseCore::VerifyBlobs(ReadView& view, VerifyReport& report,
                                 const std::function<void(std::string)>& problem) {
  std::map<BlobId, std::uint64_t> expected;  // By blob: how many documents refer to it.
  for (const CollectionDefinition& collection : view.catalog().collections) {
    if (collection.is_readings()) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view.Scan(collection));
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
      if (!more) break;
      if (cursor->body().find('$') == std::string_view::npos) continue;
      for (const BlobId& blob : DistinctBlobReferences(cursor->body())) ++expected[blob];
      for (const AttachmentInfo& info : AttachmentsOf(cursor->body())) {
        const auto bytes = FromHex(info.sha256);
        BlobId blob{};
        std::copy(bytes->begin(), bytes->end(), blob.begin());
        const auto size_bytes = blobs_->SizeBytes(blob);
        if (size_bytes.ok() && *size_bytes != info.size_bytes) {
          problem("attachment \"" + info.name + "\" of document \"" + std::string(cursor->id()) +
                  "\": " + NameOf(blob) + " has " + std::to_string(*size_bytes) + " bytes, expected " +
                  std::to_string(info.size_bytes));
        }
      }
    }
  }
  struct Counted {
    std::uint64_t count = 0;
    bool must_be_here = false;
  };
  std::map<BlobId, Counted> counted;
  FORESHORE_RETURN_IF_ERROR(blob_index_->VisitReferences(view.txn(), [&](const BlobReference& reference) {
    Counted& one = counted[reference.blob];
    ++one.count;
    one.must_be_here |= reference.origin == ChangeOrigin::kLocal;
    return Status::Ok();
  }));
  for (const auto& [blob, count] : expected) counted.try_emplace(blob);
  for (const auto& [blob, one] : counted) {
    const auto found = expected.find(blob);
    const std::uint64_t count = found == expected.end() ? 0 : found->second;
    if (count != one.count) {
      problem(NameOf(blob) + ": " + std::to_string(one.count) + " references counted, " + std::to_string(count) +
              " documents refer to it");
    }
  }
  FORESHORE_RETURN_IF_ERROR(VisitModelBlobs(view, [&](std::string_view body, const std::vector<BlobId>& listed) {
    bool must_be_here = false;
    for (const BlobId& manifest : FindBlobReferences(body)) must_be_here |= counted[manifest].must_be_here;
    for (const BlobId& blob : listed) counted[blob].must_be_here |= must_be_here;
  }));
  for (const auto& [blob, one] : counted) {
    if (!blobs_->Contains(blob)) {
      if (one.must_be_here) {
        problem(NameOf(blob) + ": referred to, and not here");
      } else {
        ++report.wanted_blob_count;
      }
      continue;
    }
    ++report.blob_count;
    if (const Status status = blobs_->Verify(blob); !status.ok()) problem(status.message());
  }
  return Status::Ok();
}

}  // namespace foreshore
