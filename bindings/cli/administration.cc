// create, stats, verify, compact, backup, and what several verbs share.
#include <algorithm>
#include <filesystem>
#include <thread>

#include "bindings/cli/command.h"
#include "bindings/cli/input_file.h"
#include "bindings/cli/progress.h"
#include "bindings/json/reports.h"

namespace foreshore::cli {

namespace {

constexpr std::size_t kTokenFileBytesMax = 64 << 10;

}  // namespace

Result<std::unique_ptr<Database>> OpenExisting(const std::string& path, unsigned inference_thread_count) {
  DatabaseOptions options;
  options.inference_thread_count = inference_thread_count;
  return Database::Open(path, options);
}

Status RequireCollection(Database& database, const std::string& collection) {
  FORESHORE_ASSIGN_OR_RETURN(const auto names, database.ListCollections());
  if (std::find(names.begin(), names.end(), collection) != names.end()) return Status::Ok();
  std::string known;
  for (const std::string& name : names) known += (known.empty() ? "" : ", ") + name;
  return Status::NotFound("collection \"" + collection + "\": not found, expected " +
                          (known.empty() ? "one that import or create --collection made" : "one of " + known));
}

std::string QuoteName(std::string_view name) {
  std::string quoted = "\"";
  for (const char character : name) {
    if (character == '"') quoted += '"';
    quoted += character;
  }
  return quoted + '"';
}

unsigned ThreadCount(unsigned asked) {
  return asked > 0 ? asked : std::max(1U, std::thread::hardware_concurrency());
}

Result<std::string> ReadToken(const std::string& path) {
  std::string token;
  if (path.empty()) return token;
  FORESHORE_ASSIGN_OR_RETURN(token, ReadInputFile(path, kTokenFileBytesMax));
  token.resize(std::min(token.find('\n'), token.size()));
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  if (token.empty())
    return Status::InvalidArgument("token file \"" + path + "\": first line is empty, expected a token");
  return token;
}

namespace {

Status CreateCollections(Database& database, const CreateArguments& arguments) {
  for (const std::string& collection : arguments.collections) {
    const Status created = database.CreateCollection(collection);
    // One that exists may be given an expiry field.
    if (!created.ok() && (arguments.expiry_field.empty() || created.code() != ErrorCode::kAlreadyExists))
      return created;
    if (!arguments.expiry_field.empty()) {
      FORESHORE_RETURN_IF_ERROR(database.SetExpiryField(collection, arguments.expiry_field));
    }
  }
  if (arguments.readings.empty()) return Status::Ok();
  CollectionOptions collection;
  collection.kind = CollectionKind::kReadings;
  collection.time_field = arguments.time_field;
  collection.series_field = arguments.series_field;
  collection.time_unit = arguments.time_unit == "s"    ? TimeUnit::kSeconds
                         : arguments.time_unit == "us" ? TimeUnit::kMicroseconds
                         : arguments.time_unit == "ns" ? TimeUnit::kNanoseconds
                                                       : TimeUnit::kMilliseconds;
  collection.retention_ms = arguments.keep_days * 86'400'000;
  return database.CreateCollection(arguments.readings, collection);
}

}  // namespace

Status RunCreate(const CreateArguments& arguments) {
  DatabaseOptions options;
  if (arguments.storage == "rocksdb") {
    options.storage = StorageKind::kRocksdb;
  } else if (arguments.storage != "sqlite") {
    return Status::InvalidArgument("storage \"" + arguments.storage + "\": expected sqlite or rocksdb");
  }
  if (!arguments.expiry_field.empty() && arguments.collections.empty()) {
    return Status::InvalidArgument("--expiry-field \"" + arguments.expiry_field +
                                   "\": names no collection, expected --collection with it");
  }
  Result<std::unique_ptr<Database>> database = Database::Open(arguments.database, options);
  if (database.ok() && arguments.collections.empty() && arguments.readings.empty()) {
    return Status::AlreadyExists("database \"" + arguments.database + "\": exists, expected a new path");
  }
  if (database.ok()) {
    FORESHORE_RETURN_IF_ERROR(CreateCollections(**database, arguments));
    return (*database)->Close();
  }
  if (database.status().code() != ErrorCode::kNotFound) return database.status();
  std::error_code ignored;
  const bool is_new_path = !std::filesystem::exists(arguments.database, ignored);
  options.create = true;
  database = Database::Open(arguments.database, options);
  if (!database.ok()) return database.status();
  Status done = CreateCollections(**database, arguments);
  const Status closed = (*database)->Close();
  if (done.ok()) return closed;
  // What was refused leaves nothing behind.
  database->reset();
  if (is_new_path) std::filesystem::remove_all(arguments.database, ignored);
  return done;
}

Status RunStats(const ListArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  return PrintStats(*database, arguments.format);
}

namespace {

std::string DescribeMemory(const IndexInfo& index) {
  const std::uint64_t count = std::max<std::uint64_t>(1, index.vector_count);
  return HumanBytes(index.memory_bytes) + " of memory and " + HumanBytes(index.mapped_bytes) + " mapped (" +
         std::to_string(index.memory_bytes / count) + " and " + std::to_string(index.mapped_bytes / count) +
         " bytes a vector)";
}

std::string DescribeGarbage(const IndexInfo& index) {
  if (index.garbage_count == 0) return "";
  std::string text = ", " + std::to_string(index.garbage_count) + " places of deleted vectors";
  if (index.repair_total_count == 0) return text;
  return text + ", coming back: " + std::to_string(index.repair_done_count) + " of " +
         std::to_string(index.repair_total_count) + " done";
}

}  // namespace

Status PrintStats(Database& database, Format format) {
  FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats stats, database.Stats());
  std::vector<std::pair<std::string, std::string>> members = {
      {"storage", stats.storage},
      {"replica", stats.replica + (stats.identity_forked ? " (new: this directory was copied or restored)" : "")},
      {"disk", HumanBytes(stats.disk_bytes)},
      {"blobs", std::to_string(stats.blob_count) + ", " + HumanBytes(stats.blob_bytes)},
      {"change log",
       std::to_string(stats.log_entry_count) + " entries up to sequence " + std::to_string(stats.last_sequence)},
      {"rescued values", std::to_string(stats.rescued_count)},
      {"vectors pending", std::to_string(stats.pending_embedding_count)},
      {"predictions pending", std::to_string(stats.pending_prediction_count)},
      {"predictions failed", std::to_string(stats.failed_prediction_count)},
  };
  for (const CollectionStats& collection : stats.collections) {
    members.emplace_back("collection " + collection.name, std::to_string(collection.document_count) + " documents");
  }
  for (const IndexInfo& index : stats.indexes) {
    if (index.kind == IndexKind::kPredictive) {
      members.emplace_back(
          "index " + index.name,
          std::to_string(index.entry_count) + " entries, " + std::to_string(index.pending_count) + " pending" +
              (index.failed_count == 0 ? "" : ", " + std::to_string(index.failed_count) + " failed: " + index.failure));
      continue;
    }
    if (index.kind == IndexKind::kField) {
      members.emplace_back(
          "index " + index.name,
          std::to_string(index.entry_count) + " entries" + (index.is_ready ? "" : ", being built") +
              (index.conflict_count == 0 ? "" : ", " + std::to_string(index.conflict_count) + " unique values twice"));
      continue;
    }
    members.emplace_back("index " + index.name, std::to_string(index.vector_count) + " vectors of " +
                                                    std::to_string(index.options.dimension) + " dimensions, " +
                                                    DescribeMemory(index) + ", opened from " + index.opened_from +
                                                    ", " + index.strategy + DescribeGarbage(index));
  }
  return PrintObject(stdout, format, StatsJson(stats), members);
}

