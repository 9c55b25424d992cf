#include "engine/models/text/tokenizer.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "engine/core/input_file.h"
#include "engine/models/text/tokenizer_config.h"

namespace longtake {
namespace {

constexpr uint64_t kMaxBytes = 64'000'000;  // Gemma's tokenizer.json has about 34 MB

bool IsThere(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::symlink_status(path, ignored).type() != std::filesystem::file_type::not_found;
}

// Returns the id of a token that the config names.
absl::StatusOr<int32_t> FindToken(const TokenizerModel& model, const std::string& config, const char* field,
                                  const std::string& token) {
  const std::optional<int32_t> id = model.FindPiece(token);
  if (id) return *id;
  return absl::InvalidArgumentError(
      absl::StrCat(config, ": field '", field, "' is '", token, "', which the tokenizer does not have"));
}

}  // namespace

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::string& folder) {
  const std::string config_path = folder + "/tokenizer_config.json", pieces = folder + "/tokenizer.model";
  const std::string json = folder + "/tokenizer.json", path = IsThere(pieces) ? pieces : json;
  ASSIGN_OR_RETURN(const TokenizerConfig config, LoadTokenizerConfig(config_path));
  if (!IsThere(path)) {
    return absl::NotFoundError(absl::StrCat(folder, ": has neither tokenizer.model nor tokenizer.json"));
  }
  ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  ASSIGN_OR_RETURN(const std::string bytes, file.ReadAll(kMaxBytes));
  absl::StatusOr<std::unique_ptr<TokenizerModel>> model =
      path == pieces ? ParseSentencePiece(bytes) : ParseTokenizerJson(bytes);
  if (!model.ok()) return absl::InvalidArgumentError(absl::StrCat(path, ": ", model.status().message()));
  const TokenizerModel& m = **model;

  for (const auto& [token, id] : config.added_tokens) {
    if (m.FindPiece(token) == id) continue;
    return absl::InvalidArgumentError(absl::StrCat(config_path, ": field 'added_tokens_decoder' gives '", token,
                                                   "' the id ", id, ", which it does not have in ", path));
  }
  std::optional<int32_t> bos = m.bos_id(), pad = m.pad_id();
  if (config.bos_token) {
    ASSIGN_OR_RETURN(const int32_t id, FindToken(m, config_path, "bos_token", *config.bos_token));
    if (bos.value_or(id) != id) {
      return absl::InvalidArgumentError(absl::StrCat(config_path, ": field 'bos_token' is '", *config.bos_token,
                                                     "', but ", path, " puts another piece in front of a text"));
    }
    // A tokenizer.json without a post-processor adds no BOS unless the config requests it.
    if (path == pieces || config.says_bos) bos = id;
  }
  if (!bos) return absl::InvalidArgumentError(absl::StrCat(path, ": has no piece for the beginning of a text"));
  if (config.pad_token) {
    ASSIGN_OR_RETURN(pad, FindToken(m, config_path, "pad_token", *config.pad_token));
  }
  return Tokenizer(*std::move(model), *bos, pad.value_or(-1));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text) const {
  if (!IsUtf8(text)) return absl::InvalidArgumentError("prompt is not valid UTF-8");
  std::vector<int32_t> ids = {bos_id_};
  model_->Encode(text, &ids);
  return ids;
}

}  // namespace longtake
