#include "engine/core/json_config.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/input_file.h"
#include "engine/core/json_text.h"

namespace longtake {
namespace {

// Shard indices have up to some megabytes. A larger file is not a config, and its parsed tree would take 16 times its
// size.
constexpr uint64_t kMaxBytes = 32'000'000;

std::string Range(int64_t min, int64_t max) {
  if (max == std::numeric_limits<int64_t>::max()) return absl::StrCat("an integer of at least ", min);
  return absl::StrCat("an integer from ", min, " to ", max);
}

bool ToInt(const nlohmann::json& v, int64_t* out) {
  if (!v.is_number_integer()) return false;
  if (v.is_number_unsigned() && v.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) return false;
  *out = v.get<int64_t>();
  return true;
}

bool ToNumber(const nlohmann::json& v, double* out) {
  if (!v.is_number()) return false;
  *out = v.get<double>();
  return std::abs(*out) <= std::numeric_limits<float>::max();  // also false for NaN
}

bool ToBool(const nlohmann::json& v, bool* out) {
  if (!v.is_boolean()) return false;
  *out = v.get<bool>();
  return true;
}

bool ToString(const nlohmann::json& v, std::string* out) {
  if (!v.is_string()) return false;
  *out = v.get<std::string>();
  return true;
}

// Converts all elements of an array; returns false if one does not convert.
template <typename T, typename Convert>
bool ToVector(const nlohmann::json& v, Convert convert, std::vector<T>* out) {
  if (!v.is_array()) return false;
  out->clear();
  for (const nlohmann::json& item : v) {
    T x{};
    if (!convert(item, &x)) return false;
    out->push_back(std::move(x));
  }
  return true;
}

// Python's json module writes Infinity, -Infinity and NaN, which are not valid JSON (DPM-Solver's lambda_min_clipped is
// -Infinity). Outside strings they are replaced by strings, so that such a field can be named and compared.
std::string QuoteNonFinite(std::string_view text) {
  std::string out;
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    size_t length = 1;
    if (in_string) {
      if (text[i] == '\\' && i + 1 < text.size()) length = 2;
      if (text[i] == '"') in_string = false;
    } else if (text[i] == '"') {
      in_string = true;
    } else {
      for (const std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
        if (text[i] != word.front() || text.substr(i, word.size()) != word) continue;
        absl::StrAppend(&out, "\"", std::string(word), "\"");
        i += word.size();
        length = 0;
        break;
      }
    }
    out.append(text, i, length);
    i += length;
  }
  return out;
}

}  // namespace

absl::StatusOr<JsonConfig> JsonConfig::Load(const std::string& path) {
  ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  ASSIGN_OR_RETURN(const std::string text, file.ReadAll(kMaxBytes));
  absl::StatusOr<nlohmann::json> object = ParseJson(QuoteNonFinite(text));
  if (!object.ok()) return absl::InvalidArgumentError(absl::StrCat(path, ": ", object.status().message()));
  if (!object->is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": is not a JSON object"));
  return JsonConfig(path, *std::move(object));
}

JsonConfig::JsonConfig(std::string path, nlohmann::json object) : path_(std::move(path)), object_(std::move(object)) {}

bool JsonConfig::Has(const std::string& field) const {
  const auto it = object_.find(field);
  return it != object_.end() && !it->is_null();
}

std::vector<std::string> JsonConfig::Fields() const {
  std::vector<std::string> fields;
  for (const auto& [field, value] : object_.items()) fields.push_back(field);
  return fields;
}

const nlohmann::json* JsonConfig::Raw(const std::string& field) {
  read_.insert(field);
  const auto it = object_.find(field);
  return it == object_.end() ? nullptr : &*it;
}

const nlohmann::json* JsonConfig::Value(const std::string& field) {
  const nlohmann::json* v = Raw(field);
  return v == nullptr || v->is_null() ? nullptr : v;
}

void JsonConfig::Fail(const std::string& field, const std::string& why) {
  if (error_.empty()) error_ = absl::StrCat(path_, ": field '", field, "' ", why);
}

