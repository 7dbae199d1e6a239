// PNG by libpng. The library leaves through longjmp, so that everything with a destructor lives outside the functions
// that it is called from.
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "engine/image/image_decoders.h"

namespace foreshore {

namespace {

// No chunk but those of pixels is of use here.
constexpr png_alloc_size_t kChunkBytesMax = 1 << 20;
constexpr png_uint_32 kChunkCountMax = 1'000;

struct Decoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  Bytes left;
  char message[128] = {};
};

[[noreturn]] void OnError(png_structp png, png_const_charp message) {
  auto* decoder = static_cast<Decoder*>(png_get_error_ptr(png));
  std::strncpy(decoder->message, message, sizeof decoder->message - 1);
  png_longjmp(png, 1);
}

void OnWarning(png_structp, png_const_charp) {}

void OnRead(png_structp png, png_bytep to, std::size_t count) {
  auto* decoder = static_cast<Decoder*>(png_get_io_ptr(png));
  if (decoder->left.size() < count) png_error(png, "the file ends early");
  std::memcpy(to, decoder->left.data(), count);
  decoder->left.remove_prefix(count);
}

bool ReadHeader(Decoder& decoder) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
  png_set_read_fn(decoder.png, &decoder, OnRead);
  // The caller's limit is on the product.
  png_set_user_limits(decoder.png, 0x7FFFFFFF, 0x7FFFFFFF);
  png_set_chunk_malloc_max(decoder.png, kChunkBytesMax);
  png_set_chunk_cache_max(decoder.png, kChunkCountMax);
  png_read_info(decoder.png, decoder.info);
  return true;
}

// Everything to 8 bits of grey or RGB.
bool ReadPixels(Decoder& decoder, std::uint8_t* pixels, std::size_t row_bytes, png_bytepp rows) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
  png_set_scale_16(decoder.png);
  png_set_expand(decoder.png);
  png_set_strip_alpha(decoder.png);
  png_set_interlace_handling(decoder.png);
  png_read_update_info(decoder.png, decoder.info);
  if (png_get_rowbytes(decoder.png, decoder.info) != row_bytes) png_error(decoder.png, "rows of another size");
  const png_uint_32 height = png_get_image_height(decoder.png, decoder.info);
  for (png_uint_32 y = 0; y < height; ++y) rows[y] = pixels + y * row_bytes;
  png_read_image(decoder.png, rows);
  png_read_end(decoder.png, nullptr);
  return true;
}

Result<Image> Decode(std::string_view what, const ImageLimits& limits, Decoder& decoder) {
  const auto failure = [&] {
    return Status::Corruption(std::string(what) + ": damaged PNG file: " + std::string(decoder.message));
  };
  if (!ReadHeader(decoder)) return failure();
  Image image;
  image.width = png_get_image_width(decoder.png, decoder.info);
  image.height = png_get_image_height(decoder.png, decoder.info);
  FORESHORE_RETURN_IF_ERROR(CheckImageSize(what, image.width, image.height, limits));
  const int type = png_get_color_type(decoder.png, decoder.info);
  image.channels = (type & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1;
  image.pixels.resize(std::size_t{image.width} * image.height * image.channels);
  std::vector<png_bytep> rows(image.height);
  if (!ReadPixels(decoder, image.pixels.data(), std::size_t{image.width} * image.channels, rows.data())) {
    return failure();
  }
  return image;
}

}  // namespace

Result<Image> DecodePng(std::string_view what, Bytes file, const ImageLimits& limits) {
  Decoder decoder;
  decoder.left = file;
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, OnError, OnWarning);
  if (decoder.png == nullptr) return Status::Limit(std::string(what) + ": no memory for a PNG file");
  decoder.info = png_create_info_struct(decoder.png);
  if (decoder.info == nullptr) {
    png_destroy_read_struct(&decoder.png, nullptr, nullptr);
    return Status::Limit(std::string(what) + ": no memory for a PNG file");
  }
  auto image = Decode(what, limits, decoder);
  png_destroy_read_struct(&decoder.png, &decoder.info, nullptr);
  return image;
}

}  // namespace foreshore
