#include "tests/bench/hnswlib08_side.h"

// The library has the other version in it: one namespace for both would mix their inline functions.
#define hnswlib hnswlib_0_8
#include <hnswlib/hnswlib.h>
#undef hnswlib

#include <atomic>
#include <thread>

namespace foreshore {
namespace {

class Passes : public hnswlib_0_8::BaseFilterFunctor {
 public:
  explicit Passes(const std::vector<bool>& passes) : passes_(passes) {}
  bool operator()(hnswlib_0_8::labeltype label) override { return passes_[label]; }

 private:
  const std::vector<bool>& passes_;
};

}  // namespace

struct Hnswlib08Side::Impl {
  std::unique_ptr<hnswlib_0_8::SpaceInterface<float>> space;
  std::unique_ptr<hnswlib_0_8::HierarchicalNSW<float>> graph;
};

Hnswlib08Side::~Hnswlib08Side() = default;

Hnswlib08Side::Hnswlib08Side(VectorMetric metric, const FloatRows& rows, std::uint32_t links,
                             std::uint32_t ef_construction, int thread_count)
    : impl_(std::make_unique<Impl>()) {
  if (metric == VectorMetric::kL2) {
    impl_->space = std::make_unique<hnswlib_0_8::L2Space>(rows.dimension);
  } else {
    impl_->space = std::make_unique<hnswlib_0_8::InnerProductSpace>(rows.dimension);
  }
  impl_->graph =
      std::make_unique<hnswlib_0_8::HierarchicalNSW<float>>(impl_->space.get(), rows.count(), links, ef_construction);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t row = next++; row < rows.count(); row = next++) impl_->graph->addPoint(rows[row].data(), row);
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < thread_count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

void Hnswlib08Side::Search(const float* query, std::size_t k, std::size_t ef, const std::vector<bool>& passes,
                           std::vector<std::int64_t>& labels) {
  Passes filter(passes);
  impl_->graph->setEf(ef);
  auto found = impl_->graph->searchKnn(query, k, &filter);
  labels.clear();
  for (; !found.empty(); found.pop()) labels.push_back(static_cast<std::int64_t>(found.top().second));
}

}  // namespace foreshore
