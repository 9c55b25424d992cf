#include "engine/core/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/core/json_text.h"

namespace longtake {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and used in place");

// The bound of the format's own library: no real header comes near, and a corrupt length does not eat memory.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

std::optional<DType> ParseType(const std::string& name) {
  for (const DType t : {DType::kF32, DType::kBF16, DType::kF16, DType::kI64, DType::kI32, DType::kU8}) {
    if (name == SafetensorsName(t)) return t;
  }
  if (name == "BOOL") return DType::kU8;
  return std::nullopt;
}

std::optional<uint64_t> Unsigned(const json& v) {
  if (!v.is_number_unsigned()) return std::nullopt;
  return v.get<uint64_t>();
}

// A function's result where `error` stays empty; `data` is the number of bytes after the header.
TensorEntry ParseEntry(const json& v, uint64_t data, std::string* error) {
  TensorEntry e;
  if (!v.is_object() || !v.contains("dtype") || !v.contains("shape") || !v.contains("data_offsets")) {
    *error = "has no dtype, shape and data_offsets";
    return e;
  }
  const json& dtype = v["dtype"];
  const std::optional<DType> type = dtype.is_string() ? ParseType(dtype.get<std::string>()) : std::nullopt;
  if (!type) {
    *error = absl::StrCat("has the type ", dtype.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 40),
                          ", which is not known");
    return e;
  }
  e.dtype = *type;
  uint64_t bytes = SizeOf(e.dtype);
  if (!v["shape"].is_array()) *error = "has a shape that is not a list";
  for (const json& item : v["shape"]) {
    const std::optional<uint64_t> d = Unsigned(item);
    if (!d || *d > uint64_t{std::numeric_limits<int64_t>::max()} || __builtin_mul_overflow(bytes, *d, &bytes)) {
      *error = "has a shape that is not a list of sizes";
      return e;
    }
    e.shape.push_back(static_cast<int64_t>(*d));
  }
  const json& offsets = v["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !Unsigned(offsets[0]) || !Unsigned(offsets[1])) {
    *error = "has data_offsets that are not two sizes";
    return e;
  }
  const uint64_t begin = *Unsigned(offsets[0]), end = *Unsigned(offsets[1]);
  if (begin > end || end > data) {
    *error = absl::StrCat("has offsets ", begin, " to ", end, " outside the file's ", data, " bytes of data");
  } else if (end - begin != bytes) {
    *error = absl::StrCat("has ", end - begin, " bytes where its shape needs ", bytes);
  }
  e.begin = begin;
  e.bytes = end - begin;
  return e;
}

}  // namespace

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
    case DType::kU8:
      return "U8";
  }
  return "?";
}

absl::StatusOr<std::map<std::string, TensorEntry>> ParseSafetensorsHeader(std::string_view file,
                                                                          const std::string& path) {
  const auto bad = [&](const auto&... why) { return absl::InvalidArgumentError(absl::StrCat(path, ": ", why...)); };
  if (file.size() < 8) return bad("is too short for a safetensors file");
  uint64_t length;
  std::memcpy(&length, file.data(), 8);
  if (length > kMaxHeaderBytes || length > file.size() - 8) {
    return bad("header of ", length, " bytes does not fit the file of ", file.size());
  }
  const uint64_t data = file.size() - 8 - length;
  const std::optional<json> header = ParseJson(file.substr(8, length));
  if (!header || !header->is_object()) return bad("header is not a JSON object");

  std::map<std::string, TensorEntry> entries;
  std::vector<std::pair<uint64_t, const std::string*>> starts;
  for (const auto& [name, value] : header->items()) {
    if (name == "__metadata__") continue;
    std::string error;
    TensorEntry entry = ParseEntry(value, data, &error);
    if (!error.empty()) return bad("tensor '", name, "' ", error);
    const auto it = entries.emplace(name, std::move(entry)).first;
    if (it->second.bytes > 0) starts.emplace_back(it->second.begin, &it->first);
  }
  std::sort(starts.begin(), starts.end());
  uint64_t covered = 0;
  for (const auto& [begin, name] : starts) {
    if (begin < covered) return bad("tensor '", *name, "' overlaps another");
    if (begin > covered) return bad(begin - covered, " bytes before tensor '", *name, "' belong to none");
    covered = begin + entries[*name].bytes;
  }
  if (covered != data) return bad(data - covered, " bytes at the end belong to no tensor");
  for (auto& [name, entry] : entries) entry.begin += 8 + length;
  return entries;
}

}  // namespace longtake
