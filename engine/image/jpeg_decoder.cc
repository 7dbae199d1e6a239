// JPEG by libjpeg-turbo. The library leaves through longjmp, so that everything with a destructor lives outside the
// function that it is called from.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>

// jpeglib.h needs size_t and FILE before it.
#include <jerror.h>
#include <jpeglib.h>

#include "engine/image/exif_orientation.h"
#include "engine/image/image_decoders.h"

namespace foreshore {

namespace {

// A progressive file with thousands of scans takes as many passes over all of its coefficients.
constexpr int kScansMax = 100;
constexpr unsigned kSegmentBytesMax = 0xFFFF;

struct Decoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf exit{};
  char message[JMSG_LENGTH_MAX] = {};
  bool has_too_many_scans = false;
};

Decoder& DecoderOf(j_common_ptr info) {
  return *static_cast<Decoder*>(info->client_data);
}

[[noreturn]] void OnError(j_common_ptr info) {
  Decoder& decoder = DecoderOf(info);
  info->err->format_message(info, decoder.message);
  std::longjmp(decoder.exit, 1);
}

// The library goes on after damage and makes up what is missing: here that ends the call. Bytes between segments and
// odd version numbers do no harm.
void OnMessage(j_common_ptr info, int level) {
  if (level >= 0) return;
  const int code = info->err->msg_code;
  if (code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM) return;
  OnError(info);
}

void OnProgress(j_common_ptr info) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
  if (decompress->input_scan_number <= kScansMax) return;
  DecoderOf(info).has_too_many_scans = true;
  std::longjmp(DecoderOf(info).exit, 1);
}

// False where the library left; `decoder` says why.
bool ReadHeader(Decoder& decoder, Bytes file) {
  if (setjmp(decoder.exit) != 0) return false;
  jpeg_create_decompress(&decoder.info);
  decoder.info.client_data = &decoder;
  decoder.progress.progress_monitor = OnProgress;
  decoder.info.progress = &decoder.progress;
  jpeg_save_markers(&decoder.info, JPEG_APP0 + 1, kSegmentBytesMax);
  jpeg_mem_src(&decoder.info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&decoder.info, TRUE);
  return true;
}

bool ReadPixels(Decoder& decoder, std::uint8_t* pixels) {
  if (setjmp(decoder.exit) != 0) return false;
  // The slower transform is exact to the standard's accuracy on every processor.
  decoder.info.dct_method = JDCT_ISLOW;
  jpeg_start_decompress(&decoder.info);
  const std::size_t row_bytes =
      std::size_t{decoder.info.output_width} * static_cast<unsigned>(decoder.info.output_components);
  while (decoder.info.output_scanline < decoder.info.output_height) {
    JSAMPROW row = pixels + decoder.info.output_scanline * row_bytes;
    jpeg_read_scanlines(&decoder.info, &row, 1);
  }
  jpeg_finish_decompress(&decoder.info);
  return true;
}

Status Failure(std::string_view what, const Decoder& decoder) {
  if (decoder.has_too_many_scans) {
    return Status::Limit(std::string(what) + ": more than " + std::to_string(kScansMax) + " scans of a JPEG file");
  }
  return Status::Corruption(std::string(what) + ": damaged JPEG file: " + decoder.message);
}

Result<Image> Decode(std::string_view what, Bytes file, const ImageLimits& limits, Decoder& decoder, int& orientation) {
  if (!ReadHeader(decoder, file)) return Failure(what, decoder);
  FORESHORE_RETURN_IF_ERROR(CheckImageSize(what, decoder.info.image_width, decoder.info.image_height, limits));
  const bool is_grey = decoder.info.jpeg_color_space == JCS_GRAYSCALE;
  if (!is_grey && decoder.info.jpeg_color_space != JCS_YCbCr && decoder.info.jpeg_color_space != JCS_RGB) {
    return Status::Unsupported(std::string(what) + ": JPEG file of " + std::to_string(decoder.info.num_components) +
                               " components (CMYK or unknown), expected grey, RGB or YCbCr");
  }
  decoder.info.out_color_space = is_grey ? JCS_GRAYSCALE : JCS_RGB;
  for (const auto* marker = decoder.info.marker_list; marker != nullptr; marker = marker->next) {
    const int found = ExifOrientation(Bytes(reinterpret_cast<const char*>(marker->data), marker->data_length));
    if (orientation == 1) orientation = found;
  }
  Image image;
  image.width = decoder.info.image_width;
  image.height = decoder.info.image_height;
  image.channels = is_grey ? 1 : 3;
  image.pixels.resize(std::size_t{image.width} * image.height * image.channels);
  if (!ReadPixels(decoder, image.pixels.data())) return Failure(what, decoder);
  return image;
}

}  // namespace

bool HasImageDecoders() {
  return true;
}

Result<Image> DecodeJpeg(std::string_view what, Bytes file, const ImageLimits& limits, int& orientation) {
  Decoder decoder;
  decoder.info.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = OnError;
  decoder.errors.emit_message = OnMessage;
  decoder.info.client_data = &decoder;
  auto image = Decode(what, file, limits, decoder, orientation);
  jpeg_destroy_decompress(&decoder.info);
  return image;
}

}  // namespace foreshore
