#include "engine/image/image_tensor.h"

#include <algorithm>
#include <cmath>

#include "engine/inference/graph/tensor_blob.h"

namespace foreshore {

namespace {

// The size along one axis that keeps the proportions of the other: at least 1.
std::uint64_t InProportion(std::uint64_t size, std::uint64_t other_result, std::uint64_t other_source) {
  const double result =
      static_cast<double>(size) * static_cast<double>(other_result) / static_cast<double>(other_source);
  return std::max<std::uint64_t>(static_cast<std::uint64_t>(std::lround(std::min(result, 1e9))), 1);
}

// What is taken of the image, and where in the result it goes.
struct Placement {
  ImageWindow source;
  ImageWindow target;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};

Placement Fit(const ImageWindow& window, std::uint32_t width, std::uint32_t height, ImageFit fit) {
  Placement placement{window, {0, 0, width, height}, width, height};
  const auto wide = std::uint64_t{window.width} * height;  // Against width · window.height: which is the wider one.
  const auto high = std::uint64_t{window.height} * width;
  if (fit == ImageFit::kCover && wide > high) {
    const auto taken =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(InProportion(width, window.height, height), window.width));
    placement.source.x += (window.width - taken) / 2;
    placement.source.width = taken;
  } else if (fit == ImageFit::kCover) {
    const auto taken =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(InProportion(height, window.width, width), window.height));
    placement.source.y += (window.height - taken) / 2;
    placement.source.height = taken;
  } else if (fit == ImageFit::kContain && wide > high) {
    const auto used =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(InProportion(window.height, width, window.width), height));
    placement.target.y = (height - used) / 2;
    placement.target.height = used;
  } else if (fit == ImageFit::kContain) {
    const auto used =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(InProportion(window.width, height, window.height), width));
    placement.target.x = (width - used) / 2;
    placement.target.width = used;
  }
  return placement;
}

// One pixel's channels as `color` has them.
std::array<float, 3> Colored(const float* pixel, std::uint32_t channels, ImageColor color) {
  if (channels == 1) return {pixel[0], pixel[0], pixel[0]};
  switch (color) {
    case ImageColor::kRgb: return {pixel[0], pixel[1], pixel[2]};
    case ImageColor::kBgr: return {pixel[2], pixel[1], pixel[0]};
    case ImageColor::kGrey: break;
  }
  return {0.299F * pixel[0] + 0.587F * pixel[1] + 0.114F * pixel[2], 0, 0};
}

Result<Placement> Place(std::string_view what, const Image& image, const ImageTensorOptions& options) {
  const ImageWindow window = options.crop.value_or(ImageWindow{0, 0, image.width, image.height});
  if (std::uint64_t{window.x} + window.width > image.width || std::uint64_t{window.y} + window.height > image.height) {
    return Status::InvalidArgument(std::string(what) + ": crop reaches " +
                                   std::to_string(std::uint64_t{window.x} + window.width) + " x " +
                                   std::to_string(std::uint64_t{window.y} + window.height) + ", the image has " +
                                   std::to_string(image.width) + " x " + std::to_string(image.height) + " pixels");
  }
  std::uint64_t width = options.width;
  std::uint64_t height = options.height;
  if (width == 0) width = height == 0 ? window.width : InProportion(window.width, height, window.height);
  if (height == 0) height = options.width == 0 ? window.height : InProportion(window.height, width, window.width);
  if (width > kTensorPixelsMax / height) {
    return Status::Limit(std::string(what) + ": a tensor of " + std::to_string(width) + " x " + std::to_string(height) +
                         " pixels, expected at most " + std::to_string(kTensorPixelsMax));
  }
  return Fit(window, static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height), options.fit);
}

}  // namespace

Result<graph::OwnedTensor> MakeImageTensor(std::string_view what, const Image& image,
                                           const ImageTensorOptions& options) {
  FORESHORE_ASSIGN_OR_RETURN(const Placement place, Place(what, image, options));
  const std::vector<float> pixels =
      Resize(image, place.source, place.target.width, place.target.height, options.filter);
  const std::size_t channels = options.color == ImageColor::kGrey ? 1 : 3;
  const auto count = static_cast<std::int64_t>(channels);
  graph::TensorInfo info{options.is_bytes ? OnnxType::kUint8 : OnnxType::kFloat, {1, count, place.height, place.width}};
  if (options.channels_last) info.shape = {1, place.height, place.width, count};
  FORESHORE_ASSIGN_OR_RETURN(graph::OwnedTensor tensor, graph::MakeTensor(std::move(info), kTensorPixelsMax * 12));
  const std::size_t plane = std::size_t{place.width} * place.height;
  for (std::uint32_t y = 0; y < place.height; ++y) {
    for (std::uint32_t x = 0; x < place.width; ++x) {
      // Unsigned: what lies before the target is far behind it.
      const std::uint32_t from_x = x - place.target.x;
      const std::uint32_t from_y = y - place.target.y;
      std::array<float, 3> pixel{options.pad, options.pad, options.pad};
      if (from_x < place.target.width && from_y < place.target.height) {
        const std::size_t at = (std::size_t{from_y} * place.target.width + from_x) * image.channels;
        pixel = Colored(pixels.data() + at, image.channels, options.color);
      }
      for (std::size_t c = 0; c < channels; ++c) {
        const std::size_t at = std::size_t{y} * place.width + x;
        const std::size_t to = options.channels_last ? at * channels + c : c * plane + at;
        if (options.is_bytes) {
          const float whole = std::clamp(std::nearbyint(pixel[c]), 0.0F, 255.0F);
          tensor.bytes[to] = static_cast<std::byte>(whole);
        } else {
          reinterpret_cast<float*>(tensor.bytes.get())[to] =
              (pixel[c] * options.scale - options.mean[c]) / options.std[c];
        }
      }
    }
  }
  return tensor;
}

Result<ByteString> ImageTensorBlob(Bytes file, const ImageTensorOptions& options) {
  constexpr std::string_view kWhat = "image_tensor";
  if (file.size() > kImageFileBytesMax) {
    return Status::Limit(std::string(kWhat) + ": a file of " + std::to_string(file.size()) +
                         " bytes, expected at most " + std::to_string(kImageFileBytesMax));
  }
  FORESHORE_ASSIGN_OR_RETURN(const Image image, DecodeImage(kWhat, file));
  FORESHORE_ASSIGN_OR_RETURN(const graph::OwnedTensor tensor, MakeImageTensor(kWhat, image, options));
  return graph::EncodeTensorBlob(tensor.ref());
}

}  // namespace foreshore
