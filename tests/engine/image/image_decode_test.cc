// Goal: files become the pixels that were written, whatever form they have; hostile ones become errors.
#include <doctest/doctest.h>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>

#include "engine/image/exif_orientation.h"
#include "engine/image/image_decode.h"
#include "tests/engine/image/image_files.h"

namespace foreshore {
namespace {

int LargestDifference(const Pixels& a, const Pixels& b) {
  REQUIRE(a.size() == b.size());
  int largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST_CASE("image: JPEG files, grey and coloured, baseline and progressive") {
  for (const int channels : {1, 3}) {
    for (const bool is_progressive : {false, true}) {
      CAPTURE(channels);
      CAPTURE(is_progressive);
      const Pixels pixels = Picture(61, 37, static_cast<std::uint32_t>(channels));
      const auto image = DecodeImage("a.jpg", WriteJpeg(61, 37, channels, pixels, {.is_progressive = is_progressive}));
      REQUIRE_MESSAGE(image.ok(), image.status().message());
      CHECK(image->width == 61);
      CHECK(image->height == 37);
      CHECK(image->channels == static_cast<std::uint32_t>(channels));
      // Quality 95 of a smooth picture.
      CHECK(LargestDifference(image->pixels, pixels) <= 8);
    }
  }
}

// As the EXIF specification draws them: where the first row and column of the file are in what is seen.
TEST_CASE("image: a JPEG file's orientation is applied, in both byte orders") {
  const Pixels pixels = Picture(40, 24, 3);
  const auto at = [&](std::uint32_t x, std::uint32_t y) { return pixels[(y * 40 + x) * 3]; };
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    const auto image = DecodeImage("a.jpg", WriteJpeg(40, 24, 3, pixels,
                                                      {.orientation = static_cast<std::uint8_t>(orientation),
                                                       .is_big_endian = orientation % 2 == 0}));
    REQUIRE(image.ok());
    CHECK(image->width == (orientation >= 5 ? 24 : 40));
    const std::uint32_t last_x = image->width - 1;
    const auto seen = [&](std::uint32_t x, std::uint32_t y) {
      return std::array<int, 2>{image->pixels[(y * image->width + x) * 3],
                                image->pixels[(y * image->width + x) * 3 + 1]};
    };
    const auto file = [&](std::uint32_t x, std::uint32_t y) {
      return std::array<int, 2>{at(x, y), pixels[(y * 40 + x) * 3 + 1]};
    };
    const auto near = [](std::array<int, 2> a, std::array<int, 2> b) {
      return std::abs(a[0] - b[0]) <= 8 && std::abs(a[1] - b[1]) <= 8;
    };
    // The top left corner that is seen, and the top right one.
    const std::array<std::array<std::uint32_t, 2>, 9> left{
        {{0, 0}, {0, 0}, {39, 0}, {39, 23}, {0, 23}, {0, 0}, {0, 23}, {39, 23}, {39, 0}}};
    const std::array<std::array<std::uint32_t, 2>, 9> right{
        {{0, 0}, {39, 0}, {0, 0}, {0, 23}, {39, 23}, {0, 23}, {0, 0}, {39, 0}, {39, 23}}};
    const auto i = static_cast<std::size_t>(orientation);
    CHECK(near(seen(0, 0), file(left[i][0], left[i][1])));
    CHECK(near(seen(last_x, 0), file(right[i][0], right[i][1])));
  }
}

TEST_CASE("image: an orientation that makes no sense is none") {
  CHECK(ExifOrientation(ExifSegment(6, false)) == 6);
  CHECK(ExifOrientation(ExifSegment(9, false)) == 1);
  CHECK(ExifOrientation(ExifSegment(0, true)) == 1);
  CHECK(ExifOrientation("") == 1);
  const ByteString whole = ExifSegment(6, true);
  for (std::size_t size = 0; size + 10 < whole.size(); ++size)
    CHECK(ExifOrientation(Bytes(whole).substr(0, size)) == 1);
  ByteString far = whole;
  far[10] = '\x7f';  // The directory lies far behind the end.
  CHECK(ExifOrientation(far) == 1);
}

TEST_CASE("image: PNG files of every kind, to the pixel") {
  const Pixels rgb = Picture(13, 9, 3);
  const Pixels grey = Picture(13, 9, 1);
  for (const bool is_interlaced : {false, true}) {
    CAPTURE(is_interlaced);
    CHECK(DecodeImage("p", WritePng(13, 9, PNG_COLOR_TYPE_RGB, 8, rgb, is_interlaced))->pixels == rgb);
    CHECK(DecodeImage("p", WritePng(13, 9, PNG_COLOR_TYPE_GRAY, 8, grey, is_interlaced))->pixels == grey);
    Pixels alpha;
    Pixels wide;
    for (std::size_t i = 0; i < rgb.size(); ++i) {
      alpha.push_back(rgb[i]);
      if (i % 3 == 2) alpha.push_back(static_cast<std::uint8_t>(i));
    }
    for (const std::uint8_t value : grey) {
      wide.push_back(value);
      wide.push_back(200);  // Rounds up from 128: 8 bits are value · 65535 / 255.
    }
    CHECK(DecodeImage("p", WritePng(13, 9, PNG_COLOR_TYPE_RGB_ALPHA, 8, alpha, is_interlaced))->pixels == rgb);
    const auto narrow = DecodeImage("p", WritePng(13, 9, PNG_COLOR_TYPE_GRAY, 16, wide, is_interlaced));
    REQUIRE(narrow.ok());
    for (std::size_t i = 0; i < grey.size(); ++i) {
      const int whole = grey[i] * 256 + 200;
      REQUIRE(narrow->pixels[i] == (whole * 255 + 32'895) / 65'536);
    }
  }
  // Two bits: palette entries 3, 2, 1, 0 in a row.
  const std::vector<png_color> palette{{1, 2, 3}, {10, 20, 30}, {100, 110, 120}, {255, 0, 7}};
  const auto indexed = DecodeImage("p", WritePng(4, 1, PNG_COLOR_TYPE_PALETTE, 2, {0b11100100}, false, palette));
  REQUIRE(indexed.ok());
  CHECK(indexed->channels == 3);
  CHECK(indexed->pixels == Pixels{255, 0, 7, 100, 110, 120, 10, 20, 30, 1, 2, 3});
  CHECK(DecodeImage("p", WritePng(8, 1, PNG_COLOR_TYPE_GRAY, 1, {0b10100000}))->pixels ==
        Pixels{255, 0, 255, 0, 0, 0, 0, 0});
}

TEST_CASE("image: what is no image, or of a kind without colours, is refused by name") {
  for (const ByteString& file : {ByteString(), ByteString("GIF89a"), ByteString("\xFF\xD8"), ByteString("\x89PNG")}) {
    const auto image = DecodeImage("attachment \"a\"", file);
    CHECK(image.status().code() == ErrorCode::kUnsupported);
    CHECK(image.status().message().find("attachment \"a\": begins with") == 0);
  }
  const auto cmyk = DecodeImage("a", WriteJpeg(8, 8, 4, Picture(8, 8, 4), {.color = JCS_CMYK}));
  CHECK(cmyk.status().code() == ErrorCode::kUnsupported);
  CHECK(cmyk.status().message().find("4 components") != std::string::npos);
}

TEST_CASE("image: a file that claims more pixels than are allowed is refused before memory is taken") {
  ByteString png = WritePng(13, 9, PNG_COLOR_TYPE_RGB, 8, Picture(13, 9, 3));
  CHECK(DecodeImage("p", png, {.pixel_count_max = 117}).ok());
  CHECK(DecodeImage("p", png, {.pixel_count_max = 116}).status().code() == ErrorCode::kLimit);
  // 2^31 - 1 squared; the checksum of the header is made anew.
  for (std::size_t i = 16; i < 24; ++i) png[i] = i % 4 == 0 ? '\x7f' : '\xff';
  const auto crc = crc32(0, reinterpret_cast<const Bytef*>(png.data()) + 12, 17);
  for (std::size_t i = 0; i < 4; ++i) png[29 + i] = static_cast<char>(crc >> (24 - 8 * i));
  CHECK(DecodeImage("p", png).status().code() == ErrorCode::kLimit);
  ByteString jpeg = WriteJpeg(16, 16, 3, Picture(16, 16, 3));
  const std::size_t frame = jpeg.find(ByteString("\xFF\xC0", 2));
  REQUIRE(frame != ByteString::npos);
  for (std::size_t i = 5; i < 9; ++i)
    jpeg[frame + i] = '\xff';  // 65535 x 65535, which the library refuses from 65501 on.
  CHECK(!DecodeImage("j", jpeg).ok());
  for (const std::size_t i : {5, 7}) jpeg[frame + i] = '\xf0';
  CHECK(DecodeImage("j", jpeg).status().code() == ErrorCode::kLimit);
}

TEST_CASE("image: a file that ends early is damaged, wherever it ends") {
  const ByteString files[] = {WriteJpeg(40, 24, 3, Picture(40, 24, 3)),
                              WriteJpeg(40, 24, 3, Picture(40, 24, 3), {.is_progressive = true, .orientation = 6}),
                              WritePng(40, 24, PNG_COLOR_TYPE_RGB, 8, Picture(40, 24, 3), true)};
  for (const ByteString& file : files) {
    for (std::size_t size = 0; size < file.size(); ++size) {
      CAPTURE(size);
      const auto image = DecodeImage("a", Bytes(file).substr(0, size));
      // The last two bytes of a JPEG file say that it ends: what is before may be whole.
      if (image.ok()) {
        CHECK(size + 2 >= file.size());
      } else {
        const bool is_named =
            image.status().code() == ErrorCode::kCorruption || image.status().code() == ErrorCode::kUnsupported;
        REQUIRE(is_named);
      }
    }
  }
}

// A file with bytes changed gives an error or an image of at most the allowed size; never a crash (run under
// sanitizers).
TEST_CASE("image: files with bytes changed do no harm") {
  const ByteString files[] = {
      WriteJpeg(40, 24, 3, Picture(40, 24, 3), {.orientation = 3}),
      WriteJpeg(33, 20, 1, Picture(33, 20, 1), {.is_progressive = true}),
      WritePng(40, 24, PNG_COLOR_TYPE_RGB_ALPHA, 8, Picture(40, 24, 4), true),
      WritePng(16, 4, PNG_COLOR_TYPE_PALETTE, 4, Picture(8, 4, 1), false, std::vector<png_color>(16, {1, 2, 3}))};
  std::size_t ok_count = 0;
  for (std::uint32_t seed = 0; seed < 3'000; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    ByteString file = files[seed % 4];
    const std::size_t changes = 1 + random() % 4;
    for (std::size_t i = 0; i < changes; ++i) {
      const std::size_t at = random() % file.size();
      switch (random() % 4) {
        case 0: file[at] = static_cast<char>(random()); break;
        case 1: file[at] = static_cast<char>(file[at] ^ (1 << random() % 8)); break;
        case 2: file.erase(at, 1 + random() % 8); break;
        default: file.insert(at, 1 + random() % 8, static_cast<char>(random())); break;
      }
    }
    const auto image = DecodeImage("a", file, {.pixel_count_max = 1 << 20});
    if (!image.ok()) continue;
    ++ok_count;
    REQUIRE(image->pixels.size() == std::size_t{image->width} * image->height * image->channels);
    REQUIRE(image->pixels.size() <= std::size_t{3} << 20);
  }
  CHECK(ok_count > 50);
  CHECK(ok_count < 2'900);
}

}  // namespace
}  // namespace foreshore