Status RunVerify(const ListArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const VerifyReport report, database->Verify());
  std::vector<std::pair<std::string, std::string>> members = {
      {"documents", std::to_string(report.document_count)},        {"vectors", std::to_string(report.vector_count)},
      {"index entries", std::to_string(report.index_entry_count)}, {"blobs", std::to_string(report.blob_count)},
      {"problems", std::to_string(report.problems.size())},
  };
  for (const std::string& problem : report.problems) members.emplace_back("problem", problem);
  FORESHORE_RETURN_IF_ERROR(PrintObject(stdout, arguments.format, VerifyJson(report), members));
  if (report.problems.empty()) return Status::Ok();
  return Status::Corruption("database \"" + arguments.database + "\": found " + std::to_string(report.problems.size()) +
                            " problems, expected none; the first: " + report.problems.front());
}

Status RunCompact(const CompactArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats before, database->Stats());
  FORESHORE_RETURN_IF_ERROR(database->Compact());
  FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats after, database->Stats());
  Say(HumanBytes(before.disk_bytes) + " before, " + HumanBytes(after.disk_bytes) + " after");
  return database->Close();
}

Status RunBackup(const BackupArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(database->Backup(arguments.destination));
  return database->Close();
}

}  // namespace foreshore::cli
