// The torn end of a RocksDB MANIFEST. RocksDB appends to it, syncs, and only then relies on what it wrote; a power cut
// in between may leave an end that holds anything. RocksDB forgives one that is too short, but takes one whose checksum
// is wrong for damage and refuses to open the store for ever. Nothing depends on that record yet, so it is cut off
// here.
//
// A record with a wrong checksum that has sound ones behind it was synced once: that is damage, and stays for RocksDB
// to report, since an older state would make it delete the tables it no longer knows.
//
// Threads: before the store is opened, under the database's lock.
#pragma once

#include <string>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// Where the torn end begins; the size of `content` where there is none.
std::size_t SoundManifestBytes(Bytes content);
// `path` is the store's directory. Does nothing where there is no MANIFEST or no torn end.
Status TrimManifest(const std::string& path);

}  // namespace foreshore
