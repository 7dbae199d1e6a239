// Whether a graph treats the first size of its inputs as rows that know nothing of each other: then many rows in one
// call give what each gives alone, and may be computed before anybody asks for them. With several inputs a row has its
// part of each, and the first size of all is open.
//
// Threads: free functions, safe from any thread.
#pragma once

#include "engine/inference/graph/graph.h"

namespace foreshore::graph {

// True only where it follows from every step: products by constant matrices, functions of elements, arithmetic with
// constants that have no rows of their own, look-ups in constant tables, and concatenations, reductions, softmax and
// norms along other axes. That the rounding is the same too is the kernels' part: each row's sums go in one order,
// however many rows there are.
bool HasIndependentRows(const Graph& graph);

}  // namespace foreshore::graph
