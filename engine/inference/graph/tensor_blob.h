// A tensor as bytes, for what passes one through SQL:
//
//   OFFSET SIZE FIELD                                       little-endian
//        0    4 magic "FST\1"
//        4    2 element type, as ONNX numbers them
//        6    2 rank, at most 8
//        8  8·r sizes
//            … elements, row by row
// Threads: pure functions.
#pragma once

#include "engine/inference/graph/tensor_value.h"
#include "foreshore/bytes.h"

namespace foreshore::graph {

ByteString EncodeTensorBlob(const TensorRef& tensor);
// Whether the bytes begin as a tensor does. JSON does not.
bool IsTensorBlob(Bytes bytes);
// kInvalidArgument for bytes that contradict themselves; kLimit for a tensor of more than `bytes_max`.
Result<OwnedTensor> DecodeTensorBlob(Bytes bytes, std::uint64_t bytes_max);

}  // namespace foreshore::graph
