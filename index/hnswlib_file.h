// The files that hnswlib's saveIndex() writes, read without hnswlib and without trust: its own loader allocates what
// the header asks for, and follows links wherever they lead.
//
//   hnswlib index of float vectors, little-endian, sizes of 64 bits      code: index/hnswlib_file.cc
//   (as hnswlib 0.6 and 0.8 write it on 64-bit machines)
//     OFFSET SIZE FIELD
//          0    8 offset of an element's links = 0
//          8    8 max_elements: room, no part of what is here
//         16    8 element_count, at most max_elements and 2^31 - 16, and no more than the file can hold
//         24    8 element_bytes = label_offset + 8
//         32    8 label_offset = vector_offset + 4 * d, d = dimension, 2..4096
//         40    8 vector_offset = 4 + 4 * 2M
//         48    4 level of the entry point, 0..63; -1 where element_count is 0
//         52    4 entry point: an element; 0xFFFFFFFF where element_count is 0
//         56    8 M, links of an element on the levels above 0
//         64    8 2M, those on level 0
//         72    8 M, 2..10,000
//         80    8 a factor for drawing levels, double, finite and above 0; not used
//         88    8 ef_construction, at least 1; not used
//         96    n elements:
//            2    link_count, at most 2M
//            1    1 where the element is marked as deleted, else 0
//            1    0
//           8M    links on level 0: other elements, link_count of them, then anything
//           4d    vector, floats, finite
//            8    label, no two the same
//               then per element:
//            4    bytes that follow: level * (4 + 4M)
//               then per level 1..level:
//            2    link_count, at most M
//            2    0
//           4M    links: other elements that reach this level
//   Reader: every mismatch is kCorruption.
//
// The file says neither the metric nor whether its floats are floats: who reads it has to know.
//
// Lifetime: a HnswlibFile is a view of the bytes that it was read from. Threads: safe from any thread once read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/vector_index.h"

namespace foreshore {

class HnswlibFile {
 public:
  // Checks everything. `name` opens every message. kLimit where memory is short.
  static Result<HnswlibFile> Read(std::string name, Bytes bytes);

  const std::string& name() const { return name_; }
  std::uint32_t dimension() const { return dimension_; }
  std::uint32_t links_per_node() const { return links_per_node_; }  // M.
  std::uint32_t element_count() const { return element_count_; }    // Those marked as deleted included.
  std::uint32_t entry_point() const { return entry_point_; }        // kNoSlot where there is no element.

  // Of an element, by its number in the file.
  std::uint64_t label(std::uint32_t element) const;
  bool is_deleted(std::uint32_t element) const;
  int level(std::uint32_t element) const { return levels_[element]; }
  void CopyVector(std::uint32_t element, std::span<float> values) const;
  void CopyLinks(std::uint32_t element, int level, std::vector<std::uint32_t>& links) const;

 private:
  HnswlibFile(std::string name, Bytes bytes) : name_(std::move(name)), bytes_(bytes) {}
  Status Corrupt(const std::string& what) const;
  Status CheckEqual(const char* field, std::uint64_t found, std::uint64_t expected) const;
  Status CheckRange(const char* field, std::uint64_t found, std::uint64_t min, std::uint64_t max) const;
  Status ReadHeader();
  Status ReadLevels();
  Status CheckElements() const;
  Status CheckLinks(std::uint32_t element, int level) const;
  const char* Element(std::uint32_t element) const;
  const char* LinkList(std::uint32_t element, int level) const;
  std::size_t UpperListBytes() const { return 4 + std::size_t{4} * links_per_node_; }

  std::string name_;
  Bytes bytes_;
  std::uint32_t dimension_ = 0;
  std::uint32_t links_per_node_ = 0;
  std::uint32_t element_count_ = 0;
  std::uint32_t entry_point_ = 0;
  int level_max_ = 0;
  std::size_t vector_offset_ = 0;
  std::size_t label_offset_ = 0;
  std::size_t element_bytes_ = 0;
  std::vector<std::uint8_t> levels_;        // By element.
  std::vector<std::uint64_t> upper_lists_;  // By element: where its list of level 1 is in the file.
};

// An index with the file's graph: its levels and links, over codes made of its vectors. docids[element] is the document
// that has it, visible from `born` on; elements without one stay as garbage that paths lead through. Every vector is
// found as well as hnswlib found it, no better: an index that is built anew leaves none out of reach.
// kInvalidArgument where `config` has another dimension or links_per_node than the file.
Result<std::unique_ptr<VectorIndex>> RestoreHnswlibIndex(VectorIndexConfig config, const HnswlibFile& file,
                                                         std::span<const std::optional<std::int64_t>> docids,
                                                         std::uint64_t born);

}  // namespace foreshore
