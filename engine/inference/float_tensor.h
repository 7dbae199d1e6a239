// Weights as files carry them, made 32-bit floats.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/inference/tensor.h"
#include "foreshore/status.h"

namespace foreshore {

// IEEE 754 binary16 to binary32; exact, subnormals, infinities and NaN included.
float HalfToFloat(std::uint16_t half);
// bfloat16 is the upper half of a binary32.
float BrainToFloat(std::uint16_t brain);

// The elements as floats: f32, f16 and bf16 exactly; i8, u8 exactly; i32 and i64 rounded. `tensor.bytes` needs no
// alignment. kInvalidArgument where the bytes do not match type and shape.
Result<std::vector<float>> ToFloats(const TensorView& tensor);

// An owned f32 tensor of these values. Invariant of the caller: as many values as the shape says.
Tensor MakeF32Tensor(std::string name, std::vector<std::uint64_t> shape, const std::vector<float>& values);

// kInvalidArgument naming the first of the F32 tensors that holds a NaN or an infinity.
Status CheckFinite(const std::vector<Tensor>& tensors);

}  // namespace foreshore
