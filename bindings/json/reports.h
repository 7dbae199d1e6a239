// The public structs as JSON, the same from the command line and the C interface. Member names are stable; new ones may
// be added.
#pragma once

#include <span>
#include <string>

#include "foreshore/database.h"
#include "foreshore/sync.h"

namespace foreshore {

std::string ModelJson(const ModelInfo& model);
std::string ModelQuantizeJson(const ModelQuantizeReport& report);
std::string ModelsJson(std::span<const ModelInfo> models);
std::string IndexJson(const IndexInfo& index);
std::string TuningJson(const VectorTuningResult& tuning);
std::string HnswlibImportJson(const HnswlibImportResult& result);
std::string IndexesJson(std::span<const IndexInfo> indexes, std::span<const TextIndexInfo> text_indexes = {});
std::string AttachmentJson(const AttachmentInfo& attachment);
std::string AttachmentsJson(std::span<const AttachmentInfo> attachments);
std::string StatsJson(const DatabaseStats& stats);
std::string VerifyJson(const VerifyReport& report);
std::string RescuedJson(std::span<const RescuedValue> values);
// A line for each row: {"sequence", "change": "inserted" | "updated" | "removed", "old": {…}, "new": {…}}; for a
// statement that can no longer be run one line with "error".
std::string ChangesJsonLines(const ResultChanges& changes);
std::string SyncReportJson(const SyncReport& report);

}  // namespace foreshore
