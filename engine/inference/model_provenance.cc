#include "engine/inference/model_provenance.h"

#include <algorithm>
#include <cctype>
#include <cstdint>

namespace foreshore {

namespace {

// Licences by identifier before names and links; where a model comes from, before what it calls itself.
constexpr std::string_view kLicenceKeys[] = {
    "general.license", "modelspec.license",    "license",     "licence", "general.license.name",
    "license_name",    "general.license.link", "license_link"};
constexpr std::string_view kOriginKeys[] = {"general.source.url",
                                            "general.source.repo_url",
                                            "general.source.huggingface.repository",
                                            "general.base_model.0.repo_url",
                                            "general.repo_url",
                                            "general.url",
                                            "origin",
                                            "source",
                                            "source_url",
                                            "url",
                                            "_name_or_path",
                                            "model_name",
                                            "general.name",
                                            "modelspec.title"};

bool IsSameKey(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

template <std::size_t count>
std::string FirstOf(const std::string_view (&keys)[count],
                    const std::vector<std::pair<std::string_view, std::string_view>>& metadata) {
  for (const std::string_view key : keys) {
    for (const auto& [name, value] : metadata) {
      if (!IsSameKey(name, key)) continue;
      if (std::string text = ProvenanceText(value); !text.empty()) return text;
    }
  }
  return "";
}

// The bytes of the UTF-8 sequence at the beginning; 0 where there is none (RFC 3629, section 4).
std::size_t SequenceBytes(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  if (at(0) < 0x80) return 1;
  const std::size_t size = at(0) >= 0xF0 ? 4 : at(0) >= 0xE0 ? 3 : 2;
  if (at(0) < 0xC2 || at(0) > 0xF4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  const bool is_overlong = (at(0) == 0xE0 && at(1) < 0xA0) || (at(0) == 0xF0 && at(1) < 0x90);
  const bool is_outside = (at(0) == 0xED && at(1) > 0x9F) || (at(0) == 0xF4 && at(1) > 0x8F);
  return is_overlong || is_outside ? 0 : size;
}

}  // namespace

void ModelProvenance::Complete(const ModelProvenance& other) {
  if (licence.empty()) licence = other.licence;
  if (origin.empty()) origin = other.origin;
}

std::string ProvenanceText(std::string_view text) {
  std::string kept;
  while (!text.empty()) {
    const std::size_t size = SequenceBytes(text);
    const bool is_control = size == 1 && (static_cast<std::uint8_t>(text[0]) < 0x20 || text[0] == 0x7F);
    if (size != 0 && !is_control) {
      if (kept.size() + size > kProvenanceBytesMax) break;
      kept += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  const std::size_t first = kept.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return kept.substr(first, kept.find_last_not_of(' ') - first + 1);
}

ModelProvenance ProvenanceOf(const std::vector<std::pair<std::string_view, std::string_view>>& metadata) {
  return {FirstOf(kLicenceKeys, metadata), FirstOf(kOriginKeys, metadata)};
}

std::string LicenceOfModelCard(Bytes text) {
  if (!text.starts_with("---\n") && !text.starts_with("---\r\n")) return "";
  text.remove_prefix(text.find('\n') + 1);
  while (!text.empty()) {
    const std::size_t line_end = std::min(text.find('\n'), text.size());
    Bytes line = text.substr(0, line_end);
    text.remove_prefix(std::min(line_end + 1, text.size()));
    if (line.starts_with("---")) return "";
    if (!line.starts_with("license:")) continue;
    line.remove_prefix(8);
    std::string value = ProvenanceText(line);
    const bool is_quoted = value.size() >= 2 && (value.front() == '"' || value.front() == '\'');
    return is_quoted && value.back() == value.front() ? value.substr(1, value.size() - 2) : value;
  }
  return "";
}

}  // namespace foreshore
