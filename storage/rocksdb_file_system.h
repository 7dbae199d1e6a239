// The file system under RocksDB: the operating system's own, with three promises more, so that a power cut leaves
// nothing that RocksDB would take for damage, and no hole that it would not notice.
//
// - What is in a directory is certain before anything in it is renamed. RocksDB makes a new MANIFEST, renames
//   CURRENT to name it, and syncs the directory once for both; a file system without a journal (FAT on a card) may keep
//   the second and lose the first.
// - In a MANIFEST that has been synced once, every fragment is synced before the next is written. RocksDB writes
//   several records and syncs once (a flush and the removal of its log file; a record over a block's edge), so that a
//   power cut may keep the second and lose the first. With this a fragment that is wrong before a sound one is damage,
//   and a wrong one at the end was never completed: see rocksdb_manifest.h.
// - A log file is certain before the next one is begun. Without syncs by commit RocksDB goes on in a new log file when
//   a write buffer is full, and syncs the one before only when its background flush comes to run; a power cut in
//   between may keep commits of the second file and lose earlier ones at the end of the first, and replaying does not
//   notice (7.8.3 compares neither sizes nor sequence numbers over the edge of files whose last records are whole).
//
// Threads: as RocksDB's own file system.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>

namespace foreshore {

// Over `base`, the operating system's where nothing is given.
std::shared_ptr<rocksdb::FileSystem> MakeOrderedFileSystem(
    std::shared_ptr<rocksdb::FileSystem> base = rocksdb::FileSystem::Default());

}  // namespace foreshore
