// Goal: tensors of images are what the definitions say, and options that make no sense are refused by name.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "engine/image/image_tensor.h"
#include "engine/inference/graph/tensor_blob.h"
#include "tests/engine/image/image_files.h"
#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore {
namespace {

Image Test(std::uint32_t width, std::uint32_t height, std::uint32_t channels) {
  return {width, height, channels, Picture(width, height, channels)};
}

std::vector<float> TensorOf(const Image& image, std::string_view options, graph::Shape* shape = nullptr) {
  const auto parsed = ParseImageTensorOptions(options);
  REQUIRE_MESSAGE(parsed.ok(), parsed.status().message());
  const auto tensor = MakeImageTensor("a", image, *parsed);
  REQUIRE_MESSAGE(tensor.ok(), tensor.status().message());
  if (shape != nullptr) *shape = tensor->info.shape;
  return graph::Values<float>(*tensor);
}

// The reference is the operator Resize, which ONNX's own cases hold to "linear" with half pixels.
TEST_CASE("image tensor: bilinear is what ONNX's Resize makes") {
  for (const auto& [width, height] : std::vector<std::array<std::uint32_t, 2>>{{7, 5}, {40, 31}, {1, 1}, {13, 50}}) {
    CAPTURE(width);
    const Image image = Test(19, 11, 1);
    std::vector<float> pixels(image.pixels.begin(), image.pixels.end());
    OnnxWriter writer;
    writer.Input("x", {1, 1, 11, 19}, 1);
    ByteString sizes;
    for (const std::uint32_t size : {1U, 1U, height, width}) AppendFixed(sizes, std::int64_t{size});
    writer.Initializer(TensorMessage("sizes", 7, {4}, sizes));
    writer.Node("Resize", {"x", "", "", "sizes"}, {StringAttribute("mode", "linear")}, "y");
    writer.Output("y", {});
    std::vector<graph::OwnedTensor> inputs;
    inputs.push_back(graph::Make<float>({1, 1, 11, 19}, pixels));
    const auto expected = graph::RunGraph(writer.Finish(), inputs);
    REQUIRE_MESSAGE(expected.ok(), expected.status().message());
    const auto wanted = graph::Values<float>((*expected)[0]);
    const auto found = Resize(image, {0, 0, 19, 11}, width, height, ImageFilter::kBilinear);
    REQUIRE(found.size() == wanted.size());
    for (std::size_t i = 0; i < found.size(); ++i) REQUIRE(std::abs(found[i] - wanted[i]) <= 1e-3F);
  }
}

TEST_CASE("image tensor: area is the mean of what a pixel covers, in part where it covers it in part") {
  const Image row{3, 1, 1, {0, 30, 90}};
  // Halves of three: [0, 1.5) and [1.5, 3).
  CHECK(Resize(row, {0, 0, 3, 1}, 2, 1, ImageFilter::kArea) == std::vector<float>{10, 70});
  CHECK(Resize(row, {0, 0, 3, 1}, 1, 1, ImageFilter::kArea)[0] == doctest::Approx(40));
  CHECK(Resize(row, {0, 0, 3, 1}, 6, 2, ImageFilter::kArea)[7] == doctest::Approx(0));
  CHECK(Resize(row, {0, 0, 3, 1}, 6, 1, ImageFilter::kNearest) == std::vector<float>{0, 0, 30, 30, 90, 90});
  CHECK(Resize(row, {1, 0, 2, 1}, 1, 1, ImageFilter::kNearest) == std::vector<float>{90});
  // Means stay: the picture's is that of its reduction, whatever the sizes.
  const Image image = Test(97, 61, 3);
  double sum = 0;
  for (const std::uint8_t pixel : image.pixels) sum += pixel;
  for (const std::uint32_t size : {1U, 7U, 60U, 97U}) {
    const auto small = Resize(image, {0, 0, 97, 61}, size, size % 61 + 1, ImageFilter::kArea);
    double small_sum = 0;
    for (const float pixel : small) small_sum += static_cast<double>(pixel);
    CHECK(small_sum / static_cast<double>(small.size()) ==
          doctest::Approx(sum / static_cast<double>(image.pixels.size())).epsilon(1e-4));
  }
}

TEST_CASE("image tensor: layout, colours, scale, mean and std") {
  const Image image{2, 1, 3, {10, 20, 30, 40, 50, 60}};
  graph::Shape shape;
  CHECK(TensorOf(image, R"({"scale":1})", &shape) == std::vector<float>{10, 40, 20, 50, 30, 60});
  CHECK(shape == graph::Shape{1, 3, 1, 2});
  CHECK(TensorOf(image, R"({"scale":1,"layout":"nhwc","color":"bgr"})", &shape) ==
        std::vector<float>{30, 20, 10, 60, 50, 40});
  CHECK(shape == graph::Shape{1, 1, 2, 3});
  CHECK(TensorOf(image, R"({"scale":1,"color":"grey"})")[0] == doctest::Approx(0.299 * 10 + 0.587 * 20 + 0.114 * 30));
  CHECK(TensorOf(image, R"({"scale":2,"mean":[1,2,3],"std":[2,4,5]})") ==
        std::vector<float>{19.0F / 2, 79.0F / 2, 38.0F / 4, 98.0F / 4, 57.0F / 5, 117.0F / 5});
  CHECK(TensorOf(image, "{}")[0] == 10 * (1.0F / 255));
  const Image grey{2, 1, 1, {7, 9}};
  CHECK(TensorOf(grey, R"({"scale":1})", &shape) == std::vector<float>{7, 9, 7, 9, 7, 9});
  CHECK(TensorOf(grey, R"({"scale":1,"color":"grey"})", &shape) == std::vector<float>{7, 9});
  const auto bytes = MakeImageTensor("a", image, *ParseImageTensorOptions(R"({"type":"uint8","layout":"nhwc"})"));
  CHECK(graph::Values<std::uint8_t>(*bytes) == image.pixels);
}

TEST_CASE("image tensor: crop, cover and contain") {
  const Image row{4, 1, 1, {10, 20, 30, 40}};
  const std::string plain = R"("scale":1,"color":"grey")";
  CHECK(TensorOf(row, "{" + plain + R"(,"crop":[1,0,2,1]})") == std::vector<float>{20, 30});
  CHECK(TensorOf(row, "{" + plain + R"(,"width":2,"height":1,"fit":"cover"})") == std::vector<float>{20, 30});
  CHECK(TensorOf(row, "{" + plain + R"(,"width":4,"height":3,"fit":"contain","pad":5})") ==
        std::vector<float>{5, 5, 5, 5, 10, 20, 30, 40, 5, 5, 5, 5});
  const Image column{1, 4, 1, {10, 20, 30, 40}};
  CHECK(TensorOf(column, "{" + plain + R"(,"width":1,"height":2,"fit":"cover"})") == std::vector<float>{20, 30});
  CHECK(TensorOf(column, "{" + plain + R"(,"width":3,"height":4,"fit":"contain"})") ==
        std::vector<float>{0, 10, 0, 0, 20, 0, 0, 30, 0, 0, 40, 0});
  // One side alone keeps the proportions.
  graph::Shape shape;
  TensorOf(Test(40, 20, 3), R"({"width":10})", &shape);
  CHECK(shape == graph::Shape{1, 3, 5, 10});
  TensorOf(Test(40, 20, 3), R"({"height":40})", &shape);
  CHECK(shape == graph::Shape{1, 3, 40, 80});
}

TEST_CASE("image tensor: what makes no sense is refused by name") {
  for (const std::string_view options : {"",
                                         "[]",
                                         "{\"size\":3}",
                                         "{\"width\":0}",
                                         "{\"width\":9000}",
                                         "{\"width\":\"3\"}",
                                         "{\"fit\":\"squash\"}",
                                         "{\"resize\":1}",
                                         "{\"color\":\"cmyk\"}",
                                         "{\"mean\":[1,2]}",
                                         "{\"mean\":[]}",
                                         "{\"mean\":[1,2,3,4]}",
                                         "{\"std\":[1,0,1]}",
                                         "{\"std\":0}",
                                         "{\"scale\":null}",
                                         "{\"scale\":1e300}",
                                         "{\"crop\":[1,2,3]}",
                                         "{\"crop\":[0,0,0,1]}",
                                         "{\"crop\":[-1,0,1,1]}",
                                         "{\"pad\":256}",
                                         "{\"width\":1,\"width\":2}"}) {
    CAPTURE(options);
    CHECK(ParseImageTensorOptions(options).status().code() == ErrorCode::kInvalidArgument);
  }
  const auto outside = MakeImageTensor("a", Test(4, 4, 1), *ParseImageTensorOptions("{\"crop\":[2,2,3,1]}"));
  CHECK(outside.status().code() == ErrorCode::kInvalidArgument);
  CHECK(outside.status().message() == "a: crop reaches 5 x 3, the image has 4 x 4 pixels");
  const auto large = MakeImageTensor("a", Test(4, 4, 1), *ParseImageTensorOptions("{\"width\":8192,\"height\":8192}"));
  CHECK(large.status().code() == ErrorCode::kLimit);
  // A sliver: its other side in proportion would be beyond all bounds.
  CHECK(MakeImageTensor("a", {1, 4'000, 1, Pixels(4'000)}, *ParseImageTensorOptions("{\"width\":8192}"))
            .status()
            .code() == ErrorCode::kLimit);
}

