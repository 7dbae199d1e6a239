// hnswlib 0.8, whose searches take a filter, over float32: built as hnswlib_side.h says.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/bench/vector_set.h"

namespace foreshore {

class Hnswlib08Side {
 public:
  // Rows under their numbers as labels, on `thread_count` threads.
  Hnswlib08Side(VectorMetric metric, const FloatRows& rows, std::uint32_t links, std::uint32_t ef_construction,
                int thread_count);
  ~Hnswlib08Side();
  // The labels of the `k` nearest that pass, in no order.
  void Search(const float* query, std::size_t k, std::size_t ef, const std::vector<bool>& passes,
              std::vector<std::int64_t>& labels);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshore
