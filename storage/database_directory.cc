#include "storage/database_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

constexpr std::string_view kFormatWord = "foreshore ";
constexpr std::string_view kFormatVersion = "1";
constexpr std::uint64_t kSmallFileBytesMax = 4096;

constexpr Bytes kInstanceMagic("FSINST1\n", 8);
constexpr std::uint32_t kInstanceVersion = 1;
constexpr std::size_t kInstanceBytes = 40;
constexpr std::size_t kInstanceCrcOffset = 36;

// The directories that this process has open, by device and inode of LOCK. Where flock() is emulated by record
// locks (NFS), a process does not exclude itself, so the lock alone is not enough. One per process by its nature.
struct OpenDirectories {
  std::mutex mutex;
  std::set<std::pair<dev_t, ino_t>> locks;  // Guarded by mutex.
};
OpenDirectories& Registry() {
  static OpenDirectories registry;
  return registry;
}

std::pair<dev_t, ino_t> IdentityOf(int descriptor) {
  struct stat info {};
  ::fstat(descriptor, &info);
  return {info.st_dev, info.st_ino};
}

std::string Where(const std::string& path) {
  return "database \"" + path + "\"";
}

std::string ProgramName() {
  const Result<ByteString> name = ReadFile("/proc/self/comm", kSmallFileBytesMax);
  return name.ok() && !name->empty() ? name->substr(0, name->find('\n')) : "unknown program";
}

// "123 foreshore", as the holder wrote it.
Status HeldBy(const std::string& path, bool same_process) {
  std::string holder = "this process";
  if (!same_process) {
    const Result<ByteString> text = ReadFile(path + "/LOCK", kSmallFileBytesMax);
    const std::string line = text.ok() ? text->substr(0, text->find('\n')) : "";
    holder = line.empty() ? "another process" : "process " + line;
  }
  return Status::Busy(Where(path) + ": open already in " + holder + ", expected to be the only one");
}

// A descriptor that holds the lock until it is closed by Unlock.
Result<int> TakeLock(const std::string& path) {
  const std::string lock_path = path + "/LOCK";
  // Only for the other side's error message.
  const std::string holder = std::to_string(::getpid()) + " (" + ProgramName() + ")\n";
  struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
  } descriptor{::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
  if (descriptor.number < 0) return IoStatus("open", lock_path, errno);
  OpenDirectories& registry = Registry();
  const std::lock_guard guard(registry.mutex);
  if (registry.locks.contains(IdentityOf(descriptor.number))) return HeldBy(path, true);
  if (::flock(descriptor.number, LOCK_EX | LOCK_NB) != 0) {
    const int error_number = errno;
    return error_number == EWOULDBLOCK ? HeldBy(path, false) : IoStatus("lock", lock_path, error_number);
  }
  registry.locks.insert(IdentityOf(descriptor.number));
  // A failure to write it is none of ours.
  if (::ftruncate(descriptor.number, 0) == 0 && ::pwrite(descriptor.number, holder.data(), holder.size(), 0) < 0) {
    errno = 0;
  }
  return std::exchange(descriptor.number, -1);
}

void Unlock(int descriptor) {
  OpenDirectories& registry = Registry();
  const std::lock_guard guard(registry.mutex);
  registry.locks.erase(IdentityOf(descriptor));
  ::close(descriptor);
}

// "foreshore 1 sqlite\n"
Result<StorageKind> ParseFormat(const std::string& path, Bytes text) {
  const Status damaged =
      Status::Corruption(Where(path) + ": FORMAT is not \"foreshore <version> <storage>\" and a line end");
  if (text.substr(0, kFormatWord.size()) != kFormatWord || text.back() != '\n') return damaged;
  text.remove_prefix(kFormatWord.size());
  text.remove_suffix(1);
  const std::size_t space = text.find(' ');
  if (space == Bytes::npos) return damaged;
  const std::string version(text.substr(0, space));
  const std::string storage(text.substr(space + 1));
  if (version != kFormatVersion) {
    return Status::Unsupported(Where(path) + ": format version is " + version + ", expected " +
                               std::string(kFormatVersion));
  }
  if (storage == "sqlite") return StorageKind::kSqlite;
  if (storage == "rocksdb") return StorageKind::kRocksdb;
  return Status::Unsupported(Where(path) + ": storage is \"" + storage + "\", expected sqlite or rocksdb");
}

std::string_view NameOf(StorageKind kind) {
  return kind == StorageKind::kSqlite ? "sqlite" : "rocksdb";
}

Result<std::unique_ptr<Store>> OpenStoreAt(const std::string& path, StorageKind kind, const StoreOptions& options) {
  return kind == StorageKind::kSqlite ? OpenSqliteStore(path, options) : OpenRocksdbStore(path, options);
}

std::string StorePathIn(const std::string& path, StorageKind kind) {
  return path + (kind == StorageKind::kSqlite ? "/store.db" : "/store");
}

// What an interrupted creation may have left. Anything else belongs to somebody, and is not taken over.
Status CheckCreatable(const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(path));
  for (const std::string& name : names) {
    const bool ours = name == "LOCK" || name == "INSTANCE" || name == "blobs" || name == "index" || name == "store" ||
                      name.starts_with("store.db") || name.starts_with("INSTANCE.tmp-") ||
                      name.starts_with("FORMAT.tmp-");
    if (ours) continue;
    return Status::InvalidArgument(Where(path) + ": the directory has no FORMAT and holds \"" + name +
                                   "\", expected a database or an empty directory");
  }
  return Status::Ok();
}

