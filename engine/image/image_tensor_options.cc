#include <cmath>
#include <string>
#include <utility>

#include "engine/image/image_tensor.h"
#include "engine/inference/json_reader.h"

namespace foreshore {

namespace {

using simdjson::dom::element;

constexpr std::size_t kOptionsBytesMax = 4'096;
constexpr std::string_view kWhat = "image_tensor options";

Status Unfit(std::string_view key, const std::string& expected) {
  return Status::InvalidArgument(std::string(kWhat) + ": \"" + std::string(key.substr(0, 64)) + "\": expected " +
                                 expected);
}

template <typename T>
Status ReadName(std::string_view key, const element& value, std::initializer_list<std::pair<std::string_view, T>> names,
                T& out) {
  std::string_view text;
  std::string expected;
  const bool is_text = value.get(text) == simdjson::SUCCESS;
  for (const auto& [name, meaning] : names) {
    if (is_text && text == name) {
      out = meaning;
      return Status::Ok();
    }
    expected += (expected.empty() ? "\"" : ", \"") + std::string(name) + "\"";
  }
  return Unfit(key, "one of " + expected);
}

Status ReadSize(std::string_view key, const element& value, std::uint32_t& out) {
  std::uint64_t size = 0;
  if (value.get(size) != simdjson::SUCCESS || size < 1 || size > kImageSideMax) {
    return Unfit(key, "1.." + std::to_string(kImageSideMax));
  }
  out = static_cast<std::uint32_t>(size);
  return Status::Ok();
}

Status ReadFloat(std::string_view key, const element& value, float& out) {
  double number = 0;
  if (value.get(number) != simdjson::SUCCESS || !std::isfinite(static_cast<float>(number)))
    return Unfit(key, "a number");
  out = static_cast<float>(number);
  return Status::Ok();
}

// One number for all channels, or a list of one or three.
Status ReadChannels(std::string_view key, const element& value, bool may_be_zero, std::array<float, 3>& out) {
  simdjson::dom::array list;
  std::size_t count = 0;
  if (value.get(list) != simdjson::SUCCESS) {
    FORESHORE_RETURN_IF_ERROR(ReadFloat(key, value, out[0]));
    count = 1;
  } else {
    for (const element& item : list) {
      if (count == 3) return Unfit(key, "one number or three");
      FORESHORE_RETURN_IF_ERROR(ReadFloat(key, item, out[count++]));
    }
  }
  if (count != 1 && count != 3) return Unfit(key, "one number or three");
  if (count == 1) out[1] = out[2] = out[0];
  for (const float each : out) {
    if (!may_be_zero && each == 0) return Unfit(key, "numbers other than 0");
  }
  return Status::Ok();
}

Status ReadCrop(std::string_view key, const element& value, std::optional<ImageWindow>& out) {
  simdjson::dom::array list;
  std::array<std::uint32_t, 4> sizes{};
  std::size_t count = 0;
  if (value.get(list) == simdjson::SUCCESS) {
    for (const element& item : list) {
      std::uint64_t size = 0;
      if (count == 4 || item.get(size) != simdjson::SUCCESS || size > 0x7FFFFFFF)
        return Unfit(key, "[x, y, width, height]");
      sizes[count++] = static_cast<std::uint32_t>(size);
    }
  }
  if (count != 4 || sizes[2] < 1 || sizes[3] < 1) return Unfit(key, "[x, y, width, height]");
  out = ImageWindow{sizes[0], sizes[1], sizes[2], sizes[3]};
  return Status::Ok();
}

Status ReadOption(std::string_view key, const element& value, ImageTensorOptions& options) {
  if (key == "width") return ReadSize(key, value, options.width);
  if (key == "height") return ReadSize(key, value, options.height);
  if (key == "crop") return ReadCrop(key, value, options.crop);
  if (key == "scale") return ReadFloat(key, value, options.scale);
  if (key == "mean") return ReadChannels(key, value, true, options.mean);
  if (key == "std") return ReadChannels(key, value, false, options.std);
  if (key == "fit") {
    return ReadName<ImageFit>(
        key, value, {{"stretch", ImageFit::kStretch}, {"cover", ImageFit::kCover}, {"contain", ImageFit::kContain}},
        options.fit);
  }
  if (key == "resize") {
    return ReadName<ImageFilter>(
        key, value,
        {{"nearest", ImageFilter::kNearest}, {"bilinear", ImageFilter::kBilinear}, {"area", ImageFilter::kArea}},
        options.filter);
  }
  if (key == "color") {
    return ReadName<ImageColor>(
        key, value, {{"rgb", ImageColor::kRgb}, {"bgr", ImageColor::kBgr}, {"grey", ImageColor::kGrey}}, options.color);
  }
  if (key == "layout") return ReadName<bool>(key, value, {{"nchw", false}, {"nhwc", true}}, options.channels_last);
  if (key == "type") return ReadName<bool>(key, value, {{"float", false}, {"uint8", true}}, options.is_bytes);
  if (key == "pad") {
    FORESHORE_RETURN_IF_ERROR(ReadFloat(key, value, options.pad));
    return options.pad >= 0 && options.pad <= 255 ? Status::Ok() : Unfit(key, "0..255");
  }
  return Status::InvalidArgument(std::string(kWhat) + ": unknown option \"" + std::string(key.substr(0, 64)) + "\"");
}

}  // namespace

Result<ImageTensorOptions> ParseImageTensorOptions(std::string_view json) {
  JsonReader reader;
  const Status parsed = reader.Parse(kWhat, json, kOptionsBytesMax);
  if (parsed.code() == ErrorCode::kCorruption) return Status::InvalidArgument(parsed.message());
  if (!parsed.ok()) return parsed;
  ImageTensorOptions options;
  for (const auto& [key, value] : reader.root()) FORESHORE_RETURN_IF_ERROR(ReadOption(key, value, options));
  return options;
}

}  // namespace foreshore
