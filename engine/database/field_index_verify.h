// Checks the entries of a secondary index against the documents, both ways.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/database/read_view.h"

namespace foreshore {

// Calls `report` for each disagreement, without end: the caller bounds them. Returns how many entries there are. An
// index that is being built may lack entries.
Result<std::uint64_t> VerifyFieldIndex(ReadView& view, const CollectionDefinition& collection,
                                       const FieldIndexDefinition& index,
                                       const std::function<void(const std::string&)>& report);

}  // namespace foreshore
