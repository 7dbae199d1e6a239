// Ingest and down-sampling of small readings: one side, so that its memory is its own. tests/bench/readings.py runs the
// sides in turns and makes the table of them.
//
//   bench_readings SIDE WORK_DIRECTORY READING_COUNT READINGS_PER_COMMIT SERIES_COUNT     SIDE: rocksdb, sqlite, plain
//
// The plain SQLite table is tuned: its key is the series' number and the time, without a rowid, in WAL mode with a log
// of 16 MB between checkpoints. All sides have full durability and 64 MB of memory for the store. One JSON object on
// standard output; its figures are for one reading.
#include <sqlite3.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "foreshore/database.h"

using namespace foreshore;

namespace {

constexpr std::uint64_t kBudgetBytes = 64ULL << 20;

template <typename T>
T Take(Result<T> result) {
  if (!result.ok()) {
    std::cerr << "bench_readings: " << result.status().ToString() << "\n";
    std::exit(1);
  }
  return std::move(result).value();
}

void Check(const Status& status) {
  if (status.ok()) return;
  std::cerr << "bench_readings: " << status.ToString() << "\n";
  std::exit(1);
}

void Check(sqlite3* db, int code) {
  if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) return;
  std::cerr << "bench_readings: " << sqlite3_errmsg(db) << "\n";
  std::exit(1);
}

struct Load {
  long count = 1'000'000;
  long per_commit = 1000;
  long series_count = 100;
  // Noise that no compressor sees through, over a slow swing (SplitMix64, Steele, Lea, Flood 2014).
  static unsigned long Noise(long i) {
    unsigned long z = static_cast<unsigned long>(i) * 0x9E3779B97F4A7C15UL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
    return z ^ (z >> 31);
  }
  double ValueAt(long i) const {
    return 20 + static_cast<double>(i % 20'000) / 2000 + static_cast<double>(Noise(i) % 200) / 100;
  }
  long TimeAt(long i) const {
    return 1'795'000'000'000 + i / series_count * 1000 + static_cast<long>(Noise(i + 1) % 9);
  }
};

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Bytes that this process gave to the device so far.
long WrittenBytes() {
  std::ifstream file("/proc/self/io");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("write_bytes: ")) return std::atol(line.c_str() + 13);
  }
  return 0;
}

double CpuSeconds() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The most memory that this process ever had.
long PeakBytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

struct Figures {
  double ingest_seconds = 0;
  double ingest_cpu_seconds = 0;
  double sample_seconds = 0;
  long written_bytes = 0;
  long disk_bytes = 0;
};

long DirectoryBytes(const std::string& path) {
  long bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) bytes += static_cast<long>(entry.file_size());
  }
  return bytes;
}

Figures RunForeshore(const std::string& path, StorageKind kind, const Load& load) {
  Figures figures;
  DatabaseOptions options;
  options.create = true;
  options.storage = kind;
  options.cache_bytes = kBudgetBytes;
  const auto db = Take(Database::Open(path, options));
  Check(db->CreateCollection("r", {.kind = CollectionKind::kReadings, .time_field = "t", .series_field = "sensor"}));
  const long written_before = WrittenBytes();
  const double cpu_before = CpuSeconds();
  auto start = std::chrono::steady_clock::now();
  char body[128];
  for (long i = 0; i < load.count;) {
    const auto transaction = Take(db->Begin());
    for (long n = 0; n < load.per_commit && i < load.count; ++n, ++i) {
      const int size = std::snprintf(body, sizeof body, "{\"t\":%ld,\"sensor\":\"sensor-%ld\",\"value\":%.2f}",
                                     load.TimeAt(i), i % load.series_count, load.ValueAt(i));
      Take(transaction->PutNew("r", std::string_view(body, static_cast<std::size_t>(size))));
    }
    Check(transaction->Commit());
  }
  figures.ingest_seconds = SecondsSince(start);
  figures.ingest_cpu_seconds = CpuSeconds() - cpu_before;
  Check(db->Checkpoint());
  figures.written_bytes = WrittenBytes() - written_before;
  start = std::chrono::steady_clock::now();
  const Table table =
      Take(db->Query("SELECT time_bucket, avg(value) FROM r WHERE bucket_width = '1m' GROUP BY time_bucket"));
  if (table.rows.empty()) std::exit(1);
  figures.sample_seconds = SecondsSince(start);
  Check(db->Close());
  figures.disk_bytes = DirectoryBytes(path);
  return figures;
}

