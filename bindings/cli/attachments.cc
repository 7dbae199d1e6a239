// attach put, get, list, remove: streamed, so that memory stays bounded.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "bindings/cli/command.h"
#include "bindings/cli/output_file.h"
#include "bindings/json/reports.h"

namespace foreshore::cli {
namespace {

using FilePointer = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// "-" is standard input, which stays open.
Result<FilePointer> OpenInput(const std::string& path) {
  if (path == "-") return FilePointer(stdin, [](std::FILE*) { return 0; });
  FilePointer file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (file == nullptr) return Status::NotFound("file \"" + path + "\": cannot be opened: " + std::strerror(errno));
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
  FORESHORE_ASSIGN_OR_RETURN(const FilePointer file, OpenInput(arguments.file));
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
  // Whole or not at all: what turns out damaged, or finds no room, takes no earlier file's place.
  FORESHORE_ASSIGN_OR_RETURN(const auto output, OutputFile::Create(arguments.file == "-" ? "" : arguments.file));
  std::string buffer(256 << 10, '\0');
  for (std::uint64_t offset = 0;;) {
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, attachment->ReadAt(offset, buffer.data(), buffer.size()));
    if (count == 0) break;
    FORESHORE_RETURN_IF_ERROR(output->Write(std::string_view(buffer).substr(0, count)));
    offset += count;
  }
  FORESHORE_RETURN_IF_ERROR(output->Commit());
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
