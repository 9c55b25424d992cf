// A config.json read field by field: every field is honoured, or accepted from a written list, or refused by name.
#ifndef LONGTAKE_ENGINE_CORE_JSON_CONFIG_H_
#define LONGTAKE_ENGINE_CORE_JSON_CONFIG_H_

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace longtake {

// Errors are collected: read all fields, then ask Finish(). A getter that fails returns its fallback.
class JsonConfig {
 public:
  static absl::StatusOr<JsonConfig> Load(const std::string& path);
  JsonConfig(std::string path, nlohmann::json object);

  bool Has(const std::string& field) const;  // present and not null; does not count as read
  std::vector<std::string> Fields() const;   // all that are present, null or not

  // With a fallback the field may be absent or null. Without, absence is an error that names file and field.
  int64_t Int(const std::string& field, int64_t min, int64_t max);
  int64_t Int(const std::string& field, int64_t min, int64_t max, int64_t fallback);
  double Number(const std::string& field);
  double Number(const std::string& field, double fallback);
  bool Bool(const std::string& field, bool fallback);
  std::string String(const std::string& field, const std::string& fallback);
  std::vector<double> Numbers(const std::string& field, std::vector<double> fallback);
  std::vector<int64_t> Ints(const std::string& field, std::vector<int64_t> fallback);
  std::vector<bool> Bools(const std::string& field, std::vector<bool> fallback);
  std::vector<std::string> Strings(const std::string& field, std::vector<std::string> fallback);
  // Counts as read. No value where the field is absent; a JSON null where it is null.
  const nlohmann::json* Raw(const std::string& field);

  // The field, if present and not null, must equal `value`: other values would change the result and are not supported.
  void MustBe(const std::string& field, const nlohmann::json& value);
  // Fields without effect on inference.
  void Ignore(std::initializer_list<std::string_view> fields);
  // Adds an error of the caller's own about a field.
  void Fail(const std::string& field, const std::string& why);

  // InvalidArgument with the first error, or naming a field that nobody read and that is not null.
  absl::Status Finish() const;
  // The same without unread fields, for files whose other fields are another program's.
  absl::Status FirstError() const;
  const std::string& path() const { return path_; }

 private:
  const nlohmann::json* Value(const std::string& field);  // Raw, but null also where the field is null

  std::string path_;
  nlohmann::json object_;
  std::set<std::string> read_;
  std::string error_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_JSON_CONFIG_H_
