#include "engine/core/json_tree.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 64;
constexpr size_t kShownBytes = 100;  // of a key, in error messages

}  // namespace

bool JsonTreeBuilder::Fail(std::string why) {
  if (error_.empty()) error_ = std::move(why);
  return false;
}

bool JsonTreeBuilder::parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
  return Fail(absl::StrCat("is not valid JSON (byte ", position, ")"));
}

json* JsonTreeBuilder::Put(json value) {
  if (values_left_ == 0) {
    Fail("has too many values");
    return nullptr;
  }
  --values_left_;
  if (open_.empty()) return &(root_ = std::move(value));
  json& parent = *open_.back();
  if (!parent.is_array()) return &(parent[path_.back()] = std::move(value));
  parent.push_back(std::move(value));
  return &parent.back();
}

bool JsonTreeBuilder::Open(json container) {
  if (open_.size() == kMaxDepth) return Fail("is nested too deeply");
  const bool object = container.is_object();
  json* const at = Put(std::move(container));
  if (at == nullptr) return false;
  // Values are added only to the innermost open container, so the elements of outer ones do not move while pointers to
  // them are kept.
  open_.push_back(at);
  if (object) {
    keys_.emplace_back();
    path_.emplace_back();
  }
  return true;
}

bool JsonTreeBuilder::key(string_t& key) {
  if (!keys_.back().insert(key).second) {
    return Fail(absl::StrCat("has the key '", key.substr(0, kShownBytes), "' twice in one object"));
  }
  path_.back() = std::move(key);
  return true;
}

bool JsonTreeBuilder::end_object() {
  keys_.pop_back();
  path_.pop_back();
  open_.pop_back();
  return true;
}

bool JsonTreeBuilder::end_array() {
  open_.pop_back();
  return true;
}

}  // namespace longtake
