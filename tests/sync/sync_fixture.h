// A real gateway on an ephemeral port, devices with real directories, and a transport that fails when told.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/database/core.h"
#include "foreshore/gateway.h"
#include "foreshore/sync.h"
#include "storage/base/clock.h"
#include "tests/temporary_directory.h"

namespace foreshore {

// 2026-11-22, so that no test depends on the day it runs.
inline constexpr std::int64_t kTestUnixMs = 1'795'000'000'000;

class GatewayFixture {
 public:
  GatewayFixture() {
    options.store_path = directory_.path() + "/gateway";
    options.durability = Durability::kNormal;
    options.now_unix_ms = [this] { return now_unix_ms; };
  }

  void Start() {
    auto started = Gateway::Start(options);
    REQUIRE_MESSAGE(started.ok(), started.status().ToString());
    gateway = std::move(started).value();
    options.port = gateway->port();  // The same after a restart.
  }
  void Stop() {
    const Status stopped = gateway->Stop();
    REQUIRE_MESSAGE(stopped.ok(), stopped.ToString());
    gateway.reset();
  }
  // The gateway's directory as it was at some time before.
  void Save() { std::filesystem::copy(options.store_path, directory_.path() + "/saved", kCopyAll); }
  void Restore() {
    std::filesystem::remove_all(options.store_path);
    std::filesystem::copy(directory_.path() + "/saved", options.store_path, kCopyAll);
  }
  void Wipe() { std::filesystem::remove_all(options.store_path); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(options.port); }

  GatewayOptions options;
  std::unique_ptr<Gateway> gateway;
  std::int64_t now_unix_ms = kTestUnixMs;

 private:
  static constexpr auto kCopyAll = std::filesystem::copy_options::recursive;
  TemporaryDirectory directory_;
};

// Forwards to libcurl unless `fail` says otherwise for the call of that number (from 0).
class FaultyTransport : public HttpTransport {
 public:
  enum class Fault { kNone, kBeforeSending, kReplyLost };

  FaultyTransport() {
    auto made = MakeCurlTransport();
    REQUIRE(made.ok());
    inner_ = std::move(made).value();
  }
  Result<HttpReply> Post(const HttpRequest& request) override {
    const std::size_t number = call_count++;
    const Fault fault = fail ? fail(number) : Fault::kNone;
    if (fault == Fault::kBeforeSending) return Status::Network("injected: not sent");
    Result<HttpReply> reply = inner_->Post(request);
    if (fault == Fault::kReplyLost) return Status::Network("injected: reply lost");
    if (reply.ok() && after) after(number);
    return reply;
  }
  void Cancel() override { inner_->Cancel(); }
  void Reset() override { inner_->Reset(); }

  std::function<Fault(std::size_t)> fail;
  std::function<void(std::size_t)> after;
  std::size_t call_count = 0;

 private:
  std::shared_ptr<HttpTransport> inner_;
};

class Device {
 private:
  TemporaryDirectory directory_;  // First, so that it goes last.
  static inline std::uint64_t device_count_ = 0;
  // Repeatable; another for every device, and for a copied one too. Shared with the database.
  std::shared_ptr<SeededRandom> random_ = std::make_shared<SeededRandom>(++device_count_);

 public:
  explicit Device(GatewayFixture& gateway, StorageKind storage = StorageKind::kSqlite)
      : transport(std::make_shared<FaultyTransport>()), clock(std::make_shared<ManualClock>(kTestUnixMs)) {
    options.storage = storage;
    options.create = true;
    options.durability = Durability::kNormal;
    options.embed_in_background = false;
    sync_options.url = gateway.url();
    sync_options.transport = transport;
  }

