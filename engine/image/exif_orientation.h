// The orientation tag of EXIF 2.3 (4.6.4, tag 0x0112), and pixels turned by it.
//
// Threads: pure functions.
#pragma once

#include "engine/image/image_decode.h"

namespace foreshore {

// 1..8 of an APP1 segment ("Exif\0\0" and a TIFF header); 1 where it says nothing, or nothing that makes sense.
int ExifOrientation(Bytes segment);
// As a viewer shows it: 2 mirrored, 3 by 180°, 4 upside down, 5 transposed, 6 by 90° clockwise, 7 along the other
// diagonal, 8 by 90° counter-clockwise.
Image Oriented(Image image, int orientation);

}  // namespace foreshore
