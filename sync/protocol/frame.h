// The body of a request or reply: one byte that says how, then the message.
//
//   0  the message as it is
//   1  one zstd frame (RFC 8878) that states its content size
//
// Threads: free functions, safe from any thread.
#pragma once

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// Compresses where that helps and stays within the ratio a receiver accepts. kLimit where the frame would be too large.
Result<ByteString> EncodeFrame(Bytes message);
// kLimit above any of the limits, before inflating; kCorruption for anything else.
Result<ByteString> DecodeFrame(Bytes frame);

}  // namespace foreshore
