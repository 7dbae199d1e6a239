// NF4: 16 levels at the quantiles of a normal distribution, a scale per 64 weights that is quantized itself.
// Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs" (arXiv:2305.14314), sections 3 and appendix E.
//
// The scale of a block is its largest magnitude. Scales are stored as 8-bit codes about the matrix' mean scale, with an
// f32 per 256 of them: scale = mean + block_scale · (code − 128). That is 4.127 bits a weight.
//
// Execution is by look-up in the integer kernel (int4_gemm.h), with the levels rounded to 63rds: 0..126 about 63, so
// that zero stays zero. The largest rounding is 1/126 of a block's scale, a tenth of the narrowest step between levels.
//
// Threads: pure functions.
#pragma once

#include <span>

#include "engine/inference/grouped_weights.h"

namespace foreshore {

// Levels as the integer kernels take them, 0..126; the true level is (level − 63) / 63, rounded.
const std::uint8_t* Nf4IntegerLevels();
std::span<const float> Nf4Levels();

// `values` is [row_count][column_count], finite. Appends the canonical tensors of an nf4 model (bert.h).
void AppendNf4Tensors(const std::string& name, std::span<const float> values, std::size_t row_count,
                      std::size_t column_count, std::vector<Tensor>& tensors);

// As the kernels execute it. kCorruption where a scale is not finite.
Result<GroupedWeights> ReadNf4Tensors(const std::string& name, std::size_t column_count, const TensorsByName& tensors);

}  // namespace foreshore
