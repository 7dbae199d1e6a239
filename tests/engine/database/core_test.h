// A database in a temporary directory, opened and reopened by tests, on either backend.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "engine/database/core.h"
#include "tests/temporary_directory.h"

namespace foreshore {

// The backends of this build.
#ifdef FORESHORE_WITH_ROCKSDB
inline constexpr StorageKind kKinds[] = {StorageKind::kSqlite, StorageKind::kRocksdb};
#else
inline constexpr StorageKind kKinds[] = {StorageKind::kSqlite};
#endif

class CoreFixture {
 public:
  // `directory`: one that outlives the fixture; empty: a temporary one of its own.
  explicit CoreFixture(StorageKind storage = StorageKind::kSqlite, std::string directory = {})
      : given_directory_(std::move(directory)) {
    options.storage = storage;
    options.create = true;
    options.embed_in_background = false;
  }

  std::string path() const {
    return (given_directory_.empty() ? directory_.path() : given_directory_) + "/db.foreshore";
  }

  void Open() {
    auto opened = DatabaseCore::Open(path(), options, environment);
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    core = std::move(opened).value();
  }
  // Closes cleanly and opens again.
  void Reopen() {
    Close();
    Open();
  }
  void Close() {
    const Status closed = core->Close();
    REQUIRE_MESSAGE(closed.ok(), closed.ToString());
    core.reset();
  }

  Status Put(const std::string& collection, std::string_view id, std::string_view json) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
    FORESHORE_ASSIGN_OR_RETURN(const auto* definition, view->catalog().Require(collection));
    FORESHORE_RETURN_IF_ERROR(view->Put(*definition, id, json));
    return view->Commit();
  }
  Status Delete(const std::string& collection, std::string_view id) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
    FORESHORE_ASSIGN_OR_RETURN(const auto* definition, view->catalog().Require(collection));
    FORESHORE_RETURN_IF_ERROR(view->Delete(*definition, id));
    return view->Commit();
  }
  // The body, or "" where there is none.
  std::string Get(const std::string& collection, std::string_view id) {
    auto view = core->BeginRead();
    REQUIRE(view.ok());
    auto definition = (*view)->catalog().Require(collection);
    REQUIRE(definition.ok());
    auto record = (*view)->Get(**definition, id);
    REQUIRE_MESSAGE(record.ok(), record.status().ToString());
    return *record ? std::string((*record)->body) : "";
  }
  // The ids of the nearest `k` in the reader's order.
  std::vector<std::string> Nearest(ReadView& view, const std::string& collection, const std::string& field,
                                   std::vector<float> query, std::size_t k) {
    const auto* definition = view.catalog().Find(collection);
    REQUIRE(definition != nullptr);
    const auto* index = definition->FindVectorIndex(field);
    REQUIRE(index != nullptr);
    auto cursor = view.Nearest(*index, query, {.k_hint = k, .ef = 0});
    REQUIRE_MESSAGE(cursor.ok(), cursor.status().ToString());
    std::vector<std::string> ids;
    while (ids.size() < k) {
      auto next = (*cursor)->Next();
      REQUIRE(next.ok());
      if (!*next) break;
      auto record = view.GetByDocid(*definition, (*next)->docid);
      REQUIRE(record.ok());
      REQUIRE(record->has_value());
      ids.emplace_back((*record)->id);
    }
    return ids;
  }
  void CheckVerified() {
    auto report = core->Verify();
    REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    for (const std::string& problem : report->problems) FAIL_CHECK(problem);
  }

  DatabaseOptions options;
  Environment environment;

 private:
  std::string given_directory_;
  TemporaryDirectory directory_;  // Goes after the database in it.

 public:
  std::unique_ptr<DatabaseCore> core;
};

}  // namespace foreshore
