#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "foreshore/database.h"
#include "foreshore/sync.h"
#include "storage/base/log.h"
#include "sync/client/gateway_link.h"
#include "sync/client/sync_session.h"
#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

// How often Follow looks whether it was asked to stop while it waits for a local change.
constexpr std::chrono::milliseconds kLookInterval{250};

Status CheckRange(const char* name, std::size_t value, std::size_t min, std::size_t max) {
  if (value >= min && value <= max) return Status::Ok();
  return Status::InvalidArgument(std::string("sync: ") + name + " is " + std::to_string(value) + ", expected " +
                                 std::to_string(min) + ".." + std::to_string(max));
}

Status CheckOptions(const SyncOptions& options) {
  const bool has_scheme = options.url.starts_with("http://") || options.url.starts_with("https://");
  const bool is_clean = std::none_of(options.url.begin(), options.url.end(),
                                     [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7F; });
  if (!has_scheme || !is_clean) {
    return Status::InvalidArgument("sync: url is \"" + options.url + "\", expected http://… or https://…");
  }
  if (std::any_of(options.token.begin(), options.token.end(), [](char c) {
        return static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7F;
      })) {
    return Status::InvalidArgument("sync: the token holds a space, control character or non-ASCII byte");
  }
  constexpr std::size_t kPortionBytesMax = 3 << 20;
  FORESHORE_RETURN_IF_ERROR(
      CheckRange("batch_change_count_max", options.batch_change_count_max, 1, kBatchChangeCountMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("batch_bytes_max", options.batch_bytes_max, 4096, kPortionBytesMax));
  FORESHORE_RETURN_IF_ERROR(
      CheckRange("page_change_count_max", options.page_change_count_max, 1, kBatchChangeCountMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("page_bytes_max", options.page_bytes_max, 4096, kPortionBytesMax));
  FORESHORE_RETURN_IF_ERROR(CheckRange("chunk_bytes", options.chunk_bytes, 4096, kPortionBytesMax));
  if (options.backoff_min.count() <= 0 || options.backoff_max < options.backoff_min) {
    return Status::InvalidArgument("sync: backoff is empty, expected 0 < backoff_min <= backoff_max");
  }
  return Status::Ok();
}

void WaitReally(std::chrono::milliseconds duration, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, duration, [] { return false; });
}

bool IsTransient(const Status& status) {
  return status.code() == ErrorCode::kNetwork || status.code() == ErrorCode::kBusy;
}

}  // namespace

class SyncClient::Impl {
 public:
  Impl(DatabaseCore& core, const SyncOptions& options, std::shared_ptr<HttpTransport> transport)
      : core_(core), options_(options), link_(options_, std::move(transport)), sizes_(options_) {
    if (!options_.wait) options_.wait = WaitReally;
  }

  Result<SyncReport> SyncOnce(const SyncProgressCallback& progress) {
    std::unique_lock lock(running_, std::try_to_lock);
    if (!lock) return Status::Busy("sync: already running in this client");
    return RunSession(progress);
  }

  Status Follow(std::stop_token stop, const SyncProgressCallback& progress) {
    std::unique_lock lock(running_, std::try_to_lock);
    if (!lock) return Status::Busy("sync: already running in this client");
    const std::stop_callback cancel(stop, [this] { link_.transport().Cancel(); });
    std::chrono::milliseconds pause = options_.backoff_min;
    Status result = Status::Ok();
    while (!stop.stop_requested()) {
      const std::int64_t sequence = core_.last_sequence();
      const Result<SyncReport> report = RunSession(progress);
      if (stop.stop_requested()) break;
      if (report.ok()) {
        pause = options_.backoff_min;
        WaitForEither(sequence, stop);
        continue;
      }
      result = report.status();
      if (!IsTransient(result)) break;
      result = Status::Ok();
      Log(LogLevel::kInfo, "sync", "will try again: " + report.status().ToString());
      options_.wait(Jittered(pause), stop);
      pause = std::min(pause * 2, options_.backoff_max);
    }
    link_.transport().Reset();
    return stop.stop_requested() ? Status::Ok() : result;
  }

 private:
  Result<SyncReport> RunSession(const SyncProgressCallback& progress) {
    return SyncSession(core_, link_, options_, sizes_, progress).Run();
  }

  // Between half of the pause and all of it, so that devices that lost one gateway do not come back at one time.
  std::chrono::milliseconds Jittered(std::chrono::milliseconds pause) {
    const auto half = static_cast<std::uint64_t>(pause.count()) / 2;
    return std::chrono::milliseconds(half + core_.random().Next64() % (half + 1));
  }

  // Returns when the gateway has something new, or this database has, or when asked to stop.
  void WaitForEither(std::int64_t sequence, const std::stop_token& stop) {
    const Result<SyncState> state = LoadSyncState(core_);
    if (!state.ok()) return;  // The next session says why.
    std::atomic<bool> is_answered{false};
    Status poll_status;  // Of the poll's thread, until it is joined.
    bool has_news = false;
    std::thread poll([&] {
      PullRequest pull;
      pull.cursor = state->pull;
      pull.change_count_max = 1;
      pull.page_bytes_max = 1;
      pull.wait_ms =
          static_cast<std::uint32_t>(std::clamp<std::int64_t>(options_.poll_wait.count(), 1, kPollWaitMsMax));
      const Result<SyncReply> reply = link_.Call(core_.replica(), pull, options_.poll_wait);
      poll_status = reply.status();
      has_news = reply.ok() && !std::holds_alternative<UpToDateReply>(*reply);
      is_answered = true;
    });
    bool has_local = false;
    while (!is_answered && !has_local && !stop.stop_requested()) {
      has_local = core_.WaitForChange(sequence, kLookInterval);
    }
    if (!is_answered) link_.transport().Cancel();
    poll.join();
    if (!stop.stop_requested()) link_.transport().Reset();
    if (has_news || has_local || poll_status.ok() || stop.stop_requested()) return;
    options_.wait(Jittered(options_.backoff_min), stop);
  }

  DatabaseCore& core_;
  SyncOptions options_;
  GatewayLink link_;
  TransferSizes sizes_;
  std::mutex running_;
};

SyncClient::SyncClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SyncClient::~SyncClient() = default;

Result<std::unique_ptr<SyncClient>> SyncClient::Create(Database& database, const SyncOptions& options) {
  return Create(database.core(), options);
}

Result<std::unique_ptr<SyncClient>> SyncClient::Create(DatabaseCore& core, const SyncOptions& options) {
  FORESHORE_RETURN_IF_ERROR(CheckOptions(options));
  std::shared_ptr<HttpTransport> transport = options.transport;
  if (!transport) {
    FORESHORE_ASSIGN_OR_RETURN(transport, MakeCurlTransport());
  }
  return std::unique_ptr<SyncClient>(new SyncClient(std::make_unique<Impl>(core, options, std::move(transport))));
}

Result<SyncReport> SyncClient::SyncOnce(const SyncProgressCallback& progress) {
  return impl_->SyncOnce(progress);
}

Status SyncClient::Follow(std::stop_token stop, const SyncProgressCallback& progress) {
  return impl_->Follow(std::move(stop), progress);
}

}  // namespace foreshore
