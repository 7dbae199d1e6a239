#include "sync/client/sync_session.h"

#include <algorithm>

#include "storage/base/coding.h"
#include "storage/base/log.h"
#include "sync/protocol/document_codec.h"
#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

// How often in one session the gateway may turn out to know something else than we believed. Copies, restores and a
// wrong clock together take four.
constexpr unsigned kChangeOfMindCountMax = 8;
// A busy writer could keep a session going for ever; what is left waits for the next one.
constexpr unsigned kRoundCountMax = 16;

}  // namespace

BatchLimits TransferSizes::batch() const {
  return {std::max<std::size_t>(1, options_.batch_change_count_max >> shrink_),
          std::max<std::size_t>(4096, options_.batch_bytes_max >> shrink_)};
}
BatchLimits TransferSizes::page() const {
  return {std::max<std::size_t>(1, options_.page_change_count_max >> shrink_),
          std::max<std::size_t>(4096, options_.page_bytes_max >> shrink_)};
}
std::size_t TransferSizes::chunk_bytes() const {
  return std::max<std::size_t>(4096, options_.chunk_bytes >> shrink_);
}
void TransferSizes::NoteFailure() {
  shrink_ = std::min(shrink_ + 1, kShrinkMax);
  success_count_ = 0;
}
// Slower than it shrinks, so that a narrow path is not tried at every second request.
void TransferSizes::NoteSuccess() {
  if (shrink_ == 0 || ++success_count_ < kSuccessesToGrow) return;
  --shrink_;
  success_count_ = 0;
}

SyncSession::SyncSession(DatabaseCore& core, GatewayLink& link, const SyncOptions& options, TransferSizes& sizes,
                         const SyncProgressCallback& progress)
    : core_(core),
      link_(link),
      options_(options),
      sizes_(sizes),
      progress_(progress),
      bytes_sent_before_(link.bytes_sent()),
      bytes_received_before_(link.bytes_received()) {}

Result<SyncReport> SyncSession::Run() {
  report_.identity_forked = core_.identity_forked();
  FORESHORE_RETURN_IF_ERROR(BeginState());
  for (unsigned round = 0; round < kRoundCountMax; ++round) {
    FORESHORE_ASSIGN_OR_RETURN(const bool again, RunRound());
    if (!again) break;
  }
  FORESHORE_RETURN_IF_ERROR(FetchBlobs());
  FORESHORE_RETURN_IF_ERROR(MoveIdleCursors());
  FORESHORE_RETURN_IF_ERROR(Report());
  return report_;
}

Result<bool> SyncSession::RunRound() {
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(bool is_level, SayHello());
    if (is_level) {
      FORESHORE_ASSIGN_OR_RETURN(is_level, Push());
    }
    if (is_level) {
      FORESHORE_ASSIGN_OR_RETURN(is_level, Pull());
    }
    if (is_level) break;
    if (++change_of_mind_count_ > kChangeOfMindCountMax) {
      return Status::Conflict("gateway \"" + options_.url + "\": contradicts itself");
    }
  }
  // What was written meanwhile.
  FORESHORE_ASSIGN_OR_RETURN(const PushPlan rest,
                             PushPlan::Make(core_, planned_sequence_, state_.acknowledged_hlc, hlc_max_));
  return rest.left_count() > 0;
}

Status SyncSession::BeginState() {
  FORESHORE_ASSIGN_OR_RETURN(state_, LoadSyncState(core_));
  std::optional<std::int64_t> push_cursor;
  bool is_trimmed = false;
  std::int64_t sequence = 0;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(push_cursor, core_.log().GetCursor(view->txn(), kPushCursor));
    FORESHORE_ASSIGN_OR_RETURN(const std::int64_t tail, core_.log().Tail(view->txn()));
    is_trimmed = tail > 1;
    sequence = view->sequence();
  }
  if (push_cursor) return Status::Ok();
  // The first time. Where the log no longer begins at the beginning, every document is sent whole.
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  if (is_trimmed) state_.BeginResync(sequence);
  FORESHORE_RETURN_IF_ERROR(view->MoveLogCursor(kPushCursor, is_trimmed ? sequence : 0));
  FORESHORE_RETURN_IF_ERROR(view->MoveLogCursor(kBlobsCursor, sequence));
  FORESHORE_RETURN_IF_ERROR(StoreSyncState(*view, state_));
  return view->Commit();
}

