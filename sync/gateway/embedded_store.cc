#include <algorithm>
#include <set>

#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "sync/gateway/gateway_store.h"
#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

// channel.log: sequence -> entry
//   OFFSET SIZE FIELD
//        0   16 hash of the log up to here
//       16   16 chain that pushed it
//       32    1 bit 0: ends a unit
//       33    … Change message
constexpr std::size_t kEntryHeadBytes = 33;
// channel.replicas: replica id -> chain (16), sequence (8), hash (32)
constexpr std::size_t kReplicaBytes = 56;

// Own entries that one Read passes over before it hands back an empty page.
constexpr std::size_t kSkippedCountMax = 20'000;

struct EntryView {
  LogHash hash{};
  ChainId chain{};
  bool ends_unit = false;
  Bytes change;
};

Result<EntryView> DecodeEntry(std::int64_t sequence, Bytes bytes) {
  if (bytes.size() < kEntryHeadBytes) {
    return Status::Corruption("gateway log: entry " + std::to_string(sequence) + " has " +
                              std::to_string(bytes.size()) + " bytes, expected at least 33");
  }
  EntryView entry;
  std::copy_n(bytes.begin(), 16, entry.hash.begin());
  std::copy_n(bytes.begin() + 16, 16, entry.chain.begin());
  entry.ends_unit = (bytes[32] & 1) != 0;
  entry.change = bytes.substr(kEntryHeadBytes);
  return entry;
}

class EmbeddedStore : public GatewayStore {
 public:
  static Result<std::unique_ptr<GatewayStore>> Open(const std::string& path, Durability durability) {
    if (FileExists(path + "/FORMAT")) {
      return Status::InvalidArgument("gateway store \"" + path +
                                     "\": this is a database, expected a directory of its own");
    }
    FORESHORE_RETURN_IF_ERROR(CreateDirectories(path));
    auto store = std::make_unique<EmbeddedStore>();
    FORESHORE_ASSIGN_OR_RETURN(store->directory_,
                               DatabaseDirectory::Open(path + "/channel", true, StorageKind::kSqlite, *SystemRandom()));
    StoreOptions options;
    options.durability = durability;
    options.create = true;
    FORESHORE_ASSIGN_OR_RETURN(store->store_, store->directory_->OpenStore(options));
    FORESHORE_ASSIGN_OR_RETURN(store->blobs_, BlobStore::Open(store->directory_->BlobsPath()));
    FORESHORE_ASSIGN_OR_RETURN(store->log_, store->store_->OpenKeyspace("channel.log", KeyspaceKind::kInteger));
    FORESHORE_ASSIGN_OR_RETURN(store->replicas_, store->store_->OpenKeyspace("channel.replicas", KeyspaceKind::kBytes));
    return std::unique_ptr<GatewayStore>(std::move(store));
  }

  Result<LogPosition> Head() override {
    FORESHORE_ASSIGN_OR_RETURN(auto txn, store_->BeginRead());
    return HeadIn(*txn);
  }

  Result<bool> Holds(const LogPosition& position) override {
    FORESHORE_ASSIGN_OR_RETURN(auto txn, store_->BeginRead());
    return HoldsIn(*txn, position);
  }

  Result<std::optional<ChainPosition>> Acknowledged(const ReplicaId& replica) override {
    FORESHORE_ASSIGN_OR_RETURN(auto txn, store_->BeginRead());
    return AcknowledgedIn(*txn, replica);
  }

  Result<AppendOutcome> Append(const AppendRequest& request) override {
    FORESHORE_ASSIGN_OR_RETURN(auto txn, store_->BeginWrite());
    AppendOutcome outcome;
    FORESHORE_ASSIGN_OR_RETURN(outcome.head, HeadIn(*txn));
    FORESHORE_ASSIGN_OR_RETURN(outcome.acknowledged, AcknowledgedIn(*txn, request.replica));
    const ChainPosition after = NextChainPosition(request.base, request.changes);
    if (outcome.acknowledged == after) return outcome;  // A retry.
    if (!Fits(request, outcome.acknowledged)) {
      outcome.kind = AppendOutcome::Kind::kChainMismatch;
      return outcome;
    }
    FORESHORE_ASSIGN_OR_RETURN(const bool is_known, HoldsIn(*txn, request.cursor));
    if (!is_known) {
      outcome.kind = AppendOutcome::Kind::kCursorUnknown;
      return outcome;
    }
    const std::set<std::uint32_t> ends(request.unit_ends.begin(), request.unit_ends.end());
    for (std::uint32_t i = 0; i < request.changes.size(); ++i) {
      outcome.head = NextLogPosition(outcome.head, request.changes[i]);
      ByteString entry(AsBytes(outcome.head.hash.data(), outcome.head.hash.size()));
      entry.append(AsBytes(after.chain.data(), after.chain.size()));
      entry.push_back(ends.contains(i) ? 1 : 0);
      entry.append(request.changes[i]);
      FORESHORE_RETURN_IF_ERROR(txn->Put(log_, outcome.head.sequence, entry));
    }
    ByteString row(AsBytes(after.chain.data(), after.chain.size()));
    AppendFixed<std::uint64_t>(row, after.sequence);
    row.append(AsBytes(after.hash));
    FORESHORE_RETURN_IF_ERROR(txn->Put(replicas_, AsBytes(request.replica.data(), request.replica.size()), row));
    FORESHORE_RETURN_IF_ERROR(txn->Commit());
    outcome.acknowledged = after;
    return outcome;
  }

