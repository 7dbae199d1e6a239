// One writer, eight readers, a subscriber, and the store's maintenance at once. Built with the tsan preset it looks for
// data races; built without, for states that no reader may see.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>

#include "foreshore/database.h"
#include "foreshore/subscription.h"
#include "tests/engine/query/sql_test_database.h"

namespace foreshore {
namespace {

constexpr int kAccountCount = 60;
constexpr int kBalance = 100;  // Of each account; what writers move about stays the same in sum.
constexpr int kReaderCount = 8;

unsigned Seed() {
  const char* given = std::getenv("FORESHORE_TEST_SEED");
  return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
}

int TransactionCount() {
  const char* given = std::getenv("FORESHORE_THREADS_TRANSACTIONS");
  return given != nullptr ? std::atoi(given) : 60;
}

class ThreadsFixture {
 public:
  explicit ThreadsFixture(StorageKind storage) {
    DatabaseOptions options;
    options.create = true;
    options.storage = storage;
    options.durability = Durability::kNormal;
    auto opened = Database::Open(directory_.path() + "/db.foreshore", options);
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    db_ = std::move(opened).value();
    REQUIRE(db_->CreateCollection("accounts").ok());
    REQUIRE(db_->CreateCollection("moves").ok());
    VectorFieldOptions vector;
    vector.field = "v";
    vector.dimension = 8;
    REQUIRE(db_->CreateVectorIndex("accounts", vector).ok());
    auto transaction = *db_->Begin();
    for (int i = 0; i < kAccountCount; ++i) {
      REQUIRE(transaction
                  ->Put("accounts", "a" + std::to_string(i),
                        R"({"n":)" + std::to_string(kBalance) + R"(,"v":)" + VectorOf(i) + "}")
                  .ok());
    }
    REQUIRE(transaction->Put("moves", "first", R"({"round":-1})").ok());
    REQUIRE(transaction->Commit().ok());
  }

  void Run(unsigned seed) {
    Watch();
    std::vector<std::thread> readers;
    for (unsigned i = 0; i < kReaderCount; ++i) readers.emplace_back([this, i] { Read(i); });
    std::thread maintenance([this] { Maintain(); });
    Write(seed);
    done_.store(true);
    maintenance.join();
    for (std::thread& reader : readers) reader.join();
    subscription_->Cancel();
    const std::lock_guard lock(mutex_);
    CHECK_MESSAGE(problems_.empty(), problems_.front());
    CHECK(read_count_.load() >= kReaderCount);
    CHECK(Rows(*db_, "SELECT count(*) FROM moves") == std::to_string(TransactionCount() + 1));
    CHECK(db_->Verify()->problems.empty());
  }

 private:
  static std::string VectorOf(int i) {
    std::string text = "[";
    for (int j = 0; j < 8; ++j) text += (j > 0 ? "," : "") + std::to_string((i * 7 + j * j * 3) % 11 - 5) + ".5";
    return text + "]";
  }

  void Expect(bool holds, const std::string& what) {
    if (holds) return;
    const std::lock_guard lock(mutex_);
    problems_.push_back(what);
  }

  // Amounts move between accounts, whose vectors change too; a deletion is taken back by its savepoint.
  void Write(unsigned seed) {
    std::mt19937 random(seed);
    SqlOptions options;
    options.busy_timeout = std::chrono::minutes(5);  // Compaction holds the lock for long under a sanitizer.
    const auto connection = *db_->Connect(options);
    for (int round = 0; round < TransactionCount(); ++round) {
      const auto account = [&] { return "'a" + std::to_string(random() % kAccountCount) + "'"; };
      const std::string from = account();
      const std::string to = account();
      for (const std::string& sql :
           {std::string("BEGIN IMMEDIATE"), "UPDATE accounts SET n = n - 7 WHERE id = " + from,
            "UPDATE accounts SET n = n + 7, v = '" + VectorOf(round) + "' WHERE id = " + to, std::string("SAVEPOINT s"),
            "DELETE FROM accounts WHERE n >= 0 OR id = " + from, std::string("ROLLBACK TO s"),
            "INSERT INTO moves (id, round) VALUES ('m" + std::to_string(round) + "', " + std::to_string(round) + ")",
            std::string("COMMIT")}) {
        const Status status = FailureOf(*connection, sql);
        Expect(status.ok(), sql + ": " + status.ToString());
      }
    }
  }

