#include "tests/storage/power_loss_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <vector>

#include "tests/storage/unsynced_file.h"

namespace foreshore {
namespace {

constexpr int kShmLockCount = SQLITE_SHM_NLOCK;

struct Inode {
  UnsyncedFile content;

  // Locks and shared memory of whoever has it open.
  int shared_count = 0;
  const void* reserved = nullptr;
  const void* pending = nullptr;
  std::vector<std::unique_ptr<char[]>> shm_regions;
  std::array<int, kShmLockCount> shm_shared{};
  std::array<const void*, kShmLockCount> shm_exclusive{};
};

}  // namespace

struct PowerLossDisk::State {
  std::string name;
  std::recursive_mutex mutex;  // Guards all that follows.
  std::mt19937_64 random;
  std::map<std::string, std::shared_ptr<Inode>> names;          // Shared: open handles keep a deleted file.
  std::map<std::string, std::shared_ptr<Inode>> durable_names;  // As of the last sync of the directory.
  std::uint64_t generation = 0;                                 // Grows when the power returns.
  std::uint64_t operation_count = 0;
  std::uint64_t cut_at = UINT64_MAX;
  bool is_off = false;
  bool keep_everything = false;
  std::array<bool, 2> ignore_sync{};
  std::array<bool, 2> fail_sync{};
  sqlite3_vfs vfs{};

  std::uint64_t Below(std::uint64_t bound) { return random() % bound; }
  void SyncDirectory() { durable_names = names; }
  void Cut();
  std::shared_ptr<Inode> Survivor(const Inode& inode);
  // True when the power is off or goes off with this operation, after `apply` was done or not.
  template <typename Apply>
  bool Operate(const Apply& apply) {
    if (is_off) return true;
    if (++operation_count < cut_at) {
      apply();
      return false;
    }
    if (Below(2) == 0) apply();
    Cut();
    return true;
  }
};

// Replaces the names by what is found when the power returns.
void PowerLossDisk::State::Cut() {
  is_off = true;
  cut_at = UINT64_MAX;
  std::map<std::string, std::shared_ptr<Inode>> found = durable_names;
  std::set<std::string> changed;
  for (const auto& [file, inode] : names) changed.insert(file);
  for (const auto& [file, inode] : durable_names) changed.insert(file);
  for (const std::string& file : changed) {
    const auto now = names.find(file);
    const auto before = durable_names.find(file);
    const bool same = now != names.end() && before != durable_names.end() && now->second == before->second;
    if (same || (!keep_everything && Below(2) == 0)) continue;
    if (now == names.end()) {
      found.erase(file);
    } else {
      found[file] = now->second;
    }
  }
  for (auto& [file, inode] : found) inode = Survivor(*inode);
  keep_everything = false;
  names = found;
  durable_names = found;
}

std::shared_ptr<Inode> PowerLossDisk::State::Survivor(const Inode& inode) {
  auto survivor = std::make_shared<Inode>();
  survivor->content.durable = inode.content.Survivor(random, keep_everything);
  survivor->content.live = survivor->content.durable;
  return survivor;
}

namespace {

using State = PowerLossDisk::State;

struct Handle {
  State* state;
  std::shared_ptr<Inode> inode;
  std::uint64_t generation;
  int flags;
  int lock = SQLITE_LOCK_NONE;
  bool syncs_directory = false;  // A new journal or log: its first sync syncs the directory too.
  std::uint16_t shm_shared = 0;  // Locks that this handle holds.
  std::uint16_t shm_exclusive = 0;

