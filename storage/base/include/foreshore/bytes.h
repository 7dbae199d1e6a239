// Borrowed and owned runs of bytes.
//
// Lifetime: a Bytes is a view; where one is returned, the declaration says how long it lives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace foreshore {

// A view of bytes, also used for text that is not yet known to be UTF-8. Ordered as unsigned bytes.
using Bytes = std::string_view;

// Owned bytes. std::string, because it moves cheaply and every library here takes it.
using ByteString = std::string;

inline Bytes AsBytes(const void* data, std::size_t size_bytes) {
  return {static_cast<const char*>(data), size_bytes};
}

inline std::span<const std::uint8_t> AsSpan(Bytes bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace foreshore
