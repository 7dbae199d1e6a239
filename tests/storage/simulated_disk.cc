#include "tests/storage/simulated_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <set>

#include "tests/storage/unsynced_file.h"

namespace foreshore {
namespace {

constexpr std::size_t kTraceLength = 40;
constexpr std::array<const char*, kDiskOperationCount> kOperationNames = {
    "create", "write", "truncate", "sync", "sync directory", "rename", "remove"};

struct Node {
  bool is_directory = false;
  UnsyncedFile content;
};

struct OpenFile {
  std::shared_ptr<Node> node;
  std::string path;
  std::uint64_t generation = 0;
  bool appends = false;
};

using Names = std::map<std::string, std::shared_ptr<Node>>;  // Shared: open descriptors keep a removed file.

std::string_view ParentOf(std::string_view path) {
  return path.substr(0, path.rfind('/'));
}

}  // namespace

const char* DiskOperationName(DiskOperation operation) {
  return kOperationNames[static_cast<std::size_t>(operation)];
}

struct SimulatedDisk::State {
  struct Fault {
    std::uint64_t at = UINT64_MAX;  // Counted as operation_counts.
    std::uint64_t count = 0;
    int error_number = 0;
  };

  std::string root;
  mutable std::mutex mutex;  // Guards all that follows.
  std::mt19937_64 random;
  Names live;
  Names durable;  // As of the last sync of each directory.
  std::map<int, OpenFile> files;
  std::uint64_t generation = 0;  // Grows when the power returns.
  std::uint64_t operation_count = 0;
  std::array<std::uint64_t, kDiskOperationCount> operation_counts{};
  std::array<Fault, kDiskOperationCount> faults{};
  std::uint64_t failed_count = 0;
  std::uint64_t cut_at = UINT64_MAX;
  std::uint64_t capacity_bytes = UINT64_MAX;
  bool is_off = false;
  bool keep_everything = false;
  std::function<bool(std::string_view)> ignores_sync;
  std::function<bool(std::string_view)> delays_sync;
  std::uint32_t delay_milliseconds = 0;
  std::deque<std::string> trace;

