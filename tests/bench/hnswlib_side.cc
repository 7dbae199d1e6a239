#include "tests/bench/hnswlib_side.h"

// Our library has templates of hnswlib's as well, with another lock in them: by another name neither takes the other's.
#define hnswlib hnswlib_of_bench
#include <hnswlib/hnswlib.h>
#undef hnswlib

#include <atomic>
#include <thread>

namespace foreshore {

struct HnswlibSide::Impl {
  std::unique_ptr<hnswlib_of_bench::SpaceInterface<float>> space;
  std::unique_ptr<hnswlib_of_bench::HierarchicalNSW<float>> graph;
  void MakeSpace(VectorMetric metric, std::uint32_t dimension) {
    if (metric == VectorMetric::kL2) {
      space = std::make_unique<hnswlib_of_bench::L2Space>(dimension);
    } else {
      space = std::make_unique<hnswlib_of_bench::InnerProductSpace>(dimension);
    }
  }
};

HnswlibSide::HnswlibSide() : impl_(std::make_unique<Impl>()) {}
HnswlibSide::~HnswlibSide() = default;

HnswlibSide::HnswlibSide(VectorMetric metric, std::uint32_t dimension, std::size_t count, std::uint32_t links,
                         std::uint32_t ef_construction)
    : HnswlibSide() {
  impl_->MakeSpace(metric, dimension);
  impl_->graph =
      std::make_unique<hnswlib_of_bench::HierarchicalNSW<float>>(impl_->space.get(), count, links, ef_construction);
}

void HnswlibSide::Build(const FloatRows& rows, int thread_count) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t row = next++; row < rows.count(); row = next++) impl_->graph->addPoint(rows[row].data(), row);
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < thread_count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

void HnswlibSide::Search(const float* query, std::size_t k, std::size_t ef, std::vector<std::int64_t>& labels) {
  impl_->graph->setEf(ef);
  auto found = impl_->graph->searchKnn(query, k);
  labels.clear();
  for (; !found.empty(); found.pop()) labels.push_back(static_cast<std::int64_t>(found.top().second));
}

void HnswlibSide::Save(const std::string& path) {
  impl_->graph->saveIndex(path);
}

std::unique_ptr<HnswlibSide> HnswlibSide::Load(VectorMetric metric, std::uint32_t dimension, const std::string& path) {
  std::unique_ptr<HnswlibSide> side(new HnswlibSide());
  side->impl_->MakeSpace(metric, dimension);
  side->impl_->graph = std::make_unique<hnswlib_of_bench::HierarchicalNSW<float>>(side->impl_->space.get(), path);
  return side;
}

}  // namespace foreshore
