// SQL functions over attachments and over images in them:
//   attachment(collection, id, name)   the content as a blob, in the statement's snapshot; NULL where the document or
//   the
//                                      attachment is not there
//   image_tensor(image[, options])     what a network takes of a JPEG or PNG file's bytes (image_tensor.h), for
//   predict()
//
// Threads: one at a time, as the session they are registered in.
#pragma once

#include "engine/query/session_state.h"

namespace foreshore {

void AttachmentContent(sqlite3_context* context, int count, sqlite3_value** arguments);
void ImageTensor(sqlite3_context* context, int count, sqlite3_value** arguments);

}  // namespace foreshore
