#include "sync/protocol/chain.h"

#include <algorithm>

#include "storage/base/coding.h"

namespace foreshore {

ChainPosition NextChainPosition(const ChainPosition& base, std::span<const ByteString> changes) {
  Sha256 hasher;
  hasher.Update(AsBytes(base.chain.data(), base.chain.size()));
  hasher.Update(AsBytes(base.hash));
  ByteString number;
  AppendFixed<std::uint64_t>(number, base.sequence + 1);
  hasher.Update(number);
  for (const ByteString& change : changes) {
    number.clear();
    AppendFixed<std::uint64_t>(number, change.size());
    hasher.Update(number);
    hasher.Update(change);
  }
  return {base.chain, base.sequence + 1, hasher.Finish()};
}

LogPosition NextLogPosition(const LogPosition& base, Bytes change) {
  Sha256 hasher;
  hasher.Update(AsBytes(base.hash.data(), base.hash.size()));
  hasher.Update(change);
  Sha256Digest digest = hasher.Finish();
  LogPosition next{base.sequence + 1, {}};
  std::copy_n(digest.begin(), next.hash.size(), next.hash.begin());
  return next;
}

}  // namespace foreshore
