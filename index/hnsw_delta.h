// What changed in an index since its snapshot was written: records at the end of one file beside it, so that a
// checkpoint writes about as much as there is to say.
//
//   Vector index delta, little-endian            file: the snapshot's path + "-delta"
//     OFFSET SIZE FIELD
//          0    8 magic "FSVDELTA"
//          8    4 version = 1
//         12    4 reserved = 0
//         16    8 generation of the snapshot that it belongs to
//         24    4 reserved = 0
//         28    4 crc32c of bytes 0..27
//   then records, each:
//          0    8 body_bytes
//          8    8 applied_seq
//         16    4 first_slot: node_count of the snapshot or of the record before
//         20    4 node_count after this record
//         24    4 entry_point, the same
//         28    4 death_count
//         32    8 row_count
//         40    4 crc32c of the body
//         44    4 crc32c of bytes 0..43
//     body: per new slot, in order:
//            8    docid
//            4    parent, a lower slot; 0xFFFFFFFF for slot 0
//            1    level
//            1    1 where it is dead already, else 0
//            n    code row, and with fine codes a fine code row (index/hnsw_layout.h)
//           then per death among the slots before, ascending: varint, the distance from the one before (from 0 at
//           first) then per row of links that is new or changed, by slot and level:
//          var    distance from the slot before (from 0 at first)
//            1    level
//            1    kept_count: so many of its first links are as they were
//            1    count of those that follow them
//          4 * c  links
//   Reader: a file of another generation or version is as none. It ends before the first record whose checksums do not
//   fit (what a cut left): what follows is made again from the change log. What fits and is still not possible is
//   kCorruption.
//
// Threads: free functions; the caller holds what they read still.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "foreshore/status.h"
#include "index/hnsw_snapshot.h"

namespace foreshore {

std::string HnswDeltaPath(const std::string& snapshot_path);

// Appends a durable record to the delta of `snapshot_path`. `deaths` are the slots below saved.node_count that died
// since, ascending. The graph knows_changes(). On an error nothing is known of the file's end.
Status AppendHnswDelta(const std::string& snapshot_path, const HnswContent& content,
                       std::span<const std::uint32_t> deaths, HnswSaved& saved);

// Brings a snapshot up to its delta and says how far the files go. `name` opens messages.
Result<HnswSaved> ReplayHnswDelta(const std::string& name, const std::string& snapshot_path, HnswSnapshot& snapshot);

}  // namespace foreshore
