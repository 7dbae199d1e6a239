#include "engine/image/image_decode.h"

#include <string>

#include "engine/image/exif_orientation.h"
#include "engine/image/image_decoders.h"

namespace foreshore {

Status CheckImageSize(std::string_view what, std::uint64_t width, std::uint64_t height, const ImageLimits& limits) {
  if (width == 0 || height == 0) return Status::Corruption(std::string(what) + ": has no pixels");
  // Both are at most 2^32.
  if (width > limits.pixel_count_max / height) {
    return Status::Limit(std::string(what) + ": " + std::to_string(width) + " x " + std::to_string(height) +
                         " pixels, expected at most " + std::to_string(limits.pixel_count_max));
  }
  return Status::Ok();
}

Result<Image> DecodeImage(std::string_view what, Bytes file, const ImageLimits& limits) {
  if (file.starts_with("\xFF\xD8\xFF")) {
    int orientation = 1;
    FORESHORE_ASSIGN_OR_RETURN(Image image, DecodeJpeg(what, file, limits, orientation));
    return Oriented(std::move(image), orientation);
  }
  if (file.starts_with("\x89PNG\r\n\x1A\n")) return DecodePng(what, file, limits);
  std::string found = "nothing";
  for (std::size_t i = 0; i < file.size() && i < 4; ++i) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(file[i]);
    if (i == 0) found = "bytes";
    found += std::string(" ") + kDigits[byte >> 4] + kDigits[byte & 15];
  }
  return Status::Unsupported(std::string(what) + ": begins with " + found + ", expected a JPEG or PNG file");
}

}  // namespace foreshore
