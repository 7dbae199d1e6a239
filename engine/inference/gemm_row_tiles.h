// How the GEMM kernels over 8-bit activations lay these out: tile after tile of a few rows, four codes of each row in
// turn.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/inference/int8_gemm.h"

namespace foreshore {

// packed[tile][depth/4][TileRows][4], TileRows * depth bytes a tile. Rows that fill up the last tile are zero. Each
// code is stored with the bits of `Flip` flipped: 0x80 adds 128, and turns signed codes into unsigned ones.
template <std::size_t TileRows, std::uint8_t Flip = 0>
void PackRowTiles(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed) {
  auto* out = static_cast<char*>(packed);
  const std::size_t step_count = depth / kInt8DepthStep;
  for (std::size_t first = 0; first < row_count; first += TileRows, out += TileRows * depth) {
    for (std::size_t row = 0; row < TileRows; ++row) {
      for (std::size_t step = 0; step < step_count; ++step) {
        std::uint32_t four = 0;
        if (first + row < row_count) {
          std::memcpy(&four, codes + (first + row) * depth + step * kInt8DepthStep, sizeof(four));
        }
        four ^= Flip * 0x01010101U;
        std::memcpy(out + (step * TileRows + row) * kInt8DepthStep, &four, sizeof(four));
      }
    }
  }
}

}  // namespace foreshore
