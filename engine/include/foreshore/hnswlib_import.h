// Taking over an index that hnswlib saved: Database::ImportHnswlib().
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "foreshore/status.h"
#include "foreshore/vector_metric.h"

namespace foreshore {

struct HnswlibImportOptions {
  std::string file =
      {};  // Written by hnswlib's saveIndex(), or save_index() of its Python package, over float vectors.
  std::string field = {};  // Of the documents: the vector goes there.
  // How the index was built, which the file does not say: hnswlib's "l2", "ip" (kDot) or "cosine". Must be given where
  // the field has no index yet; else it is the index's.
  std::optional<VectorMetric> metric = {};
  // Of the index that is made where the field has none:
  VectorPrecision precision = VectorPrecision::kInt8;
  VectorGraphKind graph = VectorGraphKind::kFlat;
  bool keep_links = true;            // The file's graph; false: every vector is inserted anew.
  std::uint32_t links_per_node = 0;  // 0: as in the file.
  // Where there is no such collection, it is made once the file was accepted.
  bool create_collection = false;
  // The document's id for a label; empty: the label in decimal digits.
  std::function<Result<std::string>(std::uint64_t label)> id_of = {};
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};  // Documents, now and then.
};

struct HnswlibImportResult {
  std::uint64_t document_count = 0;
  std::uint64_t deleted_count = 0;  // Elements that were marked as deleted: they become no documents.
  std::uint32_t dimension = 0;
  std::uint32_t links_per_node = 0;  // Of the field's index.
  bool has_kept_links = false;       // False: the vectors were inserted one by one.
};

}  // namespace foreshore