Result<SyncReply> SyncSession::Call(decltype(SyncRequest::body) body) {
  const bool is_small = std::holds_alternative<HelloRequest>(body) || std::holds_alternative<BlobHaveRequest>(body);
  Result<SyncReply> reply = link_.Call(core_.replica(), std::move(body));
  if (!reply.ok() && reply.status().code() == ErrorCode::kNetwork) sizes_.NoteFailure();
  if (reply.ok() && !is_small) sizes_.NoteSuccess();
  return reply;
}

Status SyncSession::Store() {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  FORESHORE_RETURN_IF_ERROR(StoreSyncState(*view, state_));
  return view->Commit();
}

Status SyncSession::Report() {
  report_.totals.bytes_sent = link_.bytes_sent() - bytes_sent_before_;
  report_.totals.bytes_received = link_.bytes_received() - bytes_received_before_;
  if (!progress_ || progress_(report_.totals)) return Status::Ok();
  return Status::Cancelled("sync: stopped by the caller");
}

Result<bool> SyncSession::SayHello() {
  FORESHORE_ASSIGN_OR_RETURN(const SyncReply reply, Call(HelloRequest{state_.pull}));
  if (std::holds_alternative<MustResyncReply>(reply)) {
    FORESHORE_RETURN_IF_ERROR(Resync(std::nullopt));
    return false;
  }
  const auto* hello = std::get_if<HelloReply>(&reply);
  if (hello == nullptr) return UnexpectedReply("hello");
  target_ = hello->head.sequence;
  return Reconcile(hello->acknowledged);
}

Result<bool> SyncSession::Reconcile(const std::optional<ChainPosition>& found) {
  const ChainPosition& mine = state_.chain;
  if (!found) {
    if (mine.sequence == 0) return true;
    FORESHORE_RETURN_IF_ERROR(Resync(found));
    return false;
  }
  if (*found == mine) return true;
  if (const PendingBatch* batch = state_.FindPending(*found)) {
    FORESHORE_RETURN_IF_ERROR(Acknowledge(*found, PendingBatch(*batch)));
    return true;
  }
  if (found->chain == mine.chain) {
    // More than we ever sent: a copy of this directory sent it. Less, or something else: the gateway lost our batches.
    const bool is_forked = found->sequence >= mine.sequence;
    if (found->sequence <= mine.sequence) FORESHORE_RETURN_IF_ERROR(Resync(found));
    if (is_forked) FORESHORE_RETURN_IF_ERROR(Fork());
    return false;
  }
  if (mine.sequence == 0 && state_.replaces == found->chain) return true;
  if (mine.sequence != 0) FORESHORE_RETURN_IF_ERROR(Resync(std::nullopt));
  FORESHORE_RETURN_IF_ERROR(Fork());
  return false;
}

Status SyncSession::Fork() {
  Log(LogLevel::kWarning, "sync",
      "this database is a copy of another that syncs; it goes on under an identity of its own");
  FORESHORE_RETURN_IF_ERROR(core_.ForkIdentity());
  report_.identity_forked = true;
  state_.MintChain(core_.replica(), core_.random());
  return Store();
}

Status SyncSession::Resync(const std::optional<ChainPosition>& found) {
  Log(LogLevel::kWarning, "sync", "the gateway lost what it had acknowledged; everything is sent again");
  report_.resynced = true;
  const std::int64_t push_cursor = state_.resync ? state_.resync->push_cursor : -1;
  // Its first batch must not be taken for a copy's.
  std::optional<ChainId> replaces = state_.replaces;
  if (state_.chain.sequence != 0) replaces = state_.chain.chain;
  if (found) replaces = found->chain;
  state_.MintChain(core_.replica(), core_.random());
  state_.replaces = replaces;
  state_.BeginResync(push_cursor);
  at_gateway_.clear();
  return Store();
}

