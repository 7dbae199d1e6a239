// An operator that no file can name: products of the same rows by several constant matrices, side by side, as a
// transformer's queries, keys and values are.
//
//   Products  x, then for each product weights [K,N] and a row [N] or none: x · weights + row. Floats; as many outputs
//             as products.
//
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

const Operator& ProductsOperator();

}  // namespace foreshore::graph
