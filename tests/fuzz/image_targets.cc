// JPEG and PNG files as they come with attachments, and the options of image_tensor().
#include <zlib.h>

#include "engine/image/image_decode.h"
#include "engine/image/image_tensor.h"
#include "storage/base/coding.h"
#include "tests/engine/image/image_files.h"
#include "tests/fuzz/fuzz_target.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kPixelsMax = 1 << 16;

std::uint32_t BigEndian(Bytes bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// A PNG file whose chunks have the checksums of what is in them, so that what lies behind those is met.
ByteString WithSums(Bytes file) {
  constexpr std::size_t kMarkBytes = 8;
  constexpr std::size_t kFrameBytes = 12;  // Of a chunk: length, kind, checksum.
  ByteString fixed(file);
  if (!file.starts_with("\x89PNG")) return fixed;
  for (std::size_t at = kMarkBytes; at + kFrameBytes <= fixed.size();) {
    const std::size_t data_bytes = BigEndian(fixed, at);
    if (data_bytes > fixed.size() - at - kFrameBytes) break;
    const auto* const kind = reinterpret_cast<const Bytef*>(fixed.data() + at + 4);
    const auto sum = static_cast<std::uint32_t>(crc32(0, kind, static_cast<uInt>(4 + data_bytes)));
    for (std::size_t i = 0; i < 4; ++i) fixed[at + 8 + data_bytes + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += kFrameBytes + data_bytes;
  }
  return fixed;
}

bool RunImage(Bytes input) {
  const FuzzPair pair = SplitFuzzInput(input);
  const auto options = ParseImageTensorOptions(pair.first);
  const auto image = DecodeImage("image", WithSums(pair.second), {.pixel_count_max = kPixelsMax});
  if (!image.ok()) return false;
  const std::uint64_t pixel_count = std::uint64_t{image->width} * image->height;
  FuzzCheck(image->channels == 1 || image->channels == 3, "an image is grey or RGB");
  FuzzCheck(pixel_count > 0 && pixel_count <= kPixelsMax, "an image keeps to its limit");
  FuzzCheck(image->pixels.size() == pixel_count * image->channels, "an image has all of its pixels");
  if (!options.ok()) return true;
  const auto tensor = MakeImageTensor("image", *image, *options);
  if (tensor.ok() && options->width > 0 && options->height > 0) {
    const graph::Shape& shape = tensor->ref().info->shape;
    FuzzCheck(shape.size() == 4 && shape[options->channels_last ? 1 : 2] == std::int64_t{options->height},
              "a tensor has the size that was asked for");
  }
  return true;
}

std::vector<ByteString> ImageSeeds() {
  const Pixels colours = Picture(19, 13, 3);
  const Pixels greys = Picture(16, 16, 1);
  return {
      JoinFuzzInput("{}", WriteJpeg(19, 13, 3, colours)),
      JoinFuzzInput(R"({"width":8,"fit":"cover","resize":"area"})",
                    WriteJpeg(19, 13, 3, colours, {.is_progressive = true, .orientation = 6})),
      JoinFuzzInput(R"({"color":"grey","crop":[1,2,3,4],"type":"uint8"})",
                    WriteJpeg(16, 16, 1, greys, {.orientation = 8, .is_big_endian = true})),
      JoinFuzzInput(R"({"width":7,"height":9,"fit":"contain","pad":114,"layout":"nhwc"})",
                    WritePng(19, 13, PNG_COLOR_TYPE_RGB, 8, colours, true)),
      JoinFuzzInput(R"({"mean":[0.5,0.4,0.3],"std":0.2,"scale":1,"color":"bgr","resize":"nearest","height":4})",
                    WritePng(4, 16, PNG_COLOR_TYPE_RGB_ALPHA, 16, Pixels(4 * 16 * 8, 77))),
      JoinFuzzInput(
          "{}", WritePng(16, 16, PNG_COLOR_TYPE_PALETTE, 4, Pixels(16 * 8, 0x10), false, {{1, 2, 3}, {200, 100, 50}})),
  };
}

}  // namespace

std::vector<FuzzTarget> ImageFuzzTargets() {
  return {{"image", ImageSeeds, RunImage}};
}

}  // namespace foreshore
