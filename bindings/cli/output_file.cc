#include "bindings/cli/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "bindings/cli/output.h"

namespace foreshore::cli {

Status OutputFile::Problem(const char* what) const {
  const int reason = errno;
  const std::string message = "file \"" + path_ + "\": " + what + ": " + std::strerror(reason);
  return {reason == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kIo, message};
}

Result<std::unique_ptr<OutputFile>> OutputFile::Create(const std::string& path) {
  std::unique_ptr<OutputFile> output(new OutputFile);
  output->path_ = path;
  if (path.empty()) {
    output->file_ = stdout;
    return output;
  }
  struct stat info = {};
  const bool exists = stat(path.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) {
    return Status::InvalidArgument("file \"" + path + "\": found a directory, expected a file or a new name");
  }
  const bool is_in_place = exists && !S_ISREG(info.st_mode);
  if (!is_in_place) output->temporary_ = path + ".partial-" + std::to_string(getpid());
  const std::string& name = is_in_place ? path : output->temporary_;
  const int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, exists ? info.st_mode & 0777 : 0666);
  if (fd < 0) {
    output->temporary_.clear();
    return output->Problem("cannot be made");
  }
  output->file_ = fdopen(fd, "wb");
  if (output->file_ == nullptr) {
    close(fd);
    return output->Problem("cannot be opened");
  }
  return output;
}

OutputFile::~OutputFile() {
  if (path_.empty()) return;
  if (file_ != nullptr) std::fclose(file_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Status OutputFile::Write(std::string_view bytes) {
  written_bytes_ += bytes.size();
  if (path_.empty()) return WriteText(stdout, bytes);
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size()) return Status::Ok();
  return Problem("cannot be written");
}

Status OutputFile::Commit() {
  if (path_.empty()) return FlushFile(stdout);
  if (std::fflush(file_) != 0) return Problem("cannot be written");
  if (temporary_.empty()) return Status::Ok();
  if (fsync(fileno(file_)) != 0) return Problem("cannot be synced");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return Problem("cannot take its name");
  temporary_.clear();
  std::string folder = std::filesystem::path(path_).parent_path().string();
  if (folder.empty()) folder = ".";
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) {
    const Status status = Problem("its folder cannot be synced");
    if (fd >= 0) close(fd);
    return status;
  }
  close(fd);
  return Status::Ok();
}

}  // namespace foreshore::cli
