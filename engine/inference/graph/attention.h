// Attention as one step, which no file can name: softmax(query · keyᵀ · scale, masked) · value, for every head of every
// sequence. The scores are never there as a whole: a block of queries meets all keys of its head, and then its values.
//
//   Attention  query [lead…,S,D], key [lead…,D,T], value [lead…,T,V], then what each mask needs, then factors of one
//              number each: [lead…,S,V]; leads broadcast, as products of stacks of matrices do
//
// Attributes:
//   query, key, value      how an input is seen as the above, without moving it: for each axis of what is seen the
//                          input's own axis. Absent: as it is.
//   query_at, key_at, value_at  pairs of an input's axis that is not seen and the index at which it is taken
//   out                    the axes of the result in the order in which they are written, the last one at the end
//   scale                  what scores are multiplied by
//   divides                for each factor, 1 where scores are divided by it
//   masks                  for each mask, in their order, its MaskKind
//   keeps_zero             1 where weights that are no number count as 0
//
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/step_kernel.h"

namespace foreshore::graph {

enum class MaskKind : std::uint8_t {
  kAdd,         // One input, which is added.
  kKeepWhere,   // Two: where the first is true the score stays, elsewhere it is the second, one number.
  kKeepUnless,  // The other way round.
};

inline constexpr std::size_t kAttentionMasksMax = 4;
inline constexpr std::size_t kAttentionFactorsMax = 4;

const Operator& AttentionOperator();
// Of floats, by vectors.
StepKernelResult MakeAttentionKernel(const KernelSource& source, std::uint64_t bytes_max);

}  // namespace foreshore::graph