Status SyncSession::Acknowledge(const ChainPosition& position, const PendingBatch& batch) {
  SyncState next = state_;
  if (position != next.chain) {
    next.chain = position;
    next.replaces.reset();
    next.pending.clear();
  }
  next.acknowledged_hlc = std::max(next.acknowledged_hlc, batch.end_hlc);
  if (batch.resync) next.resync = batch.resync;
  if (batch.ends_resync) next.resync.reset();
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  FORESHORE_RETURN_IF_ERROR(StoreSyncState(*view, next));
  if (batch.push_cursor >= 0) FORESHORE_RETURN_IF_ERROR(view->MoveLogCursor(kPushCursor, batch.push_cursor));
  FORESHORE_RETURN_IF_ERROR(view->Commit());
  state_ = std::move(next);
  return Status::Ok();
}

Result<bool> SyncSession::Push() {
  while (state_.resync) {
    FORESHORE_ASSIGN_OR_RETURN(PushPortion portion, NextFullPortion(core_, *state_.resync, sizes_.batch()));
    FORESHORE_ASSIGN_OR_RETURN(const bool is_sent, SendPortion(portion));
    if (!is_sent) return false;
  }
  std::optional<std::int64_t> cursor;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(cursor, core_.log().GetCursor(view->txn(), kPushCursor));
  }
  Result<PushPlan> plan = PushPlan::Make(core_, cursor.value_or(0), state_.acknowledged_hlc, hlc_max_);
  if (!plan.ok() && plan.status().code() == ErrorCode::kConflict) {
    state_.BeginResync(core_.last_sequence());
    FORESHORE_RETURN_IF_ERROR(Store());
    return false;
  }
  if (!plan.ok()) return plan.status();
  planned_sequence_ = plan->sequence();
  while (plan->left_count() > 0) {
    report_.totals.push_lag = plan->left_count();
    FORESHORE_ASSIGN_OR_RETURN(PushPortion portion, plan->Next(sizes_.batch()));
    FORESHORE_ASSIGN_OR_RETURN(const bool is_sent, SendPortion(portion));
    if (!is_sent) return false;
  }
  report_.totals.push_lag = 0;
  return true;
}

Result<bool> SyncSession::SendPortion(PushPortion& portion) {
  if (portion.changes.empty()) {  // Nothing to say, and still a step forward.
    FORESHORE_RETURN_IF_ERROR(Acknowledge(state_.chain, portion.after));
    return true;
  }
  FORESHORE_RETURN_IF_ERROR(UploadBlobs(portion.blobs));
  const ChainPosition after = NextChainPosition(state_.chain, portion.changes);
  portion.after.hash = after.hash;
  if (state_.FindPending(after) == nullptr) {
    if (state_.pending.size() == kPendingCountMax) state_.pending.erase(state_.pending.begin());
    state_.pending.push_back(portion.after);
    FORESHORE_RETURN_IF_ERROR(Store());
  }
  PushRequest push;
  push.base = state_.chain;
  push.replaces = state_.replaces;
  push.changes = std::move(portion.changes);
  push.unit_ends = portion.unit_ends;
  push.cursor = state_.pull;
  const std::size_t change_count = push.changes.size();
  FORESHORE_ASSIGN_OR_RETURN(const SyncReply reply, Call(std::move(push)));
  if (const auto* accepted = std::get_if<PushReply>(&reply)) {
    if (accepted->acknowledged != after) return UnexpectedReply("an acknowledgement of this batch");
    FORESHORE_RETURN_IF_ERROR(Acknowledge(after, portion.after));
    target_ = std::max(target_, accepted->head.sequence);
    report_.totals.documents_pushed += change_count;
    FORESHORE_RETURN_IF_ERROR(Report());
    return true;
  }
  if (const auto* forked = std::get_if<ForkedReply>(&reply)) {
    FORESHORE_RETURN_IF_ERROR(Reconcile(forked->acknowledged).status());
    return false;
  }
  if (std::holds_alternative<MustResyncReply>(reply)) {
    FORESHORE_RETURN_IF_ERROR(Resync(std::nullopt));
    return false;
  }
  if (const auto* refused = std::get_if<ClockRefusedReply>(&reply)) {
    FORESHORE_RETURN_IF_ERROR(CorrectClock(*refused));
    return false;
  }
  return UnexpectedReply("push");
}

