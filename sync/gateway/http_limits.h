// What one HTTP request may be (design section 8).
#pragma once

#include <cstddef>
#include <cstdint>

namespace foreshore {

inline constexpr std::uint32_t kHttpHeadBytesMax = 16 << 10;
inline constexpr std::size_t kHttpHeaderCountMax = 100;

}  // namespace foreshore