// The store is made before FORMAT, so that a database whose store is missing later is damaged, never new.
Status MakeStore(const std::string& path, StorageKind kind) {
  StoreOptions options;
  options.create = true;
  FORESHORE_ASSIGN_OR_RETURN(const auto store, OpenStoreAt(StorePathIn(path, kind), kind, options));
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<KeyspaceInfo> keyspaces, store->ListKeyspaces());
  if (keyspaces.empty()) return Status::Ok();
  return Status::Corruption(Where(path) + ": the store has keyspaces and FORMAT is missing");
}

}  // namespace

Result<std::unique_ptr<DatabaseDirectory>> DatabaseDirectory::Open(const std::string& path, bool create,
                                                                   StorageKind kind_if_created, Random& random) {
  const std::string format_path = path + "/FORMAT";
  if (!create && !FileExists(format_path)) {
    return Status::NotFound(Where(path) + ": no FORMAT there, expected a database");
  }
  if (create) FORESHORE_RETURN_IF_ERROR(CreateDirectories(path));
  // Before the lock is taken: its destructor releases it, whatever fails.
  std::unique_ptr<DatabaseDirectory> directory(new DatabaseDirectory(path, kind_if_created));
  FORESHORE_ASSIGN_OR_RETURN(directory->lock_descriptor_, TakeLock(path));
  if (!FileExists(format_path)) {
    FORESHORE_RETURN_IF_ERROR(directory->Create(random));
    return directory;
  }
  FORESHORE_ASSIGN_OR_RETURN(const ByteString format, ReadFile(format_path, kSmallFileBytesMax));
  FORESHORE_ASSIGN_OR_RETURN(directory->storage_kind_, ParseFormat(path, format));
  if (create && directory->storage_kind_ != kind_if_created) {
    return Status::InvalidArgument(Where(path) + ": storage is " + std::string(NameOf(directory->storage_kind_)) +
                                   ", expected " + std::string(NameOf(kind_if_created)));
  }
  return directory;
}

Status DatabaseDirectory::Create(Random& random) {
  FORESHORE_RETURN_IF_ERROR(CheckCreatable(path_));
  for (const std::string& folder : {BlobsPath(), IndexPath()}) FORESHORE_RETURN_IF_ERROR(CreateDirectories(folder));
  FORESHORE_RETURN_IF_ERROR(MakeStore(path_, storage_kind_));
  InstanceRecord record;
  const ByteString identity = random.Generate(record.replica.size());
  std::memcpy(record.replica.data(), identity.data(), record.replica.size());
  FORESHORE_RETURN_IF_ERROR(WriteInstance(record));
  const std::string format =
      std::string(kFormatWord) + std::string(kFormatVersion) + " " + std::string(NameOf(storage_kind_)) + "\n";
  FORESHORE_RETURN_IF_ERROR(WriteFileAtomic(path_ + "/FORMAT", format));
  created_ = true;
  return Status::Ok();
}

DatabaseDirectory::~DatabaseDirectory() {
  if (lock_descriptor_ >= 0) Unlock(lock_descriptor_);
}

std::string DatabaseDirectory::StorePath() const {
  return StorePathIn(path_, storage_kind_);
}

Result<std::optional<InstanceRecord>> DatabaseDirectory::ReadInstance() const {
  const std::string instance_path = path_ + "/INSTANCE";
  if (!FileExists(instance_path)) return std::optional<InstanceRecord>();
  FORESHORE_ASSIGN_OR_RETURN(const ByteString content, ReadFile(instance_path, kSmallFileBytesMax));
  const auto damaged = [&](const std::string& found) {
    return Status::Corruption("file \"" + instance_path + "\": " + found);
  };
  if (content.size() < kInstanceMagic.size() + 4 || Bytes(content).substr(0, 8) != kInstanceMagic) {
    return damaged("has no FSINST1 at its start");
  }
  const auto version = LoadFixed<std::uint32_t>(content.data() + 8);
  if (version != kInstanceVersion) {
    return Status::Unsupported("file \"" + instance_path + "\": version is " + std::to_string(version) +
                               ", expected 1");
  }
  if (content.size() != kInstanceBytes) {
    return damaged("has " + std::to_string(content.size()) + " bytes, expected " + std::to_string(kInstanceBytes));
  }
  if (LoadFixed<std::uint32_t>(content.data() + kInstanceCrcOffset) !=
      Crc32c(Bytes(content).substr(0, kInstanceCrcOffset))) {
    return damaged("checksum does not match");
  }
  InstanceRecord record;
  std::memcpy(record.replica.data(), content.data() + 12, record.replica.size());
  record.epoch = LoadFixed<std::uint64_t>(content.data() + 28);
  return std::optional<InstanceRecord>(record);
}

Status DatabaseDirectory::WriteInstance(const InstanceRecord& record) const {
  ByteString content(kInstanceMagic);
  AppendFixed(content, kInstanceVersion);
  content.append(reinterpret_cast<const char*>(record.replica.data()), record.replica.size());
  AppendFixed(content, record.epoch);
  AppendFixed(content, Crc32c(content));
  return WriteFileAtomic(path_ + "/INSTANCE", content);
}

Result<std::unique_ptr<Store>> DatabaseDirectory::OpenStore(const StoreOptions& options) const {
  StoreOptions existing = options;
  existing.create = false;
  Result<std::unique_ptr<Store>> store = OpenStoreAt(StorePath(), storage_kind_, existing);
  if (store.ok() || store.status().code() != ErrorCode::kNotFound) return store;
  return Status::Corruption(Where(path_) + ": FORMAT says " + std::string(NameOf(storage_kind_)) + ", and " +
                            store.status().message());
}

}  // namespace foreshore
