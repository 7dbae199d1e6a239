#include "engine/inference/wordpiece_unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

namespace foreshore {

namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// The reference tokenizers know the general categories of Unicode 8. Marks, punctuation and format characters that
// later versions added or moved are ordinary characters to them; ids must be equal. Found by asking the reference
// for each of Unicode's code points; tests/golden/wordpiece.json holds samples. Ascending.
constexpr Range kOrdinaryInUnicode8[] = {
    {0x61D, 0x61D},     {0x7FD, 0x7FD},     {0x890, 0x891},     {0x898, 0x89F},     {0x8CA, 0x8E2},
    {0x9FD, 0x9FE},     {0xA76, 0xA76},     {0xAFA, 0xAFF},     {0xB55, 0xB55},     {0xC04, 0xC04},
    {0xC3C, 0xC3C},     {0xC77, 0xC77},     {0xC84, 0xC84},     {0xD00, 0xD00},     {0xD3B, 0xD3C},
    {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},     {0x180F, 0x180F},   {0x1885, 0x1886},
    {0x1ABF, 0x1ACE},   {0x1B7D, 0x1B7E},   {0x1DF6, 0x1DFB},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},
    {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAD}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F55, 0x10F59}, {0x10F82, 0x10F89},
    {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110C2, 0x110C2}, {0x110CD, 0x110CD}, {0x111CF, 0x111CF},
    {0x1123E, 0x1123E}, {0x11241, 0x11241}, {0x1133B, 0x1133B}, {0x11438, 0x1143F}, {0x11442, 0x11444},
    {0x11446, 0x11446}, {0x1144B, 0x1144F}, {0x1145A, 0x1145B}, {0x1145D, 0x1145E}, {0x11660, 0x1166C},
    {0x116B9, 0x116B9}, {0x1182F, 0x11837}, {0x11839, 0x1183B}, {0x1193B, 0x1193C}, {0x1193E, 0x1193E},
    {0x11943, 0x11946}, {0x119D4, 0x119D7}, {0x119DA, 0x119DB}, {0x119E0, 0x119E0}, {0x119E2, 0x119E2},
    {0x11A01, 0x11A0A}, {0x11A33, 0x11A38}, {0x11A3B, 0x11A47}, {0x11A51, 0x11A56}, {0x11A59, 0x11A5B},
    {0x11A8A, 0x11A96}, {0x11A98, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11C30, 0x11C36},
    {0x11C38, 0x11C3D}, {0x11C3F, 0x11C3F}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71}, {0x11C92, 0x11CA7},
    {0x11CAA, 0x11CB0}, {0x11CB2, 0x11CB3}, {0x11CB5, 0x11CB6}, {0x11D31, 0x11D36}, {0x11D3A, 0x11D3A},
    {0x11D3C, 0x11D3D}, {0x11D3F, 0x11D45}, {0x11D47, 0x11D47}, {0x11D90, 0x11D91}, {0x11D95, 0x11D95},
    {0x11D97, 0x11D97}, {0x11EF3, 0x11EF4}, {0x11EF7, 0x11EF8}, {0x11F00, 0x11F01}, {0x11F36, 0x11F3A},
    {0x11F40, 0x11F40}, {0x11F42, 0x11F4F}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x13430, 0x13440},
    {0x13447, 0x13455}, {0x16E97, 0x16E9A}, {0x16F4F, 0x16F4F}, {0x16FE2, 0x16FE2}, {0x16FE4, 0x16FE4},
    {0x1CF00, 0x1CF2D}, {0x1CF30, 0x1CF46}, {0x1E000, 0x1E006}, {0x1E008, 0x1E018}, {0x1E01B, 0x1E021},
    {0x1E023, 0x1E024}, {0x1E026, 0x1E02A}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E944, 0x1E94A}, {0x1E95E, 0x1E95F}};

