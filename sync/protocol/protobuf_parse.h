// Parsing with the depth limit of design section 8. For the .cc files of this folder: it names protobuf types.
#pragma once

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message_lite.h>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "sync/protocol/limits.h"

namespace foreshore {

inline Status ParseBounded(Bytes bytes, google::protobuf::MessageLite& message) {
  if (bytes.size() > kMessageBytesMax) return Status::Limit("sync message: too large");
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetRecursionLimit(kMessageDepthMax);
  if (!message.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    return Status::Corruption("sync message: not a protobuf message of this kind");
  }
  return Status::Ok();
}

}  // namespace foreshore
