// Which weights made a value: a model's name, one of its LoRA adapters if any, and the versions of both.
//
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <string>

namespace foreshore {

struct ModelPin {
  std::string model;            // Its name.
  std::string adapter;          // One of the model's; empty: the model alone.
  std::string version;          // 64 hexadecimal digits; empty where it is not known.
  std::string adapter_version;  // The adapter's blob, the same; empty without one.

  bool is_known() const { return !version.empty(); }
  bool operator==(const ModelPin&) const = default;
};

// Eight bytes that tell a pin's weights from others': the first of the version, mixed with those of the adapter's.
std::uint64_t ModelTagOf(const ModelPin& pin);

}  // namespace foreshore
