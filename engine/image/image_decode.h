// JPEG and PNG files into pixels, by libjpeg-turbo and libpng.
//
// Pixels are 8 bits, grey or RGB, rows from the top, no padding. A JPEG's EXIF orientation is applied, so that "top" is
// what a viewer shows; a PNG's is not looked at. 16 bits are rounded to 8, palettes and fewer bits are widened, alpha
// is dropped (not blended), interlaced and progressive files are read whole. Colour profiles and gamma are not applied.
// CMYK is refused: without its profile it has no colours.
//
// Memory: the pixels, once more while they are turned, and what the libraries keep for progressive and interlaced
// files: at most 16 bytes for each pixel beside the file. Sizes are compared with the limit before anything is
// allocated. Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::uint64_t kImageFileBytesMax = 64ULL << 20;  // Of what is read from attachments.

struct ImageLimits {
  std::uint64_t pixel_count_max = 1ULL << 25;  // 32 Mi: 8192 x 4096.
};

struct Image {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t channels = 0;  // 1 or 3.
  std::vector<std::uint8_t> pixels;
};

// `what` is what messages call the file. kUnsupported for what is neither JPEG nor PNG, for CMYK, and where the library
// was built without decoders; kLimit above `limits`; kCorruption for a file that is damaged or ends early: nothing is
// made up.
Result<Image> DecodeImage(std::string_view what, Bytes file, const ImageLimits& limits = {});

// Whether this build has the decoders.
bool HasImageDecoders();

}  // namespace foreshore
