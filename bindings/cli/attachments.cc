// attach put, get, list, remove: streamed, so that memory stays bounded.
#include <cstdio>
#include <memory>

#include "bindings/cli/command.h"
#include "bindings/json/reports.h"

namespace foreshore::cli {
namespace {

using FilePointer = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// "-" is the standard stream, which stays open.
Result<FilePointer> OpenStream(const std::string& path, const char* mode, std::FILE* standard) {
  if (path == "-") return FilePointer(standard, [](std::FILE* file) { return std::fflush(file); });
  FilePointer file(std::fopen(path.c_str(), mode), &std::fclose);
  if (file == nullptr) return Status::NotFound("file \"" + path + "\": cannot be opened");
  return file;
}

std::vector<std::pair<std::string, std::string>> Members(const AttachmentInfo& info) {
  return {{"name", info.name},
          {"type", info.content_type},
          {"size_bytes", std::to_string(info.size_bytes)},
          {"sha256", info.sha256},
          {"is_here", info.is_here ? "yes" : "no"}};
}

}  // namespace

Status RunAttachPut(const AttachArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const FilePointer file, OpenStream(arguments.file, "rb", stdin));
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  const AttachmentSource source = [&](char* buffer, std::size_t capacity) -> Result<std::size_t> {
    const std::size_t count = std::fread(buffer, 1, capacity, file.get());
    if (count == 0 && std::ferror(file.get()) != 0) return Status::Io("file \"" + arguments.file + "\": read failed");
    return count;
  };
  FORESHORE_ASSIGN_OR_RETURN(
      const AttachmentInfo info,
      database->PutAttachment(arguments.collection, arguments.id, arguments.name, source, arguments.content_type));
  FORESHORE_RETURN_IF_ERROR(PrintObject(stdout, arguments.format, AttachmentJson(info), Members(info)));
  return database->Close();
}

Status RunAttachGet(const AttachArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const auto attachment,
                             database->OpenAttachment(arguments.collection, arguments.id, arguments.name));
  FORESHORE_ASSIGN_OR_RETURN(const FilePointer file, OpenStream(arguments.file, "wb", stdout));
  std::string buffer(256 << 10, '\0');
  for (std::uint64_t offset = 0;;) {
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, attachment->ReadAt(offset, buffer.data(), buffer.size()));
    if (count == 0) break;
    if (std::fwrite(buffer.data(), 1, count, file.get()) != count) {
      return Status::Io("file \"" + arguments.file + "\": write failed");
    }
    offset += count;
  }
  if (std::fflush(file.get()) != 0) return Status::Io("file \"" + arguments.file + "\": write failed");
  return database->Close();
}

Status RunAttachList(const AttachArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const auto infos, database->ListAttachments(arguments.collection, arguments.id));
  if (arguments.format == Format::kJson) return WriteText(stdout, AttachmentsJson(infos) + "\n");
  RowPrinter printer(stdout, arguments.format);
  printer.Begin({"name", "type", "size_bytes", "sha256", "is_here"});
  for (const AttachmentInfo& info : infos) {
    printer.Row({info.name, info.content_type, static_cast<std::int64_t>(info.size_bytes), info.sha256,
                 std::string(info.is_here ? "yes" : "no")});
  }
  return printer.End();
}

Status RunAttachRemove(const AttachArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(database->RemoveAttachment(arguments.collection, arguments.id, arguments.name));
  return database->Close();
}

}  // namespace foreshore::cli