TEST_CASE("tensor blob: back as it was; bytes that contradict themselves are refused") {
  const auto tensor = graph::Make<float>({2, 1, 3}, {1, 2, 3, 4, 5, -6});
  const ByteString blob = graph::EncodeTensorBlob(tensor.ref());
  CHECK(blob.size() == 8 + 3 * 8 + 24);
  const auto back = graph::DecodeTensorBlob(blob, 24);
  REQUIRE(back.ok());
  CHECK(back->info == tensor.info);
  CHECK(graph::Values<float>(*back) == graph::Values<float>(tensor));
  CHECK(graph::DecodeTensorBlob(blob, 23).status().code() == ErrorCode::kLimit);
  for (std::size_t size = 0; size < blob.size(); ++size)
    CHECK(!graph::DecodeTensorBlob(Bytes(blob).substr(0, size), 1 << 20).ok());
  for (std::size_t i = 0; i < 32; ++i) {
    for (const char value : {'\x00', '\x7f', '\xff'}) {
      ByteString changed = blob;
      if (changed[i] == value) continue;
      changed[i] = value;
      const auto found = graph::DecodeTensorBlob(changed, 1 << 20);
      CHECK((!found.ok() || found->size_bytes == 24));
    }
  }
}

}  // namespace
}  // namespace foreshore
