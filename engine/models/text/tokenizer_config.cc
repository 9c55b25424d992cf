#include "engine/models/text/tokenizer_config.h"

#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"

namespace longtake {
namespace {

// Reads a token, which is written as its text or as an object that contains its text.
std::optional<std::string> Token(JsonConfig& config, const std::string& field) {
  const nlohmann::json* value = config.Raw(field);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (value->is_object() && value->contains("content")) value = &value->at("content");
  if (value->is_string()) return value->get<std::string>();
  config.Fail(field, "must be a token");
  return std::nullopt;
}

void ReadAddedTokens(JsonConfig& config, TokenizerConfig* out) {
  constexpr char kField[] = "added_tokens_decoder";
  const nlohmann::json* tokens = config.Raw(kField);
  if (tokens == nullptr || tokens->is_null()) return;
  if (!tokens->is_object()) return config.Fail(kField, "must be an object");
  for (const auto& [key, token] : tokens->items()) {
    int32_t id;
    if (!absl::SimpleAtoi(key, &id) || id < 0 || !token.is_object() || !token.contains("content") ||
        !token["content"].is_string()) {
      return config.Fail(kField, absl::StrCat("has an entry '", key, "' that is no token with an id"));
    }
    // These flags would remove spaces around a token. Special tokens may have them, because they are not matched in
    // text.
    for (const char* flag : {"lstrip", "rstrip", "single_word"}) {
      if (token.value("special", nlohmann::json(false)) != true && token.value(flag, nlohmann::json(false)) != false) {
        return config.Fail(kField, absl::StrCat("has an entry '", key, "' with ", flag, ", which is not supported"));
      }
    }
    out->added_tokens.emplace_back(token["content"].get<std::string>(), id);
  }
}

void CheckClass(JsonConfig& config) {
  const std::string name = config.String("tokenizer_class", "GemmaTokenizer");
  for (const char* known : {"GemmaTokenizer", "GemmaTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"}) {
    if (name == known) return;
  }
  config.Fail("tokenizer_class", absl::StrCat("is '", name, "', but only Gemma's tokenizer is supported"));
}

}  // namespace

absl::StatusOr<TokenizerConfig> LoadTokenizerConfig(const std::string& path) {
  TokenizerConfig out;
  std::error_code ignored;
  if (std::filesystem::symlink_status(path, ignored).type() == std::filesystem::file_type::not_found) return out;
  ASSIGN_OR_RETURN(JsonConfig config, JsonConfig::Load(path));
  out.says_bos = config.Has("add_bos_token");
  config.MustBe("add_bos_token", true);
  config.MustBe("add_eos_token", false);
  config.MustBe("add_prefix_space", false);
  config.MustBe("do_lower_case", false);
  config.MustBe("sp_model_kwargs", nlohmann::json::object());
  config.MustBe("auto_map", nullptr);  // custom code in the folder
  CheckClass(config);
  out.bos_token = Token(config, "bos_token");
  out.pad_token = Token(config, "pad_token");
  ReadAddedTokens(config, &out);
  // These fields concern decoding, truncation and padding (which the caller does), names of control pieces (which
  // prompts cannot produce), and chats.
  config.Ignore({"additional_special_tokens",
                 "backend",
                 "chat_template",
                 "clean_up_tokenization_spaces",
                 "cls_token",
                 "eos_token",
                 "extra_special_tokens",
                 "is_local",
                 "legacy",
                 "local_files_only",
                 "mask_token",
                 "max_length",
                 "model_input_names",
                 "model_max_length",
                 "model_specific_special_tokens",
                 "name_or_path",
                 "pad_to_multiple_of",
                 "pad_token_type_id",
                 "padding_side",
                 "processor_class",
                 "sep_token",
                 "spaces_between_special_tokens",
                 "special_tokens_map_file",
                 "split_special_tokens",
                 "stride",
                 "tokenizer_file",
                 "truncation_side",
                 "truncation_strategy",
                 "unk_token",
                 "use_default_system_prompt",
                 "use_fast",
                 "vocab_file"});
  RETURN_IF_ERROR(config.Finish());
  return out;
}

}  // namespace longtake
