// The row of a model in the collection "_models", as JSON.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "foreshore/model.h"
#include "foreshore/status.h"

namespace foreshore {

struct ModelRow {
  ModelInfo info;  // Its adapters are the names below; is_complete, is_registered are not stored.
  std::map<std::string, std::string> adapters;  // Name to blob, in hexadecimal.
};

std::string EncodeModelRow(const ModelRow& row);
Result<ModelRow> DecodeModelRow(std::string_view body);  // kCorruption

// 1 to 64 letters, digits, '-', '_' or '.', else kInvalidArgument; `what` names the kind in the message.
Status ValidateModelName(std::string_view what, const std::string& name);
// kNotFound, naming those that there are.
Status NoSuchAdapter(const ModelRow& row, const std::string& adapter);

}  // namespace foreshore
