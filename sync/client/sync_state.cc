#include "sync/client/sync_state.h"

#include <algorithm>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr char kStateSetting[] = "sync.state";
constexpr std::uint8_t kStateVersion = 1;

template <std::size_t kSize>
void AppendArray(ByteString& out, const std::array<std::uint8_t, kSize>& array) {
  out.append(AsBytes(array.data(), kSize));
}
template <std::size_t kSize>
void ReadArray(ByteReader& reader, std::array<std::uint8_t, kSize>& array) {
  const Bytes bytes = reader.Take(kSize);
  if (bytes.size() == kSize) std::copy(bytes.begin(), bytes.end(), array.begin());
}

void AppendResync(ByteString& out, const std::optional<ResyncPosition>& position) {
  out.push_back(position ? 1 : 0);
  if (!position) return;
  AppendFixed(out, position->collection_id);
  AppendFixed(out, position->docid);
  AppendFixed(out, position->push_cursor);
}
std::optional<ResyncPosition> ReadResync(ByteReader& reader) {
  if (reader.Fixed<std::uint8_t>() == 0) return std::nullopt;
  ResyncPosition position;
  position.collection_id = reader.Fixed<std::uint32_t>();
  position.docid = reader.Fixed<std::int64_t>();
  position.push_cursor = reader.Fixed<std::int64_t>();
  return position;
}

}  // namespace

void SyncState::MintChain(const ReplicaId& owner, Random& random) {
  replica = owner;
  chain = {};
  const ByteString id = random.Generate(chain.chain.size());
  std::copy(id.begin(), id.end(), chain.chain.begin());
  replaces.reset();
  pending.clear();
}

void SyncState::BeginResync(std::int64_t push_cursor) {
  resync.emplace();
  resync->push_cursor = push_cursor;
  pull = {};
  pending.clear();
}

const PendingBatch* SyncState::FindPending(const ChainPosition& position) const {
  if (position.chain != chain.chain || position.sequence != chain.sequence + 1) return nullptr;
  const auto place =
      std::find_if(pending.begin(), pending.end(), [&](const auto& batch) { return batch.hash == position.hash; });
  return place == pending.end() ? nullptr : &*place;
}

ByteString EncodeSyncState(const SyncState& state) {
  ByteString out;
  out.push_back(kStateVersion);
  AppendArray(out, state.replica);
  AppendArray(out, state.chain.chain);
  AppendFixed(out, state.chain.sequence);
  AppendArray(out, state.chain.hash);
  out.push_back(state.replaces ? 1 : 0);
  if (state.replaces) AppendArray(out, *state.replaces);
  AppendFixed(out, state.pull.sequence);
  AppendArray(out, state.pull.hash);
  AppendResync(out, state.resync);
  out.push_back(static_cast<char>(state.pending.size()));
  for (const PendingBatch& batch : state.pending) {
    AppendArray(out, batch.hash);
    AppendFixed(out, batch.end_hlc);
    AppendFixed(out, batch.push_cursor);
    AppendResync(out, batch.resync);
    out.push_back(batch.ends_resync ? 1 : 0);
  }
  return out;
}

Result<SyncState> DecodeSyncState(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  if (version != kStateVersion) {
    return Status::Unsupported("sync state: version " + std::to_string(version) + ", expected 1");
  }
  SyncState state;
  ReadArray(reader, state.replica);
  ReadArray(reader, state.chain.chain);
  state.chain.sequence = reader.Fixed<std::uint64_t>();
  ReadArray(reader, state.chain.hash);
  if (reader.Fixed<std::uint8_t>() != 0) ReadArray(reader, state.replaces.emplace());
  state.pull.sequence = reader.Fixed<std::int64_t>();
  ReadArray(reader, state.pull.hash);
  state.resync = ReadResync(reader);
  const std::size_t pending_count = reader.Fixed<std::uint8_t>();
  if (pending_count > kPendingCountMax) reader.Fail();
  for (std::size_t i = 0; i < pending_count && reader.ok(); ++i) {
    PendingBatch& batch = state.pending.emplace_back();
    ReadArray(reader, batch.hash);
    batch.end_hlc = reader.Fixed<std::uint64_t>();
    batch.push_cursor = reader.Fixed<std::int64_t>();
    batch.resync = ReadResync(reader);
    batch.ends_resync = reader.Fixed<std::uint8_t>() != 0;
  }
  if (!reader.ok() || !reader.at_end()) return Status::Corruption("sync state: damaged");
  return state;
}

Result<SyncState> LoadSyncState(DatabaseCore& core) {
  SyncState state;
  FORESHORE_ASSIGN_OR_RETURN(const auto stored, core.GetSetting(kStateSetting));
  if (stored) {
    FORESHORE_ASSIGN_OR_RETURN(state, DecodeSyncState(*stored));
  }
  if (!stored || state.replica != core.replica()) state.MintChain(core.replica(), core.random());
  FORESHORE_ASSIGN_OR_RETURN(const auto acknowledged, core.GetSetting(std::string(kAcknowledgedHlcSetting)));
  if (acknowledged) state.acknowledged_hlc = ByteReader(*acknowledged).Varint();
  return state;
}

Status StoreSyncState(WriteView& view, const SyncState& state) {
  ByteString acknowledged;
  AppendVarint(acknowledged, state.acknowledged_hlc);
  FORESHORE_RETURN_IF_ERROR(view.PutSetting(std::string(kAcknowledgedHlcSetting), acknowledged));
  return view.PutSetting(kStateSetting, EncodeSyncState(state));
}

}  // namespace foreshore
