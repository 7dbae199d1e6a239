// GPTQ of one matrix: codes chosen column by column, each column's rounding error spread over the columns to come so
// that the layer's output on calibration data changes least.
// Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
// (arXiv:2210.17323), with the groups' scales fixed beforehand (static groups), each such that its weights' errors,
// taken by the Hessian diagonal, are smallest, and columns taken in falling order of that diagonal (act-order).
// Then come rounds that never raise the error: groups' scales along the direction that lowers it, each code to where it
// is lowest while the others stay (coordinate descent, as in Behdin et al. 2023, "QuantEase", arXiv:2309.01885).
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/inference/grouped_weights.h"
#include "engine/inference/hessian.h"
#include "foreshore/status.h"

namespace foreshore {

struct GptqOptions {
  std::uint32_t bits = 4;          // 3 or 4.
  std::uint32_t group_size = 128;  // A multiple of 32.
  bool act_order = true;
  std::uint32_t refinement_count = 3;  // Rounds of refinement after GPTQ: scales, then each code by itself.
  double damping = 0.01;  // Of the mean diagonal, added to it; ten times as much, and again, where that does not do.
};

// `weights` is [row_count][hessian.width]. Groups are of neighbouring inputs whatever the order of columns, so the
// result has no order of its own. kInvalidArgument where weights or Hessian are not finite, or where it stays singular.
Result<GroupedWeights> QuantizeGptq(std::span<const float> weights, std::size_t row_count, const Hessian& hessian,
                                    const GptqOptions& options);
// The same by the Hessian's factor, whose order it takes: matrices that read the same inputs share one.
Result<GroupedWeights> QuantizeGptq(std::span<const float> weights, std::size_t row_count, const Hessian& hessian,
                                    const HessianFactor& inverse, const GptqOptions& options);

// Each weight at the nearest code of a grid from the smallest to the largest weight of its group.
GroupedWeights QuantizeToNearest(std::span<const float> weights, std::size_t row_count, std::size_t column_count,
                                 std::uint32_t bits, std::uint32_t group_size);

// Σ ‖(W − Q)x‖² over the calibration rows.
double OutputError(std::span<const float> weights, const GroupedWeights& quantized, const Hessian& hessian);

}  // namespace foreshore
