// Reads a config.json field by field. Every field must be read, be listed as ignored, or it is refused by name.
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

// Errors are collected: read all fields, then call Finish(). A getter that fails returns its fallback.
class JsonConfig {
 public:
  static absl::StatusOr<JsonConfig> Load(const std::string& path);
  JsonConfig(std::string path, nlohmann::json object);

  bool Has(const std::string& field) const;  // present and not null; does not count as read
  std::vector<std::string> Fields() const;   // all present fields, including null ones

  // With a fallback, the field may be absent or null. Without one, an absent field is an error that names file and
  // field.
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
  // Counts as read. Null pointer if the field is absent; a JSON null if it is null.
  const nlohmann::json* Raw(const std::string& field);

  // If the field is present and not null it must equal `value`, because other values would change the result and are
  // not supported.
  void MustBe(const std::string& field, const nlohmann::json& value);
  // Fields that have no effect on inference.
  void Ignore(std::initializer_list<std::string_view> fields);
  // Adds an error about a field that the caller has found.
  void Fail(const std::string& field, const std::string& why);

  // InvalidArgument with the first error, or naming a field that is not null and was not read.
  absl::Status Finish() const;
  // Like Finish, but allows unread fields, for files that other programs write fields into.
  absl::Status FirstError() const;
  const std::string& path() const { return path_; }

 private:
  const nlohmann::json* Value(const std::string& field);  // like Raw, but a null pointer for a null field too

  std::string path_;
  nlohmann::json object_;
  std::set<std::string> read_;
  std::string error_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_JSON_CONFIG_H_
