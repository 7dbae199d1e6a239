#include "engine/inference/weight_format.h"

#include <string>

namespace foreshore {

std::string_view WeightFormatName(const WeightFormat& format) {
  switch (format.kind) {
    case WeightKind::kFloat: return "none";
    case WeightKind::kInt8: return "int8";
    case WeightKind::kGrouped: return format.bits == 3 ? "gptq3" : "gptq4";
    case WeightKind::kNf4: return "nf4";
  }
  return "unknown";
}

std::optional<WeightFormat> WeightFormatFromName(std::string_view name, std::uint32_t group_size, bool ordered) {
  std::optional<WeightFormat> format;
  if (name == "none") format = WeightFormat::Float();
  if (name == "int8") format = WeightFormat::Int8();
  if (name == "gptq4") format = WeightFormat::Gptq(4, group_size, ordered);
  if (name == "gptq3") format = WeightFormat::Gptq(3, group_size, ordered);
  if (name == "nf4") format = WeightFormat::Nf4();
  if (format && !ValidateWeightFormat(*format).ok()) return std::nullopt;
  return format;
}

Status ValidateWeightFormat(const WeightFormat& format) {
  switch (format.kind) {
    case WeightKind::kFloat:
      if (format == WeightFormat::Float()) return Status::Ok();
      break;
    case WeightKind::kInt8:
      if (format == WeightFormat::Int8()) return Status::Ok();
      break;
    case WeightKind::kNf4:
      if (format == WeightFormat::Nf4()) return Status::Ok();
      break;
    case WeightKind::kGrouped:
      if (format.bits != 3 && format.bits != 4) break;
      if (format.group_size >= kGroupSizeMultiple && format.group_size <= kGroupSizeMax &&
          format.group_size % kGroupSizeMultiple == 0) {
        return Status::Ok();
      }
      return Status::InvalidArgument("weights: groups of " + std::to_string(format.group_size) +
                                     " inputs, expected a multiple of 32 up to 65536");
  }
  return Status::InvalidArgument("weights: kind " + std::to_string(static_cast<std::uint32_t>(format.kind)) + " of " +
                                 std::to_string(format.bits) + " bits is none that is known");
}

}  // namespace foreshore
