#include "engine/core/json_text.h"

#include <utility>

#include "absl/status/status.h"
#include "engine/core/json_tree.h"

namespace longtake {

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text) {
  JsonTreeBuilder builder;
  if (!nlohmann::json::sax_parse(text, &builder)) return absl::InvalidArgumentError(builder.error());
  return std::move(builder.tree());
}

}  // namespace longtake