  bool dead() const { return state->is_off || generation != state->generation; }
};

struct PowerLossFile {
  sqlite3_file base;
  Handle* handle;
};

Handle& HandleOf(sqlite3_file* file) {
  return *reinterpret_cast<PowerLossFile*>(file)->handle;
}

State& StateOf(sqlite3_vfs* vfs) {
  return *static_cast<State*>(vfs->pAppData);
}

int Close(sqlite3_file* file) {
  Handle* handle = &HandleOf(file);
  {
    const std::lock_guard guard(handle->state->mutex);
    file->pMethods->xUnlock(file, SQLITE_LOCK_NONE);
    file->pMethods->xShmUnmap(file, 0);
  }
  delete handle;
  return SQLITE_OK;
}

int Read(sqlite3_file* file, void* target, int length, sqlite3_int64 offset) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  if (handle.dead()) return SQLITE_IOERR_READ;
  const std::string& live = handle.inode->content.live;
  const auto begin = static_cast<std::size_t>(offset);
  const std::size_t wanted = static_cast<std::size_t>(length);
  const std::size_t got = begin >= live.size() ? 0 : std::min(wanted, live.size() - begin);
  if (got > 0) std::memcpy(target, live.data() + begin, got);
  if (got == wanted) return SQLITE_OK;
  std::memset(static_cast<char*>(target) + got, 0, wanted - got);
  return SQLITE_IOERR_SHORT_READ;
}

int Write(sqlite3_file* file, const void* source, int length, sqlite3_int64 offset) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  if (handle.dead()) return SQLITE_IOERR_WRITE;
  const auto begin = static_cast<std::size_t>(offset);
  const std::string_view bytes(static_cast<const char*>(source), static_cast<std::size_t>(length));
  const bool off = handle.state->Operate([&] { handle.inode->content.Write(begin, bytes); });
  return off ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  if (handle.dead()) return SQLITE_IOERR_TRUNCATE;
  const bool off = handle.state->Operate([&] { handle.inode->content.Truncate(static_cast<std::size_t>(size)); });
  return off ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

int Sync(sqlite3_file* file, int) {
  Handle& handle = HandleOf(file);
  State& state = *handle.state;
  const std::lock_guard guard(state.mutex);
  if (handle.dead()) return SQLITE_IOERR_FSYNC;
  const std::size_t kind = (handle.flags & SQLITE_OPEN_WAL) != 0 ? 1 : 0;
  if (state.fail_sync[kind]) {
    state.fail_sync[kind] = false;
    return SQLITE_IOERR_FSYNC;
  }
  const bool off = state.Operate([&] {
    // A sync that the power cut interrupts has made nothing certain; Cut() then chooses sector by sector.
    if (state.ignore_sync[kind] || state.operation_count >= state.cut_at) return;
    handle.inode->content.Sync();
    if (handle.syncs_directory) state.SyncDirectory();
    handle.syncs_directory = false;
  });
  return off ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  if (handle.dead()) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(handle.inode->content.live.size());
  return SQLITE_OK;
}

int Unlock(sqlite3_file* file, int level) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  Inode& inode = *handle.inode;
  if (handle.lock <= level) return SQLITE_OK;
  if (inode.reserved == &handle) inode.reserved = nullptr;
  if (inode.pending == &handle) inode.pending = nullptr;
  if (level == SQLITE_LOCK_NONE) --inode.shared_count;
  handle.lock = level;
  return SQLITE_OK;
}

int Lock(sqlite3_file* file, int level) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  if (handle.dead()) return SQLITE_IOERR_LOCK;
  Inode& inode = *handle.inode;
  const auto free_for_us = [&](const void* holder) { return holder == nullptr || holder == &handle; };
  if (handle.lock >= level) return SQLITE_OK;
  if (handle.lock == SQLITE_LOCK_NONE) {
    if (!free_for_us(inode.pending)) return SQLITE_BUSY;
    ++inode.shared_count;
    handle.lock = SQLITE_LOCK_SHARED;
  }
  if (level >= SQLITE_LOCK_RESERVED) {
    if (!free_for_us(inode.reserved) || !free_for_us(inode.pending)) return SQLITE_BUSY;
    inode.reserved = &handle;
    handle.lock = SQLITE_LOCK_RESERVED;
  }
  if (level >= SQLITE_LOCK_PENDING) {
    inode.pending = &handle;
    handle.lock = SQLITE_LOCK_PENDING;
    if (level == SQLITE_LOCK_EXCLUSIVE && inode.shared_count > 1) return SQLITE_BUSY;
    handle.lock = level;
  }
  return SQLITE_OK;
}

int CheckReservedLock(sqlite3_file* file, int* result) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  *result = handle.inode->reserved != nullptr ? 1 : 0;
  return SQLITE_OK;
}

