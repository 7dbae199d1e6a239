// What a graph holds of constants beside its file: aligned copies of initializers, what was computed of constants,
// weights packed for kernels. Building a graph asks for one block after the other and fills it; what it only needed to
// make others is given up at its end. A packed graph is a file of these blocks, in that order: building the same graph
// on it again finds them made, and copies none.
//
// Packed graph, little-endian                      code: engine/inference/graph/constant_store.cc
//   OFFSET SIZE FIELD
//        0    8 magic "FSGRAPHP"
//        8    4 version = 3: of what blocks hold and of their order, so that a change of either is another version
//       12    4 CpuLevel of the kernels
//       16   32 key: what the graph was built of, SHA-256
//       48    8 memory limit that it was built under, in bytes
//       56    8 file size in bytes
//       64    4 block count, at most 1,048,576
//       68    4 crc32c of bytes 128..end
//       72   52 zero
//      124    4 crc32c of bytes 0..123
//      128      table: label u64, offset u64, size u64 of each block; then blocks at multiples of 64, zeros between; a
//               block that was given up has offset 0 and is not there
// Versions 1 and 2 had every block. Reader: another version, level, key or limit is kUnsupported; any other mismatch is
// kCorruption.
//
// Lifetime: one that was opened borrows the file's bytes; blocks live as long as the store. Threads: one, while a graph
// is built; immutable from then on.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "storage/base/cpu.h"

namespace foreshore::graph {

inline constexpr std::uint32_t kPackedGraphVersion = 3;

// What has to be the same for blocks to be the same.
struct PackedGraphKey {
  std::array<std::uint8_t, 32> source{};  // SHA-256 of the graph's file.
  CpuLevel level = CpuLevel::kScalar;
  std::uint64_t memory_bytes_max = 0;

  bool operator==(const PackedGraphKey&) const = default;
};

class ConstantStore {
 public:
  // Blocks in memory.
  ConstantStore() = default;
  // Those of a packed graph, which starts at a multiple of 64 as a mapped file does. Reads every byte once.
  static Result<std::shared_ptr<ConstantStore>> Open(Bytes packed, const PackedGraphKey& key);

  struct Block {
    const std::byte* data = nullptr;
    std::byte* room = nullptr;  // Where the caller makes it, zeroed; null where it is made.
                                // Both are null for one that was given up, which nobody reads.

    const float* floats() const { return reinterpret_cast<const float*>(data); }
    float* float_room() const { return reinterpret_cast<float*>(room); }
  };
  // The next block, aligned to 64. `what` tells kinds of blocks apart. kCorruption where the packed graph has another
  // block here; kLimit where there is no memory.
  Result<Block> Take(std::string_view what, std::uint64_t size_bytes);

  // Gives up blocks, named by where they begin, that nothing reads any more: leaves the names of those that are gone,
  // and returns their bytes. Small ones are kept, and a packed graph's are.
  std::uint64_t GiveUp(std::unordered_set<const std::byte*>& blocks);

  bool is_packed() const { return is_packed_; }
  bool is_used_up() const { return next_ == entries_.size(); }
  // Of all blocks that were taken.
  std::uint64_t taken_bytes() const { return taken_bytes_; }

  // The packed graph of all blocks that were taken.
  ByteString Pack(const PackedGraphKey& key) const;

 private:
  struct Entry {
    std::uint64_t label = 0;
    const std::byte* data = nullptr;  // Null for one that was given up.
    std::uint64_t size_bytes = 0;
  };

  bool is_packed_ = false;
  std::vector<Entry> entries_;       // Taken, or there to take.
  std::vector<AlignedBytes> owned_;  // By entry, of those in memory.
  std::size_t next_ = 0;             // How many were taken.
  std::uint64_t taken_bytes_ = 0;
};

}  // namespace foreshore::graph
