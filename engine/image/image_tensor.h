// What a network takes of an image: cut, resized, its channels chosen and scaled, as a tensor of one image.
//
//   value = (pixel · scale − mean[channel]) / std[channel]       in single precision, in this order
//
// Threads: pure functions.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "engine/image/image_resize.h"
#include "engine/inference/graph/tensor_value.h"

namespace foreshore {

enum class ImageFit : std::uint8_t {
  kStretch,  // To the size, whatever becomes of the proportions.
  kCover,    // The largest part of these proportions from the middle.
  kContain,  // Whole, in the middle of `pad`.
};
enum class ImageColor : std::uint8_t { kRgb, kBgr, kGrey };

struct ImageTensorOptions {
  std::optional<ImageWindow> crop;  // Of the upright image, before all else.
  std::uint32_t width = 0;          // 0: as it is (with `height` alone or `width` alone 0: in proportion).
  std::uint32_t height = 0;
  ImageFit fit = ImageFit::kStretch;
  ImageFilter filter = ImageFilter::kBilinear;
  ImageColor color = ImageColor::kRgb;  // Grey of RGB is 0.299 R + 0.587 G + 0.114 B; RGB of grey is it three times.
  bool channels_last = false;           // [1, height, width, channels] instead of [1, channels, height, width].
  bool is_bytes = false;                // uint8, rounded to even, without scale, mean and std.
  float scale = 1.0F / 255;
  std::array<float, 3> mean{0, 0, 0};  // Of the channels in the order of `color`.
  std::array<float, 3> std{1, 1, 1};
  float pad = 0;  // A pixel's value, 0..255.
};

inline constexpr std::uint32_t kImageSideMax = 8'192;          // Of a result.
inline constexpr std::uint64_t kTensorPixelsMax = 1ULL << 22;  // Of a result.

// Reads {"width":224,"height":224,"fit":"cover","resize":"area","crop":[x,y,w,h],"color":"bgr","layout":"nhwc",
// "type":"uint8","scale":1,"mean":[…],"std":[…],"pad":114}. kInvalidArgument for what is none of that.
Result<ImageTensorOptions> ParseImageTensorOptions(std::string_view json);

// `what` is what messages call the image. kInvalidArgument for a crop that does not lie in it; kLimit for a result of
// more than kTensorPixelsMax pixels.
Result<graph::OwnedTensor> MakeImageTensor(std::string_view what, const Image& image,
                                           const ImageTensorOptions& options);
// The same of a file's bytes, as bytes (graph/tensor_blob.h): SQL's image_tensor(). Errors as DecodeImage()'s too.
Result<ByteString> ImageTensorBlob(Bytes file, const ImageTensorOptions& options);

}  // namespace foreshore