int FileControl(sqlite3_file*, int, void*) {
  return SQLITE_NOTFOUND;
}
int SectorSize(sqlite3_file*) {
  return 4096;  // As SQLite's Unix VFS says; the medium tears at 512 all the same.
}
int DeviceCharacteristics(sqlite3_file*) {
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

int ShmMap(sqlite3_file* file, int index, int size, int extend, void volatile** address) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  if (handle.dead()) return SQLITE_IOERR_SHMMAP;
  auto& regions = handle.inode->shm_regions;
  *address = nullptr;
  if (static_cast<std::size_t>(index) >= regions.size() && extend == 0) return SQLITE_OK;
  while (static_cast<std::size_t>(index) >= regions.size()) {
    regions.push_back(std::make_unique<char[]>(static_cast<std::size_t>(size)));
  }
  *address = regions[static_cast<std::size_t>(index)].get();
  return SQLITE_OK;
}

int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  Inode& inode = *handle.inode;
  const bool shared = (flags & SQLITE_SHM_SHARED) != 0;
  for (int lock = offset; lock < offset + count; ++lock) {
    const auto index = static_cast<std::size_t>(lock);
    const auto bit = static_cast<std::uint16_t>(1U << lock);
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
      if ((handle.shm_shared & bit) != 0) --inode.shm_shared[index];
      if (inode.shm_exclusive[index] == &handle) inode.shm_exclusive[index] = nullptr;
      handle.shm_shared = static_cast<std::uint16_t>(handle.shm_shared & ~bit);
      handle.shm_exclusive = static_cast<std::uint16_t>(handle.shm_exclusive & ~bit);
      continue;
    }
    if (handle.dead()) return SQLITE_IOERR_SHMLOCK;
    const bool taken = inode.shm_exclusive[index] != nullptr && inode.shm_exclusive[index] != &handle;
    const int others = inode.shm_shared[index] - ((handle.shm_shared & bit) != 0 ? 1 : 0);
    if (taken || (!shared && others > 0)) return SQLITE_BUSY;  // Checked for all of them before any is taken.
  }
  if ((flags & SQLITE_SHM_UNLOCK) != 0) return SQLITE_OK;
  for (int lock = offset; lock < offset + count; ++lock) {
    const auto index = static_cast<std::size_t>(lock);
    const auto bit = static_cast<std::uint16_t>(1U << lock);
    if (!shared) {
      inode.shm_exclusive[index] = &handle;
      handle.shm_exclusive = static_cast<std::uint16_t>(handle.shm_exclusive | bit);
    } else if ((handle.shm_shared & bit) == 0) {
      ++inode.shm_shared[index];
      handle.shm_shared = static_cast<std::uint16_t>(handle.shm_shared | bit);
    }
  }
  return SQLITE_OK;
}

void ShmBarrier(sqlite3_file* file) {
  // The mutex orders memory for the thread sanitizer as well.
  const std::lock_guard guard(HandleOf(file).state->mutex);
}

