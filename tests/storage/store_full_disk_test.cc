// A full disk, a file that may not grow, and a failing sync.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "storage/base/file.h"
#include "tests/kill_harness.h"
#include "tests/storage/failing_sync.h"
#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

using I = std::int64_t;

// A file system of its own with 6 MiB; where mounting is not allowed, is_mounted() is false.
class SmallDisk {
 public:
  SmallDisk() { mounted_ = ::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=6m") == 0; }
  ~SmallDisk() {
    if (mounted_) ::umount2(directory_.path().c_str(), MNT_DETACH);
  }
  bool is_mounted() const { return mounted_; }
  const std::string& path() const { return directory_.path(); }
  std::string filler() const { return path() + "/filler"; }
  void Fill() {
    std::ofstream file(filler(), std::ios::binary);
    const std::string block(4096, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }

 private:
  TemporaryDirectory directory_;
  bool mounted_ = false;
};

Status PutSome(Store& store, KeyspaceId keyspace, I first, int count, const std::string& value) {
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store.BeginWrite());
  for (int index = 0; index < count; ++index)
    FORESHORE_RETURN_IF_ERROR(txn->Put(keyspace, first + index, Bytes(value)));
  return txn->Commit();
}

bool IsFullDiskCode(const Status& status) {
  return status.code() == ErrorCode::kNoSpace || status.code() == ErrorCode::kIo;
}

// What a program sees when the disk fills under it: refusals, no loss, readable throughout, usable when there is room.
template <typename Backend>
std::string LiveThroughFullDisk(const std::string& path, const std::function<void()>& fill,
                                const std::function<void()>& make_room) {
  StoreOptions options;
  options.create = true;
  auto store = Backend::Open(path, options);
  if (!store.ok()) return "open: " + store.status().ToString();
  const auto keyspace = (*store)->OpenKeyspace("a", KeyspaceKind::kInteger);
  if (!keyspace.ok()) return "keyspace: " + keyspace.status().ToString();
  if (const Status put = PutSome(**store, *keyspace, 0, 10, "before"); !put.ok()) return "before: " + put.ToString();
  fill();
  bool refused = false;
  I committed = 0;
  for (I round = 1; round <= 200 && !refused; ++round) {
    const Status put = PutSome(**store, *keyspace, round * 1000, 30, std::string(2000, 'y'));
    if (put.ok()) committed = round;
    if (!put.ok() && !IsFullDiskCode(put)) return "full: " + put.ToString();
    refused = !put.ok();
  }
  if (!refused) return "the disk never filled";
  for (int retry = 0; retry < 3; ++retry) {
    const Status put = PutSome(**store, *keyspace, 500000, 30, std::string(20000, 'z'));
    if (!IsFullDiskCode(put)) return "still full: " + put.ToString();
  }
  if (ValueIn(**store, *keyspace, I{5}) != "before") return "what was committed cannot be read on a full disk";
  if (ValueIn(**store, *keyspace, I{500000}) != "(none)") return "a refused commit is visible";
  make_room();
  if (const Status put = PutSome(**store, *keyspace, 700000, 5, "after"); !put.ok()) return "room: " + put.ToString();
  const auto check = [&](const char* when) -> std::string {
    if (const Status verified = (*store)->Verify(); !verified.ok()) return when + verified.ToString();
    for (I round = 1; round <= committed; ++round) {
      if (ValueIn(**store, *keyspace, round * 1000 + 29).size() != 2000)
        return when + std::string(": a commit was lost");
    }
    for (const I key : {(committed + 1) * 1000, I{500000}}) {
      if (ValueIn(**store, *keyspace, key) != "(none)") return when + std::string(": a refused commit came back");
    }
    return ValueIn(**store, *keyspace, I{700004}) == "after" ? "" : when + std::string(": the last commit was lost");
  };
  if (std::string finding = check("then"); !finding.empty()) return finding;
  *store = nullptr;
  options.create = false;
  *store = Take(Backend::Open(path, options));
  if (Take((*store)->OpenKeyspace("a", KeyspaceKind::kInteger)) != *keyspace) return "the keyspace is another one";
  return check("reopened");
}

TEST_CASE_TEMPLATE("full disk: nothing is lost, reading goes on, writing too when there is room", Backend,
                   FORESHORE_STORE_BACKENDS) {
  SmallDisk disk;
  if (!disk.is_mounted()) {
    MESSAGE("mounting is not allowed here; the file size limit below stands in");
    return;
  }
  const auto fill = [&] { disk.Fill(); };
  const auto make_room = [&] { Ok(RemoveFile(disk.filler())); };
  CHECK(LiveThroughFullDisk<Backend>(disk.path() + "/" + Backend::kFile, fill, make_room) == "");
}

// The other way a write is refused: the file may not grow. Runs in a child, since the limit is the process's.
TEST_CASE("file size limit: nothing is lost, and the store works on when the limit goes") {
  TemporaryDirectory directory;
  const std::string finding = RunForked([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const auto limit_to = [](rlim_t bytes) {
      rlimit limit{};
      ::getrlimit(RLIMIT_FSIZE, &limit);
      limit.rlim_cur = std::min(bytes, limit.rlim_max);
      ::setrlimit(RLIMIT_FSIZE, &limit);
    };
    return LiveThroughFullDisk<SqliteBackend>(
        directory.path() + "/store.db", [&] { limit_to(300000); }, [&] { limit_to(RLIM_INFINITY); });
  });
  CHECK(finding == "");
}

// Goal: a commit refused because its sync failed is gone, at once and after the process died.
TEST_CASE_TEMPLATE("failed sync: the refused commit does not come back, the store works on", Backend,
                   FORESHORE_STORE_BACKENDS) {
  TestStore<Backend> store(Durability::kFull);
  const auto keyspace = Take(store->OpenKeyspace("a", KeyspaceKind::kInteger));
  PutOne(*store, keyspace, I{1}, "before");
  FailSyncs(1);
  CHECK(PutSome(*store, keyspace, 1, 3, "refused").code() == ErrorCode::kIo);
  CHECK(FailedSyncCount() == 1);
  FailSyncs(0);
  CHECK(ValueIn(*store, keyspace, I{1}) == "before");
  {
    const auto reader = Take(store->BeginRead());
    CHECK(ValueOf(*reader, keyspace, I{2}) == "(none)");
  }
  PutOne(*store, keyspace, I{9}, "after");
  for (int round = 0; round < 2; ++round) {
    CHECK(ValueIn(*store, keyspace, I{1}) == "before");
    CHECK(ValueIn(*store, keyspace, I{2}) == "(none)");
    CHECK(ValueIn(*store, keyspace, I{9}) == "after");
    Ok(store->Verify());
    store.Reopen();
    CHECK(Take(store->OpenKeyspace("a", KeyspaceKind::kInteger)) == keyspace);
  }
}

}  // namespace
}  // namespace foreshore
