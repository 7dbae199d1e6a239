// Whose a model is and under which licence, as model files say it.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "foreshore/bytes.h"

namespace foreshore {

inline constexpr std::size_t kProvenanceBytesMax = 256;  // Of each; what is longer is cut, at a whole character.

struct ModelProvenance {
  std::string licence;  // Such as "apache-2.0"; empty if nothing says.
  std::string origin;   // A repository, address or name; empty if nothing says.

  // Takes from `other` what is empty here.
  void Complete(const ModelProvenance& other);
};

// A text as a row keeps it: of a file's bytes, printable UTF-8 alone, no longer than the limit.
std::string ProvenanceText(std::string_view text);

// From key-value pairs of any format: GGUF's general.license and general.source.url, the modelspec.* of safetensors,
// ONNX's metadata_props under the usual names. Keys are compared without regard to case; where several answer, the
// first of the order in the .cc file counts.
ModelProvenance ProvenanceOf(const std::vector<std::pair<std::string_view, std::string_view>>& metadata);

// The value of `license:` in the front matter of a model card; empty where there is none.
std::string LicenceOfModelCard(Bytes text);

}  // namespace foreshore
