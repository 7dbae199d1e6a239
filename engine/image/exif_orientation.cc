#include "engine/image/exif_orientation.h"

#include <utility>

namespace foreshore {

namespace {

// Reads the TIFF structure; what lies outside reads as 0.
class Tiff {
 public:
  explicit Tiff(Bytes bytes) : bytes_(bytes), is_big_(bytes.substr(0, 2) == "MM") {}
  std::uint32_t U16(std::size_t at) const {
    return is_big_ ? Byte(at) << 8 | Byte(at + 1) : Byte(at + 1) << 8 | Byte(at);
  }
  std::uint32_t U32(std::size_t at) const {
    return is_big_ ? U16(at) << 16 | U16(at + 2) : U16(at + 2) << 16 | U16(at);
  }

 private:
  std::uint32_t Byte(std::size_t at) const { return at < bytes_.size() ? static_cast<unsigned char>(bytes_[at]) : 0; }
  Bytes bytes_;
  bool is_big_;
};

}  // namespace

int ExifOrientation(Bytes segment) {
  constexpr std::string_view kMark("Exif\0\0", 6);
  constexpr std::uint32_t kOrientation = 0x0112;
  constexpr std::uint32_t kShort = 3;
  if (!segment.starts_with(kMark)) return 1;
  const Bytes bytes = segment.substr(kMark.size());
  if (!bytes.starts_with("II") && !bytes.starts_with("MM")) return 1;
  const Tiff tiff(bytes);
  const std::size_t directory = tiff.U32(4);
  if (tiff.U16(2) != 42 || directory > bytes.size()) return 1;
  const std::size_t count = tiff.U16(directory);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t entry = directory + 2 + i * 12;
    if (entry + 12 > bytes.size()) return 1;
    if (tiff.U16(entry) != kOrientation || tiff.U16(entry + 2) != kShort) continue;
    const std::uint32_t value = tiff.U16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image Oriented(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  Image turned;
  const bool swaps = orientation >= 5;
  turned.width = swaps ? image.height : image.width;
  turned.height = swaps ? image.width : image.height;
  turned.channels = image.channels;
  turned.pixels.resize(image.pixels.size());
  const std::size_t channels = image.channels;
  std::uint8_t* to = turned.pixels.data();
  for (std::uint32_t y = 0; y < turned.height; ++y) {
    for (std::uint32_t x = 0; x < turned.width; ++x, to += channels) {
      std::uint32_t from_x = swaps ? y : x;
      std::uint32_t from_y = swaps ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        from_x = image.width - 1 - from_x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        from_y = image.height - 1 - from_y;
      const std::uint8_t* from = image.pixels.data() + (std::size_t{from_y} * image.width + from_x) * channels;
      for (std::size_t c = 0; c < channels; ++c) to[c] = from[c];
    }
  }
  return turned;
}

}  // namespace foreshore