int ShmUnmap(sqlite3_file* file, int delete_flag) {
  Handle& handle = HandleOf(file);
  const std::lock_guard guard(handle.state->mutex);
  ShmLock(file, 0, kShmLockCount, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
  if (delete_flag != 0) handle.inode->shm_regions.clear();
  return SQLITE_OK;
}

const sqlite3_io_methods kMethods = {2,
                                     Close,
                                     Read,
                                     Write,
                                     Truncate,
                                     Sync,
                                     FileSize,
                                     Lock,
                                     Unlock,
                                     CheckReservedLock,
                                     FileControl,
                                     SectorSize,
                                     DeviceCharacteristics,
                                     ShmMap,
                                     ShmLock,
                                     ShmBarrier,
                                     ShmUnmap,
                                     nullptr,
                                     nullptr};

int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  State& state = StateOf(vfs);
  const std::lock_guard guard(state.mutex);
  auto* target = reinterpret_cast<PowerLossFile*>(file);
  target->base.pMethods = nullptr;
  if (state.is_off) return SQLITE_CANTOPEN;
  auto handle = std::make_unique<Handle>();
  handle->state = &state;
  handle->generation = state.generation;
  handle->flags = flags;
  const auto found = name == nullptr ? state.names.end() : state.names.find(name);
  if (found != state.names.end()) {
    handle->inode = found->second;
  } else if (name != nullptr && (flags & SQLITE_OPEN_CREATE) == 0) {
    return SQLITE_CANTOPEN;
  } else {
    handle->inode = std::make_shared<Inode>();
    if (name != nullptr) state.names[name] = handle->inode;
    handle->syncs_directory = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
  }
  if (out_flags != nullptr) *out_flags = flags;
  target->handle = handle.release();
  target->base.pMethods = &kMethods;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs* vfs, const char* name, int sync_directory) {
  State& state = StateOf(vfs);
  const std::lock_guard guard(state.mutex);
  if (state.is_off) return SQLITE_IOERR_DELETE;
  if (!state.names.contains(name)) return SQLITE_IOERR_DELETE_NOENT;
  const bool off = state.Operate([&] {
    state.names.erase(name);
    if (sync_directory != 0 && state.operation_count < state.cut_at) state.SyncDirectory();
  });
  return off ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

int Access(sqlite3_vfs* vfs, const char* name, int, int* result) {
  State& state = StateOf(vfs);
  const std::lock_guard guard(state.mutex);
  if (state.is_off) return SQLITE_IOERR_ACCESS;
  *result = state.names.contains(name) ? 1 : 0;
  return SQLITE_OK;
}

int FullPathname(sqlite3_vfs*, const char* name, int size, char* target) {
  sqlite3_snprintf(size, target, "%s", name);
  return SQLITE_OK;
}

int Randomness(sqlite3_vfs* vfs, int size, char* target) {
  State& state = StateOf(vfs);
  const std::lock_guard guard(state.mutex);
  for (int index = 0; index < size; ++index) target[index] = static_cast<char>(state.random());
  return size;
}

int Sleep(sqlite3_vfs*, int microseconds) {
  return microseconds;
}
int CurrentTime(sqlite3_vfs*, double* julian_day) {
  *julian_day = 2461000.5;
  return SQLITE_OK;
}
int GetLastError(sqlite3_vfs*, int, char*) {
  return 0;
}

}  // namespace

PowerLossDisk::PowerLossDisk(const std::string& name, std::uint64_t seed) : state_(std::make_unique<State>()) {
  state_->name = name;
  state_->random.seed(seed);
  sqlite3_vfs& vfs = state_->vfs;
  vfs.iVersion = 1;
  vfs.szOsFile = sizeof(PowerLossFile);
  vfs.mxPathname = 256;
  vfs.zName = state_->name.c_str();
  vfs.pAppData = state_.get();
  vfs.xOpen = Open;
  vfs.xDelete = Delete;
  vfs.xAccess = Access;
  vfs.xFullPathname = FullPathname;
  vfs.xRandomness = Randomness;
  vfs.xSleep = Sleep;
  vfs.xCurrentTime = CurrentTime;
  vfs.xGetLastError = GetLastError;
  sqlite3_vfs_register(&vfs, 0);
}

PowerLossDisk::~PowerLossDisk() {
  sqlite3_vfs_unregister(&state_->vfs);
}

const std::string& PowerLossDisk::vfs_name() const {
  return state_->name;
}

void PowerLossDisk::CutAfter(std::uint64_t operation_count) {
  const std::lock_guard guard(state_->mutex);
  state_->cut_at = state_->operation_count + operation_count;
}

void PowerLossDisk::CutNow() {
  const std::lock_guard guard(state_->mutex);
  if (!state_->is_off) state_->Cut();
}

bool PowerLossDisk::is_off() const {
  const std::lock_guard guard(state_->mutex);
  return state_->is_off;
}

std::uint64_t PowerLossDisk::operation_count() const {
  const std::lock_guard guard(state_->mutex);
  return state_->operation_count;
}

void PowerLossDisk::PowerOn() {
  const std::lock_guard guard(state_->mutex);
  state_->is_off = false;
  ++state_->generation;
}

void PowerLossDisk::IgnoreSyncs(FileKind kind) {
  const std::lock_guard guard(state_->mutex);
  state_->ignore_sync[kind == FileKind::kWriteAheadLog ? 1 : 0] = true;
}

void PowerLossDisk::FailNextSync(FileKind kind) {
  const std::lock_guard guard(state_->mutex);
  state_->fail_sync[kind == FileKind::kWriteAheadLog ? 1 : 0] = true;
}

void PowerLossDisk::KeepEverythingAtNextCut() {
  const std::lock_guard guard(state_->mutex);
  state_->keep_everything = true;
}

}  // namespace foreshore
