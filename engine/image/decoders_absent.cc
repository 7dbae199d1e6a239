// In place of the decoders where the library is built without them.
#include "engine/image/image_decoders.h"

namespace foreshore {

namespace {

Status Absent(std::string_view what) {
  return Status::Unsupported(std::string(what) + ": this build has no image decoders (FORESHORE_WITH_IMAGES)");
}

}  // namespace

bool HasImageDecoders() {
  return false;
}
Result<Image> DecodeJpeg(std::string_view what, Bytes, const ImageLimits&, int&) {
  return Absent(what);
}
Result<Image> DecodePng(std::string_view what, Bytes, const ImageLimits&) {
  return Absent(what);
}

}  // namespace foreshore
