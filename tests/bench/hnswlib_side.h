// hnswlib over float32, as its users have it: built for this machine's own instructions, which its kernels ask for.
// The one file that includes hnswlib is compiled with other options than ours, hence nothing inline here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/vector_set.h"

namespace foreshore {

class HnswlibSide {
 public:
  HnswlibSide(VectorMetric metric, std::uint32_t dimension, std::size_t count, std::uint32_t links,
              std::uint32_t ef_construction);
  ~HnswlibSide();
  // Rows under their numbers as labels, on `thread_count` threads.
  void Build(const FloatRows& rows, int thread_count);
  // The labels of the `k` nearest in no order.
  void Search(const float* query, std::size_t k, std::size_t ef, std::vector<std::int64_t>& labels);
  void Save(const std::string& path);
  static std::unique_ptr<HnswlibSide> Load(VectorMetric metric, std::uint32_t dimension, const std::string& path);

 private:
  HnswlibSide();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshore
