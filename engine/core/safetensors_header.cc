#include "engine/core/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/safetensors_entries.h"

namespace longtake {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and used as it is");

// The format's reference library has the same limit. Real headers are far smaller, and a corrupt length cannot exhaust
// memory.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

// Checks that the entries cover `data` bytes, each byte once. Returns an error message, or an empty string.
std::string CheckCover(const std::map<std::string, TensorEntry>& entries, uint64_t data) {
  std::vector<std::pair<uint64_t, const std::string*>> starts;
  for (const auto& [name, entry] : entries) {
    if (entry.bytes > 0) starts.emplace_back(entry.begin, &name);
  }
  std::sort(starts.begin(), starts.end());
  uint64_t covered = 0;
  for (const auto& [begin, name] : starts) {
    if (begin < covered) return absl::StrCat("tensor '", *name, "' overlaps another");
    if (begin > covered) return absl::StrCat(begin - covered, " bytes before tensor '", *name, "' belong to none");
    covered = begin + entries.at(*name).bytes;
  }
  if (covered != data) return absl::StrCat(data - covered, " bytes at the end belong to no tensor");
  return "";
}

}  // namespace

absl::StatusOr<std::map<std::string, TensorEntry>> ReadSafetensorsHeader(const InputFile& file,
                                                                         std::map<std::string, std::string>* metadata) {
  const auto bad = [&](const auto&... why) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": ", why...));
  };
  if (file.size() < 8) return bad("is too short for a safetensors file");
  uint64_t length;
  RETURN_IF_ERROR(file.Read(0, sizeof length, &length));
  if (length > kMaxHeaderBytes || length > file.size() - 8) {
    return bad("header of ", length, " bytes does not fit the file of ", file.size());
  }
  std::string text(length, '\0');
  RETURN_IF_ERROR(file.Read(8, length, text.data()));
  const uint64_t data = file.size() - 8 - length;
  std::map<std::string, TensorEntry> entries;
  std::string error = ParseSafetensorsEntries(text, data, &entries, metadata);
  if (error.empty()) error = CheckCover(entries, data);
  if (!error.empty()) return bad(error);
  for (auto& [name, entry] : entries) entry.begin += 8 + length;
  return entries;
}

std::string_view SafetensorsName(DType t) {
  switch (t) {
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kI64:
      return "I64";
    case DType::kI32:
      return "I32";
    case DType::kI8:
      return "I8";
    case DType::kU8:
      return "U8";
    case DType::kE4m3:
      return "F8_E4M3";
  }
  return "?";
}

}  // namespace longtake
