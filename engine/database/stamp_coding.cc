#include "engine/database/stamp_coding.h"

namespace foreshore {

void AppendStamp(ByteString& out, const Stamp& stamp) {
  AppendFixed(out, stamp.hlc);
  out.append(AsBytes(stamp.session.replica.data(), stamp.session.replica.size()));
  AppendFixed(out, stamp.session.session);
  AppendVarint(out, stamp.op);
}

Stamp ReadStamp(ByteReader& reader) {
  Stamp stamp;
  stamp.hlc = reader.Fixed<std::uint64_t>();
  const Bytes replica = reader.Take(stamp.session.replica.size());
  if (reader.ok()) std::memcpy(stamp.session.replica.data(), replica.data(), replica.size());
  stamp.session.session = reader.Fixed<std::uint64_t>();
  stamp.op = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  return stamp;
}

ByteString EncodeVersionVector(const VersionVector& vector) {
  ByteString out;
  for (const VersionVector::Entry& entry : vector.entries()) AppendStamp(out, {entry.hlc, entry.session, entry.op});
  return out;
}

Result<VersionVector> DecodeVersionVector(Bytes bytes) {
  VersionVector vector;
  ByteReader reader(bytes);
  while (reader.ok() && !reader.at_end()) vector.Add(ReadStamp(reader));
  if (!reader.ok()) return Status::Corruption("version vector: " + std::to_string(bytes.size()) + " bytes end early");
  return vector;
}

}  // namespace foreshore
