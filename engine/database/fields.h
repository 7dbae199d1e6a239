// Looking over a document's top-level fields without parsing what is below them.
#pragma once

#include <functional>
#include <string_view>

namespace foreshore {

// Calls `visit` with each top-level key of a normalised object, unescaped, in order. An empty body has none.
void ForEachTopLevelKey(std::string_view body, const std::function<void(std::string_view key)>& visit);

}  // namespace foreshore
