#include "engine/models/lora/scales.h"

#include <cmath>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/json_text.h"

namespace longtake {
namespace {

using Json = nlohmann::ordered_json;  // keeps the order of patterns, of which the first that matches counts

// Fields that must be absent, null, false or empty: others change the weights in ways that are not supported.
constexpr const char* kMustBeEmpty[] = {"use_dora",          "lora_bias",       "use_qalora",
                                        "fan_in_fan_out",    "modules_to_save", "use_bdlora",
                                        "layer_replication", "loftq_config",    "trainable_token_indices",
                                        "target_parameters", "arrow_config",    "alora_invocation_tokens"};
// Initializations that leave the base weights as they are. PiSSA, OLoRA, CorDA and LoftQ subtract from them.
constexpr std::string_view kInitializations[] = {"gaussian", "orthogonal", "eva"};

constexpr size_t kMostPatterns = 10'000;  // far more than a transformer has layers

bool IsEmpty(const nlohmann::json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_object() || value.is_array()) && value.empty());
}

using Pattern = std::vector<std::pair<std::unique_ptr<const RE2>, double>>;

// The first value whose expression matches the end of the layer's name, else `otherwise`.
double Pick(const Pattern& pattern, const std::string& layer, double otherwise) {
  for (const auto& [expression, value] : pattern) {
    if (RE2::FullMatch(layer, *expression)) return value;
  }
  return otherwise;
}

absl::StatusOr<Pattern> ReadPattern(const Json& config, const std::string& source, const std::string& field) {
  const auto bad = [&](const auto&... why) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": field '", field, "' ", why...));
  };
  Pattern pattern;
  const auto at = config.find(field);
  if (at == config.end() || at->is_null()) return pattern;
  if (!at->is_object()) return bad("is no object");
  if (at->size() > kMostPatterns) return bad("has more than ", kMostPatterns, " patterns");
  RE2::Options quiet(RE2::Quiet);
  quiet.set_max_mem(1 << 20);  // of one expression; a long list of layers' names needs some 10 KB
  for (const auto& [expression, value] : at->items()) {
    auto end_of_name = std::make_unique<const RE2>(absl::StrCat("(?:.*\\.)?(?:", expression, ")"), quiet);
    if (!end_of_name->ok()) {
      return bad("has '", expression.substr(0, 80), "', which is no regular expression that can be read");
    }
    if (!value.is_number() || !std::isfinite(value.get<double>())) {
      return bad("has no number for '", expression.substr(0, 80), "'");
    }
    pattern.emplace_back(std::move(end_of_name), value.get<double>());
  }
  return pattern;
}

}  // namespace

absl::StatusOr<LoraScales> LoraScales::Parse(const std::string& source, const std::string& text,
                                             const std::string& prefix) {
  absl::StatusOr<nlohmann::json> parsed = ParseJson(text);
  if (!parsed.ok()) return absl::InvalidArgumentError(absl::StrCat(source, ": ", parsed.status().message()));
  if (!parsed->is_object()) return absl::InvalidArgumentError(absl::StrCat(source, ": is no JSON object"));
  // ParseJson has limited the depth and refused equal keys, which this parser does not.
  const Json whole = Json::parse(text);
  Json config = Json::object();
  for (const auto& [field, value] : whole.items()) {
    if (!absl::StartsWith(field, prefix)) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": field '", field.substr(0, 80), "' is of another part than the transformer"));
    }
    config[field.substr(prefix.size())] = value;
  }

  JsonConfig fields(source, nlohmann::json(config));
  LoraScales scales;
  scales.configured_ = true;
  fields.MustBe("peft_type", "LORA");
  fields.MustBe("bias", "none");
  for (const char* field : kMustBeEmpty) {
    if (const nlohmann::json* value = fields.Raw(field); value != nullptr && !IsEmpty(*value)) {
      fields.Fail(field, "is set, which is not supported");
    }
  }
  if (const nlohmann::json* value = fields.Raw("init_lora_weights"); value != nullptr && value->is_string()) {
    const auto& word = value->get_ref<const std::string&>();
    bool plain = false;
    for (const std::string_view known : kInitializations) plain |= word == known;
    if (!plain) fields.Fail("init_lora_weights", "is of an adapter that changes the base weights, or is not known");
  }
  scales.rank_ = static_cast<double>(fields.Int("r", 1, 1 << 20));
  scales.alpha_ = fields.Number("lora_alpha", 8);  // peft's default
  scales.rslora_ = fields.Bool("use_rslora", false);
  RETURN_IF_ERROR(fields.FirstError());  // the other fields have no effect on inference
  if (!std::isfinite(scales.alpha_) || scales.alpha_ == 0) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": field 'lora_alpha' is 0 or not finite"));
  }
  ASSIGN_OR_RETURN(scales.rank_pattern_, ReadPattern(config, source, "rank_pattern"));
  ASSIGN_OR_RETURN(scales.alpha_pattern_, ReadPattern(config, source, "alpha_pattern"));
  return scales;
}

absl::StatusOr<float> LoraScales::ScaleOf(const std::string& layer, int64_t rank, std::optional<double> alpha) const {
  const auto of_rank = static_cast<double>(rank);
  if (!configured_) return static_cast<float>(alpha.value_or(of_rank) / of_rank);
  const double r = Pick(rank_pattern_, layer, rank_);
  if (r != of_rank) {
    return absl::InvalidArgumentError(absl::StrCat("has rank ", rank, ", and the configuration says ", r));
  }
  const double configured = Pick(alpha_pattern_, layer, alpha_) / (rslora_ ? std::sqrt(r) : r);
  if (alpha.has_value() && static_cast<float>(*alpha / of_rank) != static_cast<float>(configured)) {
    return absl::InvalidArgumentError(
        absl::StrCat("has the scale ", *alpha / of_rank, " by its alpha, and the configuration says ", configured));
  }
  return static_cast<float>(configured);
}

}  // namespace longtake