  // Each round is a transaction that reads one state by scans, joins and nearness; one reader is interrupted as well.
  void Read(unsigned number) {
    const auto connection = *db_->Connect();
    const bool is_interrupted = number == 0;
    std::thread interrupter;
    std::atomic<bool> stops{false};
    if (is_interrupted) {
      interrupter = std::thread([&] {
        while (!stops.load()) {
          connection->Interrupt();
          std::this_thread::yield();
        }
      });
    }
    const auto expect = [&](const std::string& sql, const std::string& wanted) {
      const auto rows = RunSql(*connection, sql);
      if (!rows.ok()) {
        return Expect(is_interrupted && rows.status().code() == ErrorCode::kCancelled,
                      sql + ": " + rows.status().ToString());
      }
      Expect(rows->size() == 1 && rows->front() == wanted,
             sql + ": found " + (rows->empty() ? "nothing" : rows->front()) + ", expected " + wanted);
    };
    const std::string count = std::to_string(kAccountCount);
    const std::string sum = std::to_string(kAccountCount * kBalance);
    do {
      expect("SELECT count(*), sum(n) FROM accounts", count + "|" + sum);
      Expect(FailureOf(*connection, "BEGIN").ok(), "BEGIN failed");
      const auto moves = RunSql(*connection, "SELECT count(*), max(round) FROM moves");
      expect("SELECT count(*), sum(n) FROM (SELECT n FROM accounts WHERE v MATCH '" +
                 VectorOf(static_cast<int>(number)) + "')",
             count + "|" + sum);
      expect("SELECT sum(x.n) FROM accounts x JOIN accounts y ON y.id = x.id AND y.n = x.n", sum);
      if (moves.ok()) expect("SELECT count(*), max(round) FROM moves", moves->front());
      Expect(FailureOf(*connection, "COMMIT").ok(), "COMMIT failed");
      read_count_.fetch_add(1);
    } while (!done_.load());
    stops.store(true);
    if (interrupter.joinable()) interrupter.join();
  }

  // Some rounds only: each takes the write lock, and with readers around waits for them in vain.
  void Maintain() {
    for (int round = 0; round < 4 && !done_.load(); ++round) {
      const Status status = round % 2 == 0 ? db_->Checkpoint() : db_->Compact();
      Expect(status.ok() || status.code() == ErrorCode::kBusy, "maintenance: " + status.ToString());
    }
  }

  void Watch() {
    auto made = db_->Subscribe("SELECT sum(n) FROM accounts", {}, {}, [this](const ResultChanges& changes) {
      Expect(changes.status.ok(), "subscription: " + changes.status.ToString());
      ApplyChanges(watched_, changes);
      Expect(watched_.size() == 1 && watched_[0] == SqlRow{std::int64_t{kAccountCount * kBalance}},
             "subscription: found another sum");
    });
    REQUIRE_MESSAGE(made.ok(), made.status().ToString());
    subscription_ = std::move(made).value();
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Database> db_;
  std::vector<SqlRow> watched_;  // Of the subscription's callbacks, which come one at a time.
  std::unique_ptr<Subscription> subscription_;
  std::atomic<bool> done_{false};
  std::atomic<int> read_count_{0};
  std::mutex mutex_;
  std::vector<std::string> problems_;  // Guarded by mutex_.
};

}  // namespace

TEST_CASE("threads: a writer, eight readers, a subscriber, checkpoints and compaction agree, on SQLite storage") {
  const unsigned seed = Seed();
  MESSAGE("FORESHORE_TEST_SEED=", seed);
  ThreadsFixture(StorageKind::kSqlite).Run(seed);
}

#ifdef FORESHORE_WITH_ROCKSDB
TEST_CASE("threads: a writer, eight readers, a subscriber, checkpoints and compaction agree, on RocksDB storage") {
  const unsigned seed = Seed();
  MESSAGE("FORESHORE_TEST_SEED=", seed);
  ThreadsFixture(StorageKind::kRocksdb).Run(seed);
}
#endif

}  // namespace foreshore
