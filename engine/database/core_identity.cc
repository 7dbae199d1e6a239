// Becoming another replica, and moving local stamps to a corrected clock.
#include <algorithm>
#include <map>
#include <set>

#include "engine/database/core.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"

namespace foreshore {

Status DatabaseCore::ForkIdentity() {
  writer_gate_.Enter("a fork of the identity");
  const WriterGatePass pass(writer_gate_);
  const ByteString fresh = random_->Generate(replica_.size());
  std::copy(fresh.begin(), fresh.end(), replica_.begin());
  identity_forked_ = true;
  FORESHORE_RETURN_IF_ERROR(MintIdentity(epoch_ + 1));
  MintSession();
  Log(LogLevel::kWarning, "sync",
      path() + ": this directory is a copy of another device's; it goes on as a new replica");
  return Status::Ok();
}

void DatabaseCore::ObserveHlc(std::uint64_t hlc) {
  writer_gate_.Enter("sync");
  const WriterGatePass pass(writer_gate_);
  hybrid_clock_->Observe(hlc);
}

namespace {

// Old local times after the acknowledged one, each to its replacement.
using HlcMap = std::map<std::uint64_t, std::uint64_t>;

void MoveStamp(Stamp& stamp, const HlcMap& moved, const SessionTable& sessions) {
  if (!sessions.IsLocal(stamp.session)) return;
  if (const auto it = moved.find(stamp.hlc); it != moved.end()) stamp.hlc = it->second;
}

// An entry covers all writes up to its time, so it moves to the replacement of the last one it covers.
VersionVector MoveVector(const VersionVector& vector, const HlcMap& moved, const SessionTable& sessions) {
  VersionVector result;
  for (const VersionVector::Entry& entry : vector.entries()) {
    std::uint64_t hlc = entry.hlc;
    if (sessions.IsLocal(entry.session)) {
      auto it = moved.upper_bound(hlc);
      if (it != moved.begin()) hlc = std::prev(it)->second;
    }
    result.Add({hlc, entry.session, entry.op});
  }
  return result;
}

void CollectLocal(const Stamp& stamp, std::uint64_t acknowledged_hlc, const SessionTable& sessions,
                  std::set<std::uint64_t>& times) {
  if (stamp.hlc > acknowledged_hlc && sessions.IsLocal(stamp.session)) times.insert(stamp.hlc);
}

}  // namespace

Status DatabaseCore::RestampUnacknowledged(std::uint64_t acknowledged_hlc, std::int64_t clock_offset_ms) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
  struct Place {
    const CollectionDefinition* collection;
    std::int64_t docid;
  };
  std::vector<Place> places;
  std::set<std::uint64_t> times;
  std::uint64_t floor = acknowledged_hlc;
  for (const CollectionDefinition& collection : view->catalog().collections) {
    if (collection.is_readings()) continue;  // They carry no stamps.
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->txn().NewCursor(collection.documents));
    for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid()) break;
      FORESHORE_ASSIGN_OR_RETURN(const DocumentState state, DecodeRecord(cursor->value(), sessions_));
      const std::size_t before = times.size();
      CollectLocal(state.life_stamp, acknowledged_hlc, sessions_, times);
      bool touched = times.size() != before ||
                     (state.life_stamp.hlc > acknowledged_hlc && sessions_.IsLocal(state.life_stamp.session));
      for (const auto& [path, value] : state.registers) {
        CollectLocal(value.stamp, acknowledged_hlc, sessions_, times);
        touched |= value.stamp.hlc > acknowledged_hlc && sessions_.IsLocal(value.stamp.session);
      }
      for (const VersionVector::Entry& entry : state.seen.entries()) {
        const bool is_local = sessions_.IsLocal(entry.session);
        if (!is_local) floor = std::max(floor, entry.hlc);
        touched |= is_local && entry.hlc > acknowledged_hlc;
        CollectLocal({entry.hlc, entry.session, entry.op}, acknowledged_hlc, sessions_, times);
      }
      if (touched) places.push_back({&collection, cursor->integer_key()});
    }
  }
  // The corrected clock begins after everything that was shared; the old times keep their order on it.
  auto corrected = std::make_unique<HybridClock>(clock_, floor);
  corrected->SetOffsetMs(clock_offset_ms);
  HlcMap moved;
  for (const std::uint64_t time : times) moved[time] = corrected->Tick();
  for (const Place& place : places) {
    FORESHORE_ASSIGN_OR_RETURN(auto loaded, view->LoadStateByDocid(*place.collection, place.docid));
    if (!loaded) continue;
    DocumentState& state = *loaded;
    MoveStamp(state.life_stamp, moved, sessions_);
    for (auto& [path, value] : state.registers) {
      MoveStamp(value.stamp, moved, sessions_);
      MoveStamp(value.creation, moved, sessions_);
    }
    state.seen = MoveVector(state.seen, moved, sessions_);
    for (DocumentState::SeenBefore& before : state.seen_history) {
      before.seen = MoveVector(before.seen, moved, sessions_);
      auto it = moved.upper_bound(before.hlc_boundary);
      if (it != moved.begin()) before.hlc_boundary = std::prev(it)->second;
    }
    const std::string body = Materialise(state);
    FORESHORE_RETURN_IF_ERROR(
        view->write_txn_->Put(place.collection->documents, place.docid, EncodeRecord(state, body, sessions_)));
    view->wrote_ = true;
  }
  // What lost or was overtaken before it was sent keeps its old stamp: with a newer one than its rival's it would win
  // everywhere but here. (It was older than a shared write, so a peer accepts its time, but for a change of life.)
  ByteString clock;
  AppendVarint(clock, corrected->last());
  FORESHORE_RETURN_IF_ERROR(view->PutSetting("clock", clock));
  auto previous = std::move(hybrid_clock_);
  hybrid_clock_ = std::move(corrected);
  const Status committed = view->Commit();
  if (!committed.ok()) hybrid_clock_ = std::move(previous);
  return committed;
}

}  // namespace foreshore
