#include "engine/models/text/tokenizer.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/input_file.h"
#include "engine/core/json_config.h"

namespace longtake {
namespace {

constexpr uint64_t kMaxBytes = 100'000'000;  // Gemma's models have 4 MB

}  // namespace

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::string& folder) {
  const std::string config = folder + "/tokenizer_config.json", path = folder + "/tokenizer.model";
  std::error_code ignored;
  if (std::filesystem::exists(config, ignored)) {
    ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(config));
    // The rest names classes, special pieces (the model file has them) and the look of decoded text.
    if (!json.Bool("add_bos_token", true)) json.Fail("add_bos_token", "must be true");
    if (json.Bool("add_eos_token", false)) json.Fail("add_eos_token", "must be false");
    RETURN_IF_ERROR(json.FirstError());
  }
  ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  ASSIGN_OR_RETURN(const std::string bytes, file.ReadAll(kMaxBytes));
  ASSIGN_OR_RETURN(std::unique_ptr<SentencePieceModel> model, ParseSentencePiece(bytes));
  if (model == nullptr) return absl::InvalidArgumentError(absl::StrCat(path, ": is not a SentencePiece model"));
  if (model->bos_id() < 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": has no piece for the beginning of a text"));
  }
  return Tokenizer(std::move(model));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text) const {
  std::vector<int32_t> ids = {model_->bos_id()};
  if (!model_->Encode(text, &ids)) return absl::InternalError("the prompt cannot be tokenized");
  return ids;
}

}  // namespace longtake
