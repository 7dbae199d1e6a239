// Products of 8-bit matrices by AMX tiles, for int8_gemm_amx.cc and int4_gemm_amx.cc alone. TDPBSSD takes signed by
// signed codes, so neither operand is shifted; exact, without saturation.
//
// A tile of activations is 16 rows by 64 k, read where the codes lie; one of weights is 64 k by 16 channels, which is
// 16 lines of a panel's [depth/4][64][4], 256 bytes apart. Two tiles of rows by two of channels fill the eight tile
// registers: four products for four loads.
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
//
// Threads: tiles are registers; each product configures them and gives them back, so that none are saved when threads
// change.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/inference/int8_gemm.h"

#define FORESHORE_AMX [[gnu::target("avx512f,avx512bw,avx512vl,amx-tile,amx-int8")]]

namespace foreshore::amx {

inline constexpr std::size_t kTileRows = 16;
inline constexpr std::size_t kTileDepth = 64;
inline constexpr std::size_t kTileLineBytes = 64;
inline constexpr std::size_t kPanelStepBytes = kInt8PanelColumns * kInt8DepthStep;
inline constexpr std::size_t kTileColumns = 16;

// The operand of LDTILECFG.
struct TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t line_bytes[16] = {};
  std::uint8_t row_count[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Sums in 0..3 (rows × channels), activations in 4 and 5, weights in 6 and 7; `second_rows` 0 leaves 2, 3 and 5 unused.
FORESHORE_AMX inline void Configure(std::size_t first_rows, std::size_t second_rows) {
  TileConfig config;
  const std::size_t rows[8] = {first_rows, first_rows,  second_rows, second_rows,
                               first_rows, second_rows, kTileRows,   kTileRows};
  for (std::size_t tile = 0; tile < 8; ++tile) {
    config.row_count[tile] = static_cast<std::uint8_t>(rows[tile]);
    config.line_bytes[tile] = rows[tile] == 0 ? 0 : kTileLineBytes;
  }
  _tile_loadconfig(&config);
}

// A stretch of the depth: `tile_count` tiles of 64 k.
struct Stretch {
  const std::int8_t* rows;  // The first row's code at the stretch's first k.
  std::size_t row_stride;
  const std::int8_t* weights;  // Lines of the panel from there on.
  std::size_t tile_count;
};

// sums[r][c] (+)= the stretch's products, for 32 channels of the panel; two tiles of rows, or one.
template <bool Two>
FORESHORE_AMX inline void Accumulate(const Stretch& stretch) {
  const std::int8_t* rows = stretch.rows;
  const std::int8_t* weights = stretch.weights;
  for (std::size_t i = 0; i < stretch.tile_count; ++i) {
    _tile_loadd(4, rows, stretch.row_stride);
    _tile_loadd(6, weights, kPanelStepBytes);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, weights + kTileLineBytes, kPanelStepBytes);
    _tile_dpbssd(1, 4, 7);
    if constexpr (Two) {
      _tile_loadd(5, rows + kTileRows * stretch.row_stride, stretch.row_stride);
      _tile_dpbssd(2, 5, 6);
      _tile_dpbssd(3, 5, 7);
    }
    rows += kTileDepth;
    weights += kTileRows * kPanelStepBytes;
  }
}

template <bool Two>
FORESHORE_AMX inline void StoreSums(std::int32_t* sums) {
  _tile_stored(0, sums, kInt8PanelColumns * sizeof(*sums));
  _tile_stored(1, sums + kTileColumns, kInt8PanelColumns * sizeof(*sums));
  if constexpr (Two) {
    _tile_stored(2, sums + kTileRows * kInt8PanelColumns, kInt8PanelColumns * sizeof(*sums));
    _tile_stored(3, sums + kTileRows * kInt8PanelColumns + kTileColumns, kInt8PanelColumns * sizeof(*sums));
  }
}

// Codes and where a product of `row_count` rows by a panel of 64 channels leaves its sums.
struct Product {
  const std::int8_t* rows;  // May be read up to 63 bytes past each row.
  std::size_t row_stride;
  std::size_t row_count;
  const std::int8_t* weights;  // [depth/4][64][4]
  std::size_t tile_count;      // Of 64 k that lie in `weights`,
  const std::int8_t* tail;     // and one more, filled up with zero weights; null where there is none.
  std::size_t column_count;    // Of the channels, rounded up to 32.
  std::int32_t* sums;          // [row_count][64]
};

template <bool Two>
FORESHORE_AMX inline void MultiplyRows(const Product& product, std::size_t first_row, std::size_t column) {
  const std::int8_t* rows = product.rows + first_row * product.row_stride;
  std::int32_t* sums = product.sums + first_row * kInt8PanelColumns + column;
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (Two) {
    _tile_zero(2);
    _tile_zero(3);
  }
  const std::size_t at = column * kInt8DepthStep;
  Accumulate<Two>({rows, product.row_stride, product.weights + at, product.tile_count});
  if (product.tail != nullptr) {
    Accumulate<Two>({rows + product.tile_count * kTileDepth, product.row_stride, product.tail + at, 1});
  }
  StoreSums<Two>(sums);
}

FORESHORE_AMX inline void Multiply(const Product& product) {
  constexpr std::size_t kPairRows = 2 * kTileRows;
  const std::size_t whole = product.row_count / kPairRows * kPairRows;
  const std::size_t rest = product.row_count - whole;
  if (whole > 0) {
    Configure(kTileRows, kTileRows);
    for (std::size_t column = 0; column < product.column_count; column += 2 * kTileColumns) {
      for (std::size_t row = 0; row < whole; row += kPairRows) MultiplyRows<true>(product, row, column);
    }
  }
  if (rest > 0) {
    Configure(rest < kTileRows ? rest : kTileRows, rest > kTileRows ? rest - kTileRows : 0);
    for (std::size_t column = 0; column < product.column_count; column += 2 * kTileColumns) {
      rest > kTileRows ? MultiplyRows<true>(product, whole, column) : MultiplyRows<false>(product, whole, column);
    }
  }
  _tile_release();
}

}  // namespace foreshore::amx
#endif
