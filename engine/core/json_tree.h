// Builds a JSON value from a parser's events, with limits.
#ifndef LONGTAKE_ENGINE_CORE_JSON_TREE_H_
#define LONGTAKE_ENGINE_CORE_JSON_TREE_H_

#include <cstddef>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace longtake {

// Refuses two equal keys in an object, nesting deeper than 64 levels, and more than `max_values` values. Derived
// classes intercept some of the events.
class JsonTreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonTreeBuilder(size_t max_values = std::numeric_limits<size_t>::max()) : values_left_(max_values) {}

  // Valid after a parse that succeeded.
  nlohmann::json& tree() { return root_; }
  // After a parse that failed: the reason, worded to follow the file's name.
  const std::string& error() const { return error_; }

  bool null() override { return Put(nullptr) != nullptr; }
  bool boolean(bool value) override { return Put(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Put(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Put(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override { return Put(value) != nullptr; }
  bool string(string_t& value) override { return Put(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return false; }  // not in JSON
  bool start_object(std::size_t) override { return Open(nlohmann::json::object()); }
  bool key(string_t& key) override;
  bool end_object() override;
  bool start_array(std::size_t) override { return Open(nlohmann::json::array()); }
  bool end_array() override;
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override;

 protected:
  // Ends the parse with an error. The first of several errors is kept.
  bool Fail(std::string why);
  // The keys that lead to the next value, one for each open object. Elements of arrays have no key.
  const std::vector<std::string>& path() const { return path_; }
  size_t depth() const { return open_.size(); }  // number of containers around the next value

 private:
  nlohmann::json* Put(nlohmann::json value);
  bool Open(nlohmann::json container);

  nlohmann::json root_;
  std::vector<nlohmann::json*> open_;        // the containers that enclose the next value, outermost first
  std::vector<std::set<std::string>> keys_;  // keys so far of each open object
  std::vector<std::string> path_;
  size_t values_left_;
  std::string error_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_JSON_TREE_H_