  Result<LogPage> Read(const ReadRequest& request) override {
    FORESHORE_ASSIGN_OR_RETURN(auto txn, store_->BeginRead());
    LogPage page;
    FORESHORE_ASSIGN_OR_RETURN(page.head, HeadIn(*txn));
    FORESHORE_ASSIGN_OR_RETURN(page.cursor_is_known, HoldsIn(*txn, request.cursor));
    page.next = request.cursor;
    if (!page.cursor_is_known) return page;
    FORESHORE_ASSIGN_OR_RETURN(auto cursor, txn->NewCursor(log_));
    FORESHORE_RETURN_IF_ERROR(cursor->Seek(request.cursor.sequence + 1));
    std::size_t whole_count = 0;  // Changes up to the last unit end.
    std::size_t page_bytes = 0;
    std::size_t skipped_count = 0;
    while (cursor->valid()) {
      const std::int64_t sequence = cursor->integer_key();
      FORESHORE_ASSIGN_OR_RETURN(const EntryView entry, DecodeEntry(sequence, cursor->value()));
      const bool has_unit = page.next.sequence != request.cursor.sequence;
      if (has_unit && request.target != 0 && sequence > request.target) break;
      const bool leaves_out = request.leave_out == entry.chain;
      if (leaves_out) {
        ++skipped_count;
      } else {
        page_bytes += entry.change.size();
        page.changes.emplace_back(entry.change);
      }
      const bool is_full = page.changes.size() > request.change_count_max || page_bytes > request.page_bytes_max ||
                           skipped_count > kSkippedCountMax;
      if (has_unit && is_full) break;
      if (entry.ends_unit) {
        whole_count = page.changes.size();
        page.next = {sequence, entry.hash};
      }
      FORESHORE_RETURN_IF_ERROR(cursor->Next());
    }
    page.changes.resize(whole_count);
    return page;
  }

  BlobStore& blobs() override { return *blobs_; }

 private:
  static bool Fits(const AppendRequest& request, const std::optional<ChainPosition>& acknowledged) {
    if (!acknowledged) return request.base.sequence == 0;
    if (*acknowledged == request.base) return true;
    return request.base.sequence == 0 && request.replaces == acknowledged->chain;
  }

  Result<LogPosition> HeadIn(ReadTxn& txn) {
    FORESHORE_ASSIGN_OR_RETURN(auto cursor, txn.NewCursor(log_));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekLast());
    if (!cursor->valid()) return LogPosition{};
    FORESHORE_ASSIGN_OR_RETURN(const EntryView entry, DecodeEntry(cursor->integer_key(), cursor->value()));
    return LogPosition{cursor->integer_key(), entry.hash};
  }

  Result<bool> HoldsIn(ReadTxn& txn, const LogPosition& position) {
    if (position.sequence == 0) return true;
    FORESHORE_ASSIGN_OR_RETURN(const auto bytes, txn.Get(log_, position.sequence));
    if (!bytes) return false;
    FORESHORE_ASSIGN_OR_RETURN(const EntryView entry, DecodeEntry(position.sequence, *bytes));
    return entry.hash == position.hash;
  }

  Result<std::optional<ChainPosition>> AcknowledgedIn(ReadTxn& txn, const ReplicaId& replica) {
    FORESHORE_ASSIGN_OR_RETURN(const auto bytes, txn.Get(replicas_, AsBytes(replica.data(), replica.size())));
    if (!bytes) return std::optional<ChainPosition>();
    if (bytes->size() != kReplicaBytes) {
      return Status::Corruption("gateway: row of a replica has " + std::to_string(bytes->size()) +
                                " bytes, expected 56");
    }
    ChainPosition position;
    std::copy_n(bytes->begin(), 16, position.chain.begin());
    position.sequence = LoadFixed<std::uint64_t>(bytes->data() + 16);
    std::copy_n(bytes->begin() + 24, 32, position.hash.begin());
    return std::optional(position);
  }

  std::unique_ptr<DatabaseDirectory> directory_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<BlobStore> blobs_;
  KeyspaceId log_ = 0;
  KeyspaceId replicas_ = 0;
};

}  // namespace

Result<std::unique_ptr<GatewayStore>> OpenEmbeddedGatewayStore(const std::string& path, Durability durability) {
  return EmbeddedStore::Open(path, durability);
}

}  // namespace foreshore
