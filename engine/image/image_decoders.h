// The decoders behind DecodeImage(). Both check sizes through CheckImageSize() before they allocate.
#pragma once

#include "engine/image/image_decode.h"

namespace foreshore {

Status CheckImageSize(std::string_view what, std::uint64_t width, std::uint64_t height, const ImageLimits& limits);
// Without orientation, which `orientation` (1..8) says.
Result<Image> DecodeJpeg(std::string_view what, Bytes file, const ImageLimits& limits, int& orientation);
Result<Image> DecodePng(std::string_view what, Bytes file, const ImageLimits& limits);

}  // namespace foreshore