Status SyncSession::CorrectClock(const ClockRefusedReply& refused) {
  const std::int64_t offset_ms = refused.server_unix_ms - core_.clock().NowUnixMs();
  if (report_.clock_corrected) {
    return Status::Conflict("gateway \"" + options_.url + "\": changes are " + std::to_string(refused.ahead_ms) +
                            " ms ahead of its clock, and stamping the unsent ones anew did not help");
  }
  Log(LogLevel::kWarning, "sync",
      "the gateway's clock differs by " + std::to_string(offset_ms) + " ms; unsent changes are stamped anew");
  FORESHORE_RETURN_IF_ERROR(core_.RestampUnacknowledged(state_.acknowledged_hlc, offset_ms));
  report_.clock_corrected = true;
  hlc_max_ = HlcFromUnixMs(refused.server_unix_ms + kClockSkewMsMax);
  state_.pending.clear();
  return Store();
}

Result<bool> SyncSession::Pull() {
  while (state_.pull.sequence < target_) {
    PullRequest pull;
    pull.cursor = state_.pull;
    pull.target = target_;
    pull.change_count_max = static_cast<std::uint32_t>(sizes_.page().change_count_max);
    pull.page_bytes_max = static_cast<std::uint32_t>(sizes_.page().bytes_max);
    if (state_.chain.sequence != 0) pull.own = state_.chain;
    FORESHORE_ASSIGN_OR_RETURN(const SyncReply reply, Call(pull));
    if (std::holds_alternative<UpToDateReply>(reply)) return true;
    if (std::holds_alternative<MustResyncReply>(reply)) {
      FORESHORE_RETURN_IF_ERROR(Resync(std::nullopt));
      return false;
    }
    const auto* page = std::get_if<PageReply>(&reply);
    if (page == nullptr) return UnexpectedReply("page");
    if (page->next.sequence <= state_.pull.sequence) return UnexpectedReply("a page that goes forward");
    FORESHORE_RETURN_IF_ERROR(ApplyPage(*page));
    report_.totals.pull_lag = static_cast<std::uint64_t>(std::max<std::int64_t>(0, target_ - state_.pull.sequence));
    FORESHORE_RETURN_IF_ERROR(Report());
  }
  return true;
}

// The page and the cursor, in one transaction.
Status SyncSession::ApplyPage(const PageReply& page) {
  std::vector<SyncChange> changes;
  for (const ByteString& bytes : page.changes) {
    Result<SyncChange> change = DecodeChange(bytes);
    if (!change.ok()) return change.status().WithContext("gateway \"" + options_.url + "\": page");
    FORESHORE_RETURN_IF_ERROR(core_.EnsureCollection(change->collection));
    changes.push_back(std::move(*change));
  }
  SyncState next = state_;
  next.pull = page.next;
  std::uint64_t changed_count = 0;
  std::uint64_t lost_count = 0;
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  for (const SyncChange& change : changes) {
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, view->catalog().Require(change.collection));
    FORESHORE_ASSIGN_OR_RETURN(const auto outcome, view->Apply(*collection, change.change));
    changed_count += outcome.changed ? 1 : 0;
    lost_count += outcome.lost_count;
  }
  FORESHORE_RETURN_IF_ERROR(StoreSyncState(*view, next));
  FORESHORE_RETURN_IF_ERROR(view->Commit());
  state_ = std::move(next);
  report_.totals.documents_pulled += changes.size();
  report_.documents_changed += changed_count;
  report_.values_rescued += lost_count;
  return Status::Ok();
}

// Past changes that came by sync, so that the log may be trimmed.
Status SyncSession::MoveIdleCursors() {
  std::int64_t push_cursor = 0;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(const auto stored, core_.log().GetCursor(view->txn(), kPushCursor));
    push_cursor = stored.value_or(0);
  }
  FORESHORE_ASSIGN_OR_RETURN(const PushPlan rest,
                             PushPlan::Make(core_, push_cursor, state_.acknowledged_hlc, hlc_max_));
  if (state_.resync || rest.left_count() > 0 || rest.sequence() <= push_cursor) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  FORESHORE_RETURN_IF_ERROR(view->MoveLogCursor(kPushCursor, rest.sequence()));
  return view->Commit();
}

}  // namespace foreshore
