// AMX: codes stay in rows, so packing is a copy, and neither the sums of columns nor those of pairs are needed.
#include "engine/inference/amx_tiles.h"

#if defined(__x86_64__)

namespace foreshore {
namespace {

// What tiles of a row's last codes read beyond them; the weights there are zero.
constexpr std::size_t kBytesPastRows = amx::kTileDepth;

void PackRows(const std::int8_t* codes, std::size_t row_count, std::size_t depth, void* packed) {
  std::memcpy(packed, codes, row_count * depth);
  std::memset(static_cast<char*>(packed) + row_count * depth, 0, kBytesPastRows);
}

void MultiplyPanel(const void* packed, std::size_t row_count, std::size_t depth, const Int8Panel& panel,
                   void* /*workspace*/, std::int32_t* sums) {
  alignas(64) std::int8_t tail[amx::kTileRows * amx::kPanelStepBytes];
  amx::Product product{static_cast<const std::int8_t*>(packed),
                       depth,
                       row_count,
                       panel.codes,
                       depth / amx::kTileDepth,
                       nullptr,
                       panel.column_count,
                       sums};
  if (const std::size_t rest = depth % amx::kTileDepth; rest > 0) {
    const std::size_t bytes = rest / kInt8DepthStep * amx::kPanelStepBytes;
    std::memcpy(tail, panel.codes + product.tile_count * amx::kTileRows * amx::kPanelStepBytes, bytes);
    std::memset(tail + bytes, 0, sizeof(tail) - bytes);
    product.tail = tail;
  }
  amx::Multiply(product);
}

}  // namespace

const Int8Gemm& Int8GemmAmx() {
  static constexpr Int8Gemm kKernel{CpuLevel::kAmxInt8, amx::kTileRows, 1, kBytesPastRows, PackRows, MultiplyPanel};
  return kKernel;
}

}  // namespace foreshore
#endif
