// The torn end of a RocksDB MANIFEST. RocksDB appends to it, syncs, and only then relies on what it wrote; a power cut
// in between may leave an end that holds anything. RocksDB forgives one that is too short, but takes one whose checksum
// is wrong for damage and refuses to open the store for ever. Nothing depends on that record yet, so it is cut off
// here.
//
// A record with a wrong checksum that has sound ones behind it was synced once (rocksdb_file_system.h sees to that):
// that is damage, and stays for RocksDB to report, since an older state would make it delete the tables it no longer
// knows.
//
// Threads: before the store is opened, under the database's lock.
#pragma once

#include <cstddef>
#include <string>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// The log format of LevelDB and RocksDB, https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format: blocks
// of 32 KiB hold fragments, each
//   OFFSET SIZE FIELD
//        0    4 masked crc32c of the type and the payload
//        4    2 payload bytes
//        6    1 type: 1 a whole record, 2 its first fragment, 3 one in the middle, 4 its last
// and a block's last bytes, too few for a header, are zeros.
inline constexpr std::size_t kManifestBlockBytes = 32768;
inline constexpr std::size_t kManifestHeaderBytes = 7;
inline constexpr std::size_t kManifestLengthOffset = 4;

// Where the torn end begins; the size of `content` where there is none.
std::size_t SoundManifestBytes(Bytes content);
// `path` is the store's directory. Does nothing where there is no MANIFEST or no torn end.
Status TrimManifest(const std::string& path);

}  // namespace foreshore
