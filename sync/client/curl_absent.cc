#include "foreshore/sync.h"

namespace foreshore {

Result<std::shared_ptr<HttpTransport>> MakeCurlTransport(const CurlOptions&) {
  return Status::Unsupported("sync: this build has no libcurl; supply SyncOptions::transport");
}

}  // namespace foreshore
