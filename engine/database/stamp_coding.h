// Stamps and version vectors in full, where a session number would not do: rescued values and Document handles.
//
// Threads: free functions, safe from any thread.
#pragma once

#include "engine/document/stamp.h"
#include "foreshore/status.h"
#include "storage/base/coding.h"

namespace foreshore {

void AppendStamp(ByteString& out, const Stamp& stamp);
Stamp ReadStamp(ByteReader& reader);  // Check reader.ok() afterwards.

ByteString EncodeVersionVector(const VersionVector& vector);
Result<VersionVector> DecodeVersionVector(Bytes bytes);  // kCorruption

}  // namespace foreshore
