// Content that is there as a whole, as what an attachment is staged from; it has to outlive the source.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "foreshore/database.h"

namespace foreshore {

inline AttachmentSource SourceOf(std::string_view content) {
  return [content](char* buffer, std::size_t capacity) mutable -> Result<std::size_t> {
    const std::size_t count = std::min(capacity, content.size());
    std::copy_n(content.data(), count, buffer);
    content.remove_prefix(count);
    return count;
  };
}

}  // namespace foreshore
