// Files of hnswlib itself, for tests that read them.
//
// The namespace has another name here: our library has templates of hnswlib's with another lock in them, and the two
// must not be taken for each other.
#pragma once

#define hnswlib hnswlib_of_tests
#define NO_MANUAL_VECTORIZATION  // Its prefetches read beyond lists.
#include <hnswlib/hnswlib.h>
#undef hnswlib

#include <memory>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "index/vector_metric.h"
#include "storage/base/file.h"
#include "tests/temporary_directory.h"

namespace foreshore {

// An index of hnswlib's over float vectors.
class HnswlibWriter {
 public:
  HnswlibWriter(VectorMetric metric, std::uint32_t dimension, std::size_t capacity, std::size_t links) {
    if (metric == VectorMetric::kL2) {
      space_ = std::make_unique<hnswlib_of_tests::L2Space>(dimension);
    } else {
      space_ = std::make_unique<hnswlib_of_tests::InnerProductSpace>(dimension);
    }
    graph_ = std::make_unique<Graph>(space_.get(), capacity, links, 100);
  }
  void Add(const std::vector<float>& values, std::uint64_t label) { graph_->addPoint(values.data(), label); }
  void Delete(std::uint64_t label) { graph_->markDelete(label); }
  // Nearest first.
  std::vector<std::uint64_t> Search(const std::vector<float>& query, std::size_t k, std::size_t ef) {
    graph_->setEf(ef);
    auto found = graph_->searchKnn(query.data(), k);
    std::vector<std::uint64_t> labels(found.size());
    for (std::size_t i = labels.size(); i > 0; --i, found.pop()) labels[i - 1] = found.top().second;
    return labels;
  }
  ByteString Bytes() const {
    const TemporaryDirectory directory;
    const std::string path = directory.path() + "/index.bin";
    graph_->saveIndex(path);
    return ReadFile(path).value();
  }
  void Save(const std::string& path) const { graph_->saveIndex(path); }

 private:
  using Graph = hnswlib_of_tests::HierarchicalNSW<float>;
  std::unique_ptr<hnswlib_of_tests::SpaceInterface<float>> space_;
  std::unique_ptr<Graph> graph_;
};

}  // namespace foreshore
