#include "engine/models/text/tokenizer_json.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/json_text.h"

namespace longtake {
namespace {

using nlohmann::json;

constexpr int64_t kMaxId = (1 << 24) - 1;

// Errors of sections are put together as "tokenizer.json: model: field 'x' ...", so that a section is a file of its own
// for JsonConfig. An absent section is an empty one.
JsonConfig Section(const char* name, const json& value) { return {name, value}; }

// `value` as text, for errors.
std::string Shown(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 100);
}

absl::Status ReadModel(const json& value, TokenizerJson* out) {
  if (!value.is_object()) return absl::InvalidArgumentError("field 'model' must be an object");
  JsonConfig model = Section("model", value);
  if (!model.Has("type")) model.Fail("type", "is missing");
  model.MustBe("type", "BPE");
  model.MustBe("dropout", nullptr);
  model.MustBe("byte_fallback", true);
  if (!model.Has("byte_fallback")) model.Fail("byte_fallback", "must be true");
  model.MustBe("ignore_merges", false);
  model.MustBe("continuing_subword_prefix", "");
  model.MustBe("end_of_word_suffix", "");
  model.Ignore({"unk_token", "fuse_unk"});  // with byte fallback nothing is unknown
  const json* vocabulary = model.Raw("vocab");
  const json* merges = model.Raw("merges");
  if (vocabulary == nullptr || !vocabulary->is_object()) model.Fail("vocab", "must be an object");
  if (merges == nullptr || !merges->is_array()) model.Fail("merges", "must be a list");
  RETURN_IF_ERROR(model.Finish());
  for (const auto& [piece, id] : vocabulary->items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > kMaxId) {
      return absl::InvalidArgumentError(absl::StrCat("model: field 'vocab' gives the piece '", piece, "' no id"));
    }
    out->vocabulary.emplace_back(piece, id.get<int32_t>());
  }
  for (const json& merge : *merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      out->merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    // The older spelling: both pieces with a space between them.
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("model: field 'merges' has ", Shown(merge), ", which is no pair"));
    }
    out->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const json& value, TokenizerJson* out) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return absl::InvalidArgumentError("field 'added_tokens' must be a list");
  for (const json& item : value) {
    if (!item.is_object()) return absl::InvalidArgumentError("field 'added_tokens' must be a list of objects");
    JsonConfig token = Section("added_tokens", item);
    TokenizerJson::AddedToken added{.text = token.String("content", ""),
                                    .id = static_cast<int32_t>(token.Int("id", 0, kMaxId)),
                                    .normalized = token.Bool("normalized", true),
                                    .special = token.Bool("special", false)};
    if (added.text.empty()) token.Fail("content", "is missing");
    token.MustBe("single_word", false);
    token.MustBe("lstrip", false);
    token.MustBe("rstrip", false);
    RETURN_IF_ERROR(token.Finish());
    out->added_tokens.push_back(std::move(added));
  }
  return absl::OkStatus();
}

// Spaces become "▁", and nothing else changes.
absl::Status CheckNormalizer(json value) {
  const json wanted = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xe2\x96\x81"}};
  if (value.is_object() && value.value("type", json()) == "Sequence" && value.size() == 2 &&
      value.contains("normalizers") && value["normalizers"].is_array() && value["normalizers"].size() == 1) {
    value = json(value["normalizers"][0]);
  }
  if (value == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("field 'normalizer' is ", Shown(value), ", but only ", Shown(wanted), " is supported"));
}

// Cuts at spaces, of which the normalizer leaves none: it has no effect.
absl::Status CheckPreTokenizer(const json& value) {
  const json wanted = {
      {"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
  if (value.is_null() || value == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("field 'pre_tokenizer' is ", Shown(value), ", but only ", Shown(wanted), " is supported"));
}

// One piece in front of the text, nothing behind it.
absl::Status ReadPostProcessor(const json& value, TokenizerJson* out) {
  if (value.is_null()) return absl::OkStatus();
  const auto refuse = [](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat("field 'post_processor' ", why));
  };
  if (!value.is_object() || value.value("type", json()) != "TemplateProcessing") {
    return refuse(absl::StrCat("is ", Shown(value), ", but only TemplateProcessing is supported"));
  }
  JsonConfig processor = Section("post_processor", value);
  processor.Ignore({"type", "pair"});
  const json* single = processor.Raw("single");
  const json* tokens = processor.Raw("special_tokens");
  RETURN_IF_ERROR(processor.Finish());
  const json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  if (single == nullptr || !single->is_array() || single->size() != 2 || (*single)[1] != sequence ||
      !(*single)[0].is_object() || !(*single)[0].contains("SpecialToken")) {
    return refuse("must put one special token in front of the text and nothing else");
  }
  const json& special = (*single)[0]["SpecialToken"];
  const json name = special.is_object() ? special.value("id", json()) : json();
  if (tokens == nullptr || !tokens->is_object() || !name.is_string() || !tokens->contains(name.get<std::string>())) {
    return refuse("has no special token of that name");
  }
  const json& entry = (*tokens)[name.get<std::string>()];
  const json ids = entry.is_object() ? entry.value("ids", json()) : json();
  if (!ids.is_array() || ids.size() != 1 || !ids[0].is_number_unsigned() || ids[0].get<uint64_t>() > kMaxId) {
    return refuse(absl::StrCat("gives ", Shown(name), " not one id"));
  }
  out->bos_id = ids[0].get<int32_t>();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerJson> ParseTokenizerJsonFile(std::string_view text) {
  absl::StatusOr<json> parsed = ParseJson(text);
  RETURN_IF_ERROR(parsed.status());
  if (!parsed->is_object()) return absl::InvalidArgumentError("is not a JSON object");
  const auto section = [&](const char* name) { return parsed->value(name, json()); };
  for (const auto& [name, value] : parsed->items()) {
    // Truncation and padding are the caller's, decoding is not done.
    bool known = false;
    for (const char* field : {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                              "post_processor", "decoder", "model"}) {
      known = known || name == field;
    }
    if (!known) return absl::InvalidArgumentError(absl::StrCat("field '", name, "' is not known"));
  }
  TokenizerJson out;
  RETURN_IF_ERROR(CheckNormalizer(section("normalizer")));
  RETURN_IF_ERROR(CheckPreTokenizer(section("pre_tokenizer")));
  RETURN_IF_ERROR(ReadPostProcessor(section("post_processor"), &out));
  RETURN_IF_ERROR(ReadAddedTokens(section("added_tokens"), &out));
  RETURN_IF_ERROR(ReadModel(section("model"), &out));
  return out;
}

}  // namespace longtake
