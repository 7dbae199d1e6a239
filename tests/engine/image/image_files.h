// JPEG and PNG files for tests, written by the libraries that read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <jpeglib.h>
#include <png.h>

#include "foreshore/bytes.h"

namespace foreshore {

using Pixels = std::vector<std::uint8_t>;

// A smooth picture, different in every corner, so that turning it shows.
inline Pixels Picture(std::uint32_t width, std::uint32_t height, std::uint32_t channels) {
  Pixels pixels;
  for (std::uint32_t y = 0; y < height; ++y) {
    for (std::uint32_t x = 0; x < width; ++x) {
      for (std::uint32_t c = 0; c < channels; ++c) {
        pixels.push_back(static_cast<std::uint8_t>(20 + (c == 0   ? 200 * x / width
                                                         : c == 1 ? 200 * y / height
                                                                  : 100 * (x + y) / (width + height))));
      }
    }
  }
  return pixels;
}

struct JpegOptions {
  bool is_progressive = false;
  J_COLOR_SPACE color = JCS_RGB;
  std::uint8_t orientation = 0;  // 0: no EXIF.
  bool is_big_endian = false;
};

// An APP1 segment that says the orientation.
inline ByteString ExifSegment(std::uint8_t orientation, bool is_big) {
  ByteString bytes("Exif\0\0", 6);
  const auto append = [&](std::uint32_t value, int width) {
    for (int i = 0; i < width; ++i) {
      bytes.push_back(static_cast<char>(value >> (8 * (is_big ? width - 1 - i : i))));
    }
  };
  bytes += is_big ? "MM" : "II";
  append(42, 2);
  append(8, 4);
  append(2, 2);  // Entries: one other, then ours.
  append(0x0100, 2), append(3, 2), append(1, 4), append(7, 2), append(0, 2);
  append(0x0112, 2), append(3, 2), append(1, 4), append(orientation, 2), append(0, 2);
  append(0, 4);
  return bytes;
}

inline ByteString WriteJpeg(std::uint32_t width, std::uint32_t height, int channels, const Pixels& pixels,
                            const JpegOptions& options = {}) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = width;
  info.image_height = height;
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : options.color;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  if (options.is_progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  if (options.orientation != 0) {
    const ByteString exif = ExifSegment(options.orientation, options.is_big_endian);
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(exif.data()),
                      static_cast<unsigned>(exif.size()));
  }
  while (info.next_scanline < height) {
    auto* row = const_cast<std::uint8_t*>(pixels.data()) +
                std::size_t{info.next_scanline} * width * static_cast<unsigned>(channels);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  ByteString file(reinterpret_cast<char*>(buffer), size);
  jpeg_destroy_compress(&info);
  std::free(buffer);
  return file;
}

// `rows` are packed as the bit depth has them, 16 bits in big-endian order.
inline ByteString WritePng(std::uint32_t width, std::uint32_t height, int color_type, int bit_depth, const Pixels& rows,
                           bool is_interlaced = false, const std::vector<png_color>& palette = {}) {
  ByteString file;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &file,
      [](png_structp self, png_bytep data, std::size_t count) {
        static_cast<ByteString*>(png_get_io_ptr(self))->append(reinterpret_cast<char*>(data), count);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, width, height, bit_depth, color_type,
               is_interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (!palette.empty()) png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
  png_write_info(png, info);
  const std::size_t row_bytes = png_get_rowbytes(png, info);
  std::vector<png_bytep> pointers;
  for (std::uint32_t y = 0; y < height; ++y) pointers.push_back(const_cast<png_bytep>(rows.data()) + y * row_bytes);
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return file;
}

}  // namespace foreshore