  std::uint64_t Below(std::uint64_t bound) { return random() % bound; }
  bool IsTracked(std::string_view path) const;
  bool Matches(const std::function<bool(std::string_view)>& matches, const std::string& path) const {
    return matches && matches(path.size() > root.size() ? std::string_view(path).substr(root.size() + 1) : "");
  }
  std::uint64_t UsedBytes() const;
  void SyncDirectory(const std::string& directory);
  void Cut();
  void Materialise();
  void Note(DiskOperation operation, const std::string& what);
  // An error number where the operation fails; else `real` runs and, where it succeeded, `apply`. A cut operation is
  // done on the medium or not.
  template <typename Real, typename Apply>
  long Operate(DiskOperation operation, const std::string& what, const Real& real, const Apply& apply);
};

bool SimulatedDisk::State::IsTracked(std::string_view path) const {
  if (!path.starts_with(root) || path.size() <= root.size() || path[root.size()] != '/') return false;
  return !path.ends_with("-shm") && !path.ends_with("/LOCK");
}

std::uint64_t SimulatedDisk::State::UsedBytes() const {
  std::uint64_t bytes = 0;
  for (const auto& [path, node] : live) bytes += node->content.live.size();
  return bytes;
}

void SimulatedDisk::State::SyncDirectory(const std::string& directory) {
  std::erase_if(durable, [&](const auto& name) { return ParentOf(name.first) == directory; });
  for (const auto& [path, node] : live) {
    if (ParentOf(path) == directory) durable[path] = node;
  }
}

void SimulatedDisk::State::Note(DiskOperation operation, const std::string& what) {
  if (trace.size() == kTraceLength) trace.pop_front();
  trace.push_back(std::to_string(operation_count) + " " + DiskOperationName(operation) + " " +
                  (what.starts_with(root) ? what.substr(root.size()) : what));
}

template <typename Real, typename Apply>
long SimulatedDisk::State::Operate(DiskOperation operation, const std::string& what, const Real& real,
                                   const Apply& apply) {
  if (is_off) {
    errno = EIO;
    return -1;
  }
  const std::uint64_t number = operation_counts[static_cast<std::size_t>(operation)]++;
  const Fault& fault = faults[static_cast<std::size_t>(operation)];
  ++operation_count;
  if (number >= fault.at && number - fault.at < fault.count) {
    ++failed_count;
    Note(operation, what + " FAILS");
    errno = fault.error_number;
    return -1;
  }
  Note(operation, what);
  if (operation_count < cut_at) {
    const long result = real();
    if (result >= 0) apply(result);
    return result;
  }
  if (Below(2) == 0) apply(0);
  trace.back() += " CUT";
  Cut();
  errno = EIO;
  return -1;
}

// Replaces the names by what is found when the power returns.
void SimulatedDisk::State::Cut() {
  is_off = true;
  cut_at = UINT64_MAX;
  Names found = durable;
  std::set<std::string> changed;
  for (const auto& [path, node] : live) changed.insert(path);
  for (const auto& [path, node] : durable) changed.insert(path);
  for (const std::string& path : changed) {
    const auto now = live.find(path);
    const auto before = durable.find(path);
    const bool same = now != live.end() && before != durable.end() && now->second == before->second;
    if (same || (!keep_everything && Below(2) == 0)) continue;
    if (now == live.end()) {
      found.erase(path);
    } else {
      found[path] = now->second;
    }
  }
  // Parents come before their children in this order.
  for (auto it = found.begin(); it != found.end();) {
    const std::string parent(ParentOf(it->first));
    it = parent == root || found.contains(parent) ? std::next(it) : found.erase(it);
  }
  std::map<const Node*, std::shared_ptr<Node>> survivors;  // Two names of one file stay two names.
  for (auto& [path, node] : found) {
    std::shared_ptr<Node>& survivor = survivors[node.get()];
    if (survivor == nullptr) {
      survivor = std::make_shared<Node>();
      survivor->is_directory = node->is_directory;
      survivor->content.durable = node->content.Survivor(random, keep_everything);
      survivor->content.live = survivor->content.durable;
    }
    node = survivor;
  }
  keep_everything = false;
  live = found;
  durable = found;
}

namespace {

// What this thread does is not the program's.
thread_local bool is_inside = false;
struct Inside {
  Inside() { is_inside = true; }
  ~Inside() { is_inside = false; }
};

std::atomic<SimulatedDisk::State*> active{nullptr};

std::string Normal(const char* given) {
  std::string path;
  for (const char* at = given; *at != '\0'; ++at) {
    if (*at != '/' || path.empty() || path.back() != '/') path.push_back(*at);
  }
  if (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

SimulatedDisk::State* Active() {
  return is_inside ? nullptr : active.load(std::memory_order_acquire);
}

long OpenReal(const char* path, int flags, mode_t mode) {
  return ::syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int Open(const char* given, int flags, mode_t mode) {
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return static_cast<int>(OpenReal(given, flags, mode));
  const std::string path = Normal(given);
  const std::lock_guard lock(state->mutex);
  if (!state->IsTracked(path) && path != state->root) return static_cast<int>(OpenReal(given, flags, mode));
  std::shared_ptr<Node> node;
  if (const auto found = state->live.find(path); found != state->live.end()) node = found->second;
  const auto real = [&] { return OpenReal(given, flags, mode); };
  long descriptor = 0;
  if (node == nullptr && path != state->root && (flags & O_CREAT) != 0) {
    node = std::make_shared<Node>();
    descriptor = state->Operate(DiskOperation::kCreate, path, real, [&](long) { state->live[path] = node; });
  } else if (node != nullptr && (flags & O_TRUNC) != 0 && !node->content.live.empty()) {
    descriptor = state->Operate(DiskOperation::kTruncate, path, real, [&](long) { node->content.Truncate(0); });
  } else {
    descriptor = real();
  }
  if (descriptor >= 0 && (node != nullptr || path == state->root)) {
    state->files[static_cast<int>(descriptor)] = {node, path, state->generation, (flags & O_APPEND) != 0};
  }
  return static_cast<int>(descriptor);
}

// The file of a descriptor where it is on the disk.
OpenFile* Find(SimulatedDisk::State& state, int descriptor) {
  const auto found = state.files.find(descriptor);
  return found == state.files.end() ? nullptr : &found->second;
}

// True where the descriptor is from before the power went.
bool RefuseDead(const SimulatedDisk::State& state, const OpenFile& file) {
  if (file.generation == state.generation) return false;
  errno = EIO;
  return true;
}

// `given_offset` is -1 for the descriptor's own position.
ssize_t Write(int descriptor, const void* source, std::size_t length, off_t given_offset) {
  const auto real = [&]() -> long {
    if (given_offset < 0) return ::syscall(SYS_write, descriptor, source, length);
    return ::syscall(SYS_pwrite64, descriptor, source, length, given_offset);
  };
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return real();
  const std::lock_guard lock(state->mutex);
  OpenFile* file = Find(*state, descriptor);
  if (file == nullptr || file->node == nullptr) return real();
  if (RefuseDead(*state, *file)) return -1;
  UnsyncedFile& content = file->node->content;
  std::size_t offset = content.live.size();
  if (given_offset >= 0) {
    offset = static_cast<std::size_t>(given_offset);
  } else if (!file->appends) {
    offset = static_cast<std::size_t>(::lseek(descriptor, 0, SEEK_CUR));
  }
  if (state->capacity_bytes != UINT64_MAX && offset + length > content.live.size() &&
      state->UsedBytes() + offset + length - content.live.size() > state->capacity_bytes) {
    errno = ENOSPC;
    return -1;
  }
  const std::string what = file->path + " " + std::to_string(offset) + "+" + std::to_string(length);
  return state->Operate(DiskOperation::kWrite, what, real, [&](long) {
    content.Write(offset, std::string_view(static_cast<const char*>(source), length));
  });
}

int Truncate(int descriptor, off_t size) {
  const auto real = [&] { return ::syscall(SYS_ftruncate, descriptor, size); };
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return static_cast<int>(real());
  const std::lock_guard lock(state->mutex);
  OpenFile* file = Find(*state, descriptor);
  if (file == nullptr || file->node == nullptr) return static_cast<int>(real());
  if (RefuseDead(*state, *file)) return -1;
  const auto bytes = static_cast<std::size_t>(size);
  if (bytes == file->node->content.live.size()) return static_cast<int>(real());
  return static_cast<int>(state->Operate(DiskOperation::kTruncate, file->path + " to " + std::to_string(size), real,
                                         [&](long) { file->node->content.Truncate(bytes); }));
}

// Space that is reserved behind the end changes no content; RocksDB asks for that alone.
int Allocate(int descriptor, int mode, off_t offset, off_t length) {
  SimulatedDisk::State* state = Active();
  if (state != nullptr && (mode & FALLOC_FL_KEEP_SIZE) != 0) return 0;
  return static_cast<int>(::syscall(SYS_fallocate, descriptor, mode, offset, length));
}

// Waits as long as DelaySyncs() says for this file.
void WaitToSync(SimulatedDisk::State& state, int descriptor) {
  timespec duration{};
  {
    const std::lock_guard lock(state.mutex);
    const OpenFile* file = Find(state, descriptor);
    if (file == nullptr || !state.Matches(state.delays_sync, file->path)) return;
    duration.tv_nsec = static_cast<long>(state.delay_milliseconds) * 1000000;
  }
  ::syscall(SYS_nanosleep, &duration, nullptr);
}

int Sync(long call, int descriptor) {
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return static_cast<int>(::syscall(call, descriptor));
  WaitToSync(*state, descriptor);
  const std::lock_guard lock(state->mutex);
  OpenFile* file = Find(*state, descriptor);
  if (file == nullptr) return 0;  // Nothing beside the disk has to outlast the test.
  if (RefuseDead(*state, *file)) return -1;
  const bool is_directory = file->node == nullptr || file->node->is_directory;
  const auto real = [] { return 0L; };
  // A sync that the power cut interrupts has made nothing certain; Cut() then chooses sector by sector.
  const bool is_cut = state->operation_count + 1 >= state->cut_at;
  const std::uint64_t failed_before = state->failed_count;
  const long result =
      state->Operate(is_directory ? DiskOperation::kSyncDirectory : DiskOperation::kSync, file->path, real, [&](long) {
        if (is_cut || state->Matches(state->ignores_sync, file->path)) return;
        if (is_directory) {
          state->SyncDirectory(file->path);
        } else {
          file->node->content.Sync();
        }
      });
  if (state->failed_count != failed_before && !is_directory) file->node->content.FailSync();
  return static_cast<int>(result);
}

int Rename(const char* given_from, const char* given_to) {
  const auto real = [&] { return ::syscall(SYS_rename, given_from, given_to); };
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return static_cast<int>(real());
  const std::string from = Normal(given_from);
  const std::string to = Normal(given_to);
  const std::lock_guard lock(state->mutex);
  if (!state->live.contains(from)) return static_cast<int>(real());
  return static_cast<int>(state->Operate(DiskOperation::kRename, from + " to " + to, real, [&](long) {
    // A directory takes along what is in it, certain or not.
    for (Names* names : {&state->live, &state->durable}) {
      Names moved;
      std::erase_if(*names, [&](const auto& name) {
        if (!name.first.starts_with(from + "/")) return false;
        moved[to + name.first.substr(from.size())] = name.second;
        return true;
      });
      names->merge(moved);
    }
    state->live[to] = state->live[from];
    state->live.erase(from);
  }));
}

template <typename Real>
int Remove(const char* given, const Real& real) {
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return static_cast<int>(real());
  const std::string path = Normal(given);
  const std::lock_guard lock(state->mutex);
  if (!state->live.contains(path)) return static_cast<int>(real());
  return static_cast<int>(state->Operate(DiskOperation::kRemove, path, real, [&](long) { state->live.erase(path); }));
}

int MakeDirectory(const char* given, mode_t mode) {
  const auto real = [&] { return ::syscall(SYS_mkdir, given, mode); };
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return static_cast<int>(real());
  const std::string path = Normal(given);
  const std::lock_guard lock(state->mutex);
  if (!state->IsTracked(path) || state->live.contains(path)) return static_cast<int>(real());
  return static_cast<int>(state->Operate(DiskOperation::kCreate, path, real, [&](long) {
    state->live[path] = std::make_shared<Node>(Node{.is_directory = true, .content = {}});
  }));
}

int Link(const char* given_from, const char* given_to) {
  const auto real = [&] { return ::syscall(SYS_link, given_from, given_to); };
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return static_cast<int>(real());
  const std::string from = Normal(given_from);
  const std::string to = Normal(given_to);
  const std::lock_guard lock(state->mutex);
  const auto found = state->live.find(from);
  if (found == state->live.end() || !state->IsTracked(to)) return static_cast<int>(real());
  return static_cast<int>(
      state->Operate(DiskOperation::kCreate, to, real, [&](long) { state->live[to] = found->second; }));
}

int Close(int descriptor) {
  if (SimulatedDisk::State* state = Active(); state != nullptr) {
    const std::lock_guard lock(state->mutex);
    state->files.erase(descriptor);
    return static_cast<int>(::syscall(SYS_close, descriptor));  // Under the lock: the number may be reused at once.
  }
  return static_cast<int>(::syscall(SYS_close, descriptor));
}

bool IsFailing() {
  SimulatedDisk::State* state = Active();
  if (state == nullptr) return false;
  const std::lock_guard lock(state->mutex);
  return state->is_off || state->failed_count > 0;
}

mode_t ModeOf(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

// Writes the files that survived in place of those that are there.
void SimulatedDisk::State::Materialise() {
  const Inside inside;
  Names shared_memory;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.path().string().ends_with("-shm") || Below(2) == 0) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const auto node = std::make_shared<Node>();
    node->content.live.assign(std::istreambuf_iterator<char>(file), {});
    shared_memory[entry.path().string()] = node;
  }
  for (const auto& entry : std::filesystem::directory_iterator(root)) std::filesystem::remove_all(entry.path());
  const auto write = [&](const Names& names) {
    for (const auto& [path, node] : names) {
      if (node->is_directory) {
        if (::syscall(SYS_mkdir, path.c_str(), 0755) != 0) std::abort();
        continue;
      }
      if (!std::filesystem::exists(std::string(ParentOf(path)))) continue;
      const int descriptor = static_cast<int>(OpenReal(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644));
      std::string_view left = node->content.live;
      while (!left.empty()) {
        const long count = ::syscall(SYS_write, descriptor, left.data(), left.size());
        if (count <= 0) std::abort();
        left.remove_prefix(static_cast<std::size_t>(count));
      }
      ::syscall(SYS_close, descriptor);
    }
  };
  write(live);
  write(shared_memory);
}

SimulatedDisk::SimulatedDisk(std::uint64_t seed) : state_(std::make_unique<State>()) {
  std::string pattern =
      (::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path().string()) +
      "/foreshore-disk-XXXXXX";
  if (active.load() != nullptr || ::mkdtemp(pattern.data()) == nullptr) std::abort();
  state_->root = pattern;
  state_->random.seed(seed);
  active.store(state_.get(), std::memory_order_release);
}

SimulatedDisk::~SimulatedDisk() {
  active.store(nullptr, std::memory_order_release);
  std::error_code error;
  std::filesystem::remove_all(state_->root, error);
}

const std::string& SimulatedDisk::root() const {
  return state_->root;
}

void SimulatedDisk::CutAfter(std::uint64_t operation_count) {
  const std::lock_guard lock(state_->mutex);
  state_->cut_at = state_->operation_count + operation_count;
}

void SimulatedDisk::CutNow() {
  const std::lock_guard lock(state_->mutex);
  if (!state_->is_off) state_->Cut();
}

bool SimulatedDisk::is_off() const {
  const std::lock_guard lock(state_->mutex);
  return state_->is_off;
}

void SimulatedDisk::PowerOn() {
  const std::lock_guard lock(state_->mutex);
  state_->Materialise();
  state_->is_off = false;
  ++state_->generation;
}

void SimulatedDisk::KeepEverythingAtNextCut() {
  const std::lock_guard lock(state_->mutex);
  state_->keep_everything = true;
}

std::uint64_t SimulatedDisk::operation_count() const {
  const std::lock_guard lock(state_->mutex);
  return state_->operation_count;
}

std::uint64_t SimulatedDisk::operation_count(DiskOperation operation) const {
  const std::lock_guard lock(state_->mutex);
  return state_->operation_counts[static_cast<std::size_t>(operation)];
}

void SimulatedDisk::FailAt(DiskOperation operation, std::uint64_t index, int error_number, std::uint64_t count) {
  const std::lock_guard lock(state_->mutex);
  const auto at = static_cast<std::size_t>(operation);
  state_->faults[at] = {state_->operation_counts[at] + index, count, error_number};
}

std::uint64_t SimulatedDisk::failed_count() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failed_count;
}

void SimulatedDisk::SetCapacityBytes(std::uint64_t bytes) {
  const std::lock_guard lock(state_->mutex);
  state_->capacity_bytes = bytes;
}

std::uint64_t SimulatedDisk::used_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->UsedBytes();
}

void SimulatedDisk::IgnoreSyncs(std::function<bool(std::string_view path)> matches) {
  const std::lock_guard lock(state_->mutex);
  state_->ignores_sync = std::move(matches);
}

void SimulatedDisk::DelaySyncs(std::function<bool(std::string_view path)> matches, std::uint32_t milliseconds) {
  const std::lock_guard lock(state_->mutex);
  state_->delays_sync = std::move(matches);
  state_->delay_milliseconds = milliseconds;
}

std::string SimulatedDisk::Trace() const {
  const std::lock_guard lock(state_->mutex);
  std::string text;
  for (const std::string& line : state_->trace) text += "\n  " + line;
  return text;
}

}  // namespace foreshore

#define FORESHORE_REPLACED extern "C" __attribute__((visibility("default")))

FORESHORE_REPLACED int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = foreshore::ModeOf(flags, arguments);
  va_end(arguments);
  return foreshore::Open(path, flags, mode);
}
FORESHORE_REPLACED int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = foreshore::ModeOf(flags, arguments);
  va_end(arguments);
  return foreshore::Open(path, flags, mode);
}
FORESHORE_REPLACED ssize_t write(int descriptor, const void* source, size_t length) {
  return foreshore::Write(descriptor, source, length, -1);
}
FORESHORE_REPLACED ssize_t pwrite(int descriptor, const void* source, size_t length, off_t offset) {
  return foreshore::Write(descriptor, source, length, offset);
}
FORESHORE_REPLACED ssize_t pwrite64(int descriptor, const void* source, size_t length, off64_t offset) {
  return foreshore::Write(descriptor, source, length, offset);
}
FORESHORE_REPLACED int ftruncate(int descriptor, off_t size) noexcept {
  return foreshore::Truncate(descriptor, size);
}
FORESHORE_REPLACED int ftruncate64(int descriptor, off64_t size) noexcept {
  return foreshore::Truncate(descriptor, size);
}
FORESHORE_REPLACED int fallocate(int descriptor, int mode, off_t offset, off_t length) {
  return foreshore::Allocate(descriptor, mode, offset, length);
}
FORESHORE_REPLACED int fsync(int descriptor) {
  return foreshore::Sync(SYS_fsync, descriptor);
}
FORESHORE_REPLACED int fdatasync(int descriptor) {
  return foreshore::Sync(SYS_fdatasync, descriptor);
}
// It promises nothing about power.
FORESHORE_REPLACED int sync_file_range(int, off64_t, off64_t, unsigned) {
  return 0;
}
// RocksDB waits a second after every failed write in the background, and a test has many of them.
FORESHORE_REPLACED int usleep(useconds_t duration_us) {
  const timespec duration{static_cast<time_t>(duration_us / 1000000), static_cast<long>(duration_us % 1000000) * 1000};
  const timespec moment{0, 1000000};
  const bool cut_short = foreshore::IsFailing();
  ::syscall(SYS_nanosleep, cut_short ? &moment : &duration, nullptr);
  return 0;
}
FORESHORE_REPLACED int rename(const char* from, const char* to) noexcept {
  return foreshore::Rename(from, to);
}
FORESHORE_REPLACED int unlink(const char* path) noexcept {
  return foreshore::Remove(path, [&] { return ::syscall(SYS_unlink, path); });
}
FORESHORE_REPLACED int rmdir(const char* path) noexcept {
  return foreshore::Remove(path, [&] { return ::syscall(SYS_rmdir, path); });
}
FORESHORE_REPLACED int mkdir(const char* path, mode_t mode) noexcept {
  return foreshore::MakeDirectory(path, mode);
}
FORESHORE_REPLACED int link(const char* from, const char* to) noexcept {
  return foreshore::Link(from, to);
}
FORESHORE_REPLACED int close(int descriptor) {
  return foreshore::Close(descriptor);
}