utf8proc_category_t Category(char32_t code_point) {
  // Three that had another category then than they have now.
  if (code_point == 0x166D || code_point == 0x111C9) return UTF8PROC_CATEGORY_PO;
  if (code_point == 0x1734) return UTF8PROC_CATEGORY_MN;
  const auto category =
      static_cast<utf8proc_category_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(code_point))->category);
  const bool matters = category == UTF8PROC_CATEGORY_MN || category >= UTF8PROC_CATEGORY_CC ||
                       (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO);
  if (!matters) return category;
  const Range* range = std::lower_bound(std::begin(kOrdinaryInUnicode8), std::end(kOrdinaryInUnicode8), code_point,
                                        [](const Range& r, char32_t c) { return r.last < c; });
  const bool listed = range != std::end(kOrdinaryInUnicode8) && range->first <= code_point;
  return listed ? UTF8PROC_CATEGORY_CN : category;
}

bool IsIn(char32_t code_point, char32_t first, char32_t last) {
  return code_point >= first && code_point <= last;
}

}  // namespace

bool IsWhiteSpace(char32_t c) {
  return IsIn(c, 0x09, 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || IsIn(c, 0x2000, 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsDroppedByCleaning(char32_t c) {
  if (c == 0 || c == 0xFFFD) return true;
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const utf8proc_category_t category = Category(c);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO ||
         category == UTF8PROC_CATEGORY_CS;
}

bool IsBertPunctuation(char32_t c) {
  if (c < 0x80) return IsIn(c, '!', '/') || IsIn(c, ':', '@') || IsIn(c, '[', '`') || IsIn(c, '{', '~');
  const utf8proc_category_t category = Category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool IsCjkIdeograph(char32_t c) {
  // The sixth range begins at U+2B920 in the reference (Unicode's block begins at U+2B820); ids must be equal.
  return IsIn(c, 0x4E00, 0x9FFF) || IsIn(c, 0x3400, 0x4DBF) || IsIn(c, 0x20000, 0x2A6DF) || IsIn(c, 0x2A700, 0x2B73F) ||
         IsIn(c, 0x2B740, 0x2B81F) || IsIn(c, 0x2B920, 0x2CEAF) || IsIn(c, 0xF900, 0xFAFF) || IsIn(c, 0x2F800, 0x2FA1F);
}

bool IsNonspacingMark(char32_t c) {
  return Category(c) == UTF8PROC_CATEGORY_MN;
}

std::uint32_t CombiningClass(char32_t c) {
  return static_cast<std::uint32_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class);
}

CodePoints DecomposeCanonically(char32_t c) {
  utf8proc_int32_t buffer[4];
  int boundary_class = 0;
  const utf8proc_ssize_t count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer, 4, UTF8PROC_DECOMPOSE, &boundary_class);
  if (count < 1 || count > 4) return {{c}, 1};
  CodePoints result{{}, static_cast<std::size_t>(count)};
  for (std::size_t i = 0; i < result.count; ++i) result.values[i] = static_cast<char32_t>(buffer[i]);
  return result;
}

CodePoints LowerCase(char32_t c) {
  // The one code point whose lower case is two.
  if (c == 0x130) return {{U'i', 0x307}, 2};
  return {{static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)))}, 1};
}

DecodedCodePoint DecodeUtf8(std::string_view text) {
  utf8proc_int32_t code_point = 0;
  const utf8proc_ssize_t size_bytes =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size() < 4 ? text.size() : 4), &code_point);
  if (size_bytes <= 0 || code_point < 0) return {0xFFFD, 1};
  return {static_cast<char32_t>(code_point), static_cast<std::size_t>(size_bytes)};
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const DecodedCodePoint decoded = DecodeUtf8(text);
    if (decoded.value == 0xFFFD && decoded.size_bytes == 1) return false;
    text.remove_prefix(decoded.size_bytes);
  }
  return true;
}

std::size_t EncodeUtf8(char32_t code_point, char* out) {
  return static_cast<std::size_t>(
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), reinterpret_cast<utf8proc_uint8_t*>(out)));
}

}  // namespace foreshore