int64_t JsonConfig::Int(const std::string& field, int64_t min, int64_t max) {
  if (Value(field) == nullptr) {
    Fail(field, "is missing");
    return min;
  }
  return Int(field, min, max, min);
}

int64_t JsonConfig::Int(const std::string& field, int64_t min, int64_t max, int64_t fallback) {
  const nlohmann::json* v = Value(field);
  if (v == nullptr) return fallback;
  int64_t x;
  if (ToInt(*v, &x) && x >= min && x <= max) return x;
  Fail(field, absl::StrCat("must be ", Range(min, max)));
  return fallback;
}

double JsonConfig::Number(const std::string& field) {
  if (Value(field) == nullptr) Fail(field, "is missing");
  return Number(field, 0);
}

double JsonConfig::Number(const std::string& field, double fallback) {
  const nlohmann::json* v = Value(field);
  double x;
  if (v == nullptr) return fallback;
  if (ToNumber(*v, &x)) return x;
  Fail(field, "must be a number within float32's range");
  return fallback;
}

bool JsonConfig::Bool(const std::string& field, bool fallback) {
  const nlohmann::json* v = Value(field);
  bool x;
  if (v == nullptr) return fallback;
  if (ToBool(*v, &x)) return x;
  Fail(field, "must be true or false");
  return fallback;
}

std::string JsonConfig::String(const std::string& field, const std::string& fallback) {
  const nlohmann::json* v = Value(field);
  std::string x;
  if (v == nullptr) return fallback;
  if (ToString(*v, &x)) return x;
  Fail(field, "must be a string");
  return fallback;
}

std::vector<double> JsonConfig::Numbers(const std::string& field, std::vector<double> fallback) {
  const nlohmann::json* v = Value(field);
  std::vector<double> x;
  if (v == nullptr) return fallback;
  if (ToVector(*v, ToNumber, &x)) return x;
  Fail(field, "must be a list of numbers");
  return fallback;
}

std::vector<int64_t> JsonConfig::Ints(const std::string& field, std::vector<int64_t> fallback) {
  const nlohmann::json* v = Value(field);
  std::vector<int64_t> x;
  if (v == nullptr) return fallback;
  if (ToVector(*v, ToInt, &x)) return x;
  Fail(field, "must be a list of integers");
  return fallback;
}

std::vector<bool> JsonConfig::Bools(const std::string& field, std::vector<bool> fallback) {
  const nlohmann::json* v = Value(field);
  if (v == nullptr) return fallback;
  std::vector<bool> x;
  bool good = v->is_array();
  for (size_t i = 0; good && i < v->size(); ++i) {
    bool item = false;
    good = ToBool((*v)[i], &item);
    x.push_back(item);
  }
  if (good) return x;
  Fail(field, "must be a list of true and false");
  return fallback;
}

std::vector<std::string> JsonConfig::Strings(const std::string& field, std::vector<std::string> fallback) {
  const nlohmann::json* v = Value(field);
  std::vector<std::string> x;
  if (v == nullptr) return fallback;
  if (ToVector(*v, ToString, &x)) return x;
  Fail(field, "must be a list of strings");
  return fallback;
}

void JsonConfig::MustBe(const std::string& field, const nlohmann::json& value) {
  const nlohmann::json* v = Value(field);
  if (v == nullptr || *v == value) return;
  using nlohmann::json;
  const auto text = [](const json& x) { return x.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80); };
  Fail(field, absl::StrCat("is ", text(*v), ", but only ", text(value), " is supported"));
}

void JsonConfig::Ignore(std::initializer_list<std::string_view> fields) {
  for (const std::string_view f : fields) read_.emplace(f);
}

absl::Status JsonConfig::FirstError() const {
  return error_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error_);
}

absl::Status JsonConfig::Finish() const {
  if (!error_.empty()) return FirstError();
  for (const auto& [field, value] : object_.items()) {
    // Null means "not set" in the files of diffusers and transformers, whose newer versions write many such fields.
    if (value.is_null() || read_.contains(field)) continue;
    return absl::InvalidArgumentError(absl::StrCat(path_, ": field '", field, "' is not known"));
  }
  return absl::OkStatus();
}

}  // namespace longtake