Figures RunSqlite(const std::string& path, const Load& load) {
  Figures figures;
  std::filesystem::create_directories(path);
  sqlite3* db = nullptr;
  Check(db, sqlite3_open((path + "/plain.db").c_str(), &db));
  const auto run = [&](const char* sql) { Check(db, sqlite3_exec(db, sql, nullptr, nullptr, nullptr)); };
  run("PRAGMA journal_mode=WAL");
  run("PRAGMA synchronous=FULL");
  run("PRAGMA cache_size=-65536");  // kBudgetBytes.
  run("PRAGMA wal_autocheckpoint=4096");
  run("CREATE TABLE r (sensor INTEGER NOT NULL, t INTEGER NOT NULL, value REAL, PRIMARY KEY (sensor, t)) WITHOUT "
      "ROWID");
  const long written_before = WrittenBytes();
  const double cpu_before = CpuSeconds();
  auto start = std::chrono::steady_clock::now();
  sqlite3_stmt* insert = nullptr;
  Check(db, sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO r VALUES (?, ?, ?)", -1, &insert, nullptr));
  for (long i = 0; i < load.count;) {
    run("BEGIN");
    for (long n = 0; n < load.per_commit && i < load.count; ++n, ++i) {
      sqlite3_bind_int64(insert, 1, i % load.series_count);
      sqlite3_bind_int64(insert, 2, load.TimeAt(i));
      sqlite3_bind_double(insert, 3, load.ValueAt(i));
      Check(db, sqlite3_step(insert));
      sqlite3_reset(insert);
    }
    run("COMMIT");
  }
  sqlite3_finalize(insert);
  figures.ingest_seconds = SecondsSince(start);
  figures.ingest_cpu_seconds = CpuSeconds() - cpu_before;
  run("PRAGMA wal_checkpoint(TRUNCATE)");
  figures.written_bytes = WrittenBytes() - written_before;
  start = std::chrono::steady_clock::now();
  run("SELECT t / 60000 * 60000 AS minute, avg(value) FROM r GROUP BY 1");
  figures.sample_seconds = SecondsSince(start);
  sqlite3_close(db);
  figures.disk_bytes = DirectoryBytes(path);
  return figures;
}

void Print(const Figures& figures, const Load& load) {
  const auto count = static_cast<double>(load.count);
  std::printf(
      "{\"ingest_ns\": %.1f, \"ingest_cpu_ns\": %.1f, \"written_bytes\": %.2f, \"disk_bytes\": %.2f, "
      "\"down_sample_ns\": %.2f, \"peak_bytes\": %ld}\n",
      figures.ingest_seconds * 1e9 / count, figures.ingest_cpu_seconds * 1e9 / count,
      static_cast<double>(figures.written_bytes) / count, static_cast<double>(figures.disk_bytes) / count,
      figures.sample_seconds * 1e9 / count, PeakBytes());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string side = argc > 1 ? argv[1] : "";
  if (argc != 6 || (side != "rocksdb" && side != "sqlite" && side != "plain")) {
    std::cerr << "usage: bench_readings rocksdb|sqlite|plain WORK_DIRECTORY READING_COUNT READINGS_PER_COMMIT "
                 "SERIES_COUNT\n";
    return 2;
  }
  Load load;
  load.count = std::atol(argv[3]);
  load.per_commit = std::atol(argv[4]);
  load.series_count = std::atol(argv[5]);
  const std::string path = std::string(argv[2]) + "/" + side;
  std::filesystem::remove_all(path);
  if (side == "plain") {
    Print(RunSqlite(path, load), load);
  } else {
    Print(RunForeshore(path, side == "rocksdb" ? StorageKind::kRocksdb : StorageKind::kSqlite, load), load);
  }
  std::filesystem::remove_all(path);
  return 0;
}