  std::string path() const { return directory_.path() + "/db.foreshore"; }
  void Open() {
    Environment environment;
    environment.clock = clock;
    environment.random = random_;
    auto opened = DatabaseCore::Open(path(), options, environment);
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    core = std::move(opened).value();
  }
  void Close() {
    const Status closed = core->Close();
    REQUIRE_MESSAGE(closed.ok(), closed.ToString());
    core.reset();
  }
  void Reopen() {
    Close();
    Open();
  }
  // As a backup of the whole directory, taken while it is closed, would restore it.
  void CopyTo(const Device& other) const {
    std::filesystem::remove_all(other.path());
    std::filesystem::copy(path(), other.path(), std::filesystem::copy_options::recursive);
  }

  Result<SyncReport> TrySync() {
    FORESHORE_ASSIGN_OR_RETURN(const auto client, SyncClient::Create(*core, sync_options));
    return client->SyncOnce();
  }
  SyncReport Sync() {
    const Result<SyncReport> report = TrySync();
    REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    return *report;
  }

  void Put(const std::string& id, const std::string& json) {
    Write([&](WriteView& view, const CollectionDefinition& notes) { return view.Put(notes, id, json); });
  }
  void Patch(const std::string& id, const std::string& json) {
    Write([&](WriteView& view, const CollectionDefinition& notes) { return view.Patch(notes, id, json); });
  }
  void Delete(const std::string& id) {
    Write([&](WriteView& view, const CollectionDefinition& notes) { return view.Delete(notes, id); });
  }
  // One transaction over the collection "notes", which is made where it is missing.
  void Write(const std::function<Status(WriteView&, const CollectionDefinition&)>& body) {
    clock->Advance(1);
    const Status ensured = core->EnsureCollection("notes");
    REQUIRE_MESSAGE(ensured.ok(), ensured.ToString());
    auto view = core->BeginWrite();
    REQUIRE(view.ok());
    auto notes = (*view)->catalog().Require("notes");
    REQUIRE(notes.ok());
    const Status written = body(**view, **notes);
    REQUIRE_MESSAGE(written.ok(), written.ToString());
    const Status committed = (*view)->Commit();
    REQUIRE_MESSAGE(committed.ok(), committed.ToString());
  }

  // The body, or "" where there is none.
  std::string Get(const std::string& id, const std::string& collection = "notes") {
    auto view = core->BeginRead();
    REQUIRE(view.ok());
    auto notes = (*view)->catalog().Require(collection);
    if (!notes.ok()) return "";
    auto record = (*view)->Get(**notes, id);
    REQUIRE_MESSAGE(record.ok(), record.status().ToString());
    return *record ? std::string((*record)->body) : "";
  }
  // All living documents of a collection, one line each, in order of ids.
  std::string Export(const std::string& collection = "notes") {
    std::map<std::string, std::string> bodies;
    auto view = core->BeginRead();
    REQUIRE(view.ok());
    auto notes = (*view)->catalog().Require(collection);
    if (!notes.ok()) return "";
    auto cursor = (*view)->Scan(**notes);
    REQUIRE(cursor.ok());
    while (true) {
      auto more = (*cursor)->Next();
      REQUIRE(more.ok());
      if (!*more) break;
      bodies.emplace((*cursor)->id(), (*cursor)->body());
    }
    std::string text;
    for (const auto& [id, body] : bodies) text += id + " " + body + "\n";
    return text;
  }
  std::vector<LostValue> Rescued(const std::string& id) {
    auto view = core->BeginRead();
    REQUIRE(view.ok());
    auto notes = (*view)->catalog().Require("notes");
    REQUIRE(notes.ok());
    auto lost = (*view)->LoadRescued(**notes, id);
    REQUIRE_MESSAGE(lost.ok(), lost.status().ToString());
    return *lost;
  }

  DatabaseOptions options;
  SyncOptions sync_options;
  std::shared_ptr<FaultyTransport> transport;  // Shared with the client under test.
  std::shared_ptr<ManualClock> clock;          // Shared with the database.
  std::unique_ptr<DatabaseCore> core;
};

}  // namespace foreshore
