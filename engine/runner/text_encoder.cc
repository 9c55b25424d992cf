// The text modules: the tokenizer on given texts, the encoder on given tokens, and both from a prompt to its caption
// embedding.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/folder/settings.h"
#include "engine/models/gemma2/gemma2.h"
#include "engine/models/text/caption.h"
#include "engine/models/text/tokenizer.h"
#include "engine/runner/modules.h"

namespace longtake {
namespace {

// Returns the last hidden state of all rows, including padding, as transformers computes it.
absl::StatusOr<std::vector<float>> Encode(Ops& ops, const Gemma2& model, const std::vector<TextSequence>& sequences) {
  int64_t rows = 0;
  for (const TextSequence& s : sequences) rows += static_cast<int64_t>(s.ids.size());
  std::vector<float> values(rows * model.config().width);
  const auto scratch = ops.device().Allocate(model.ScratchBytes(rows));
  const auto out = ops.device().Allocate(values.size() * sizeof(float));
  RETURN_IF_ERROR(
      model.Forward(sequences, scratch->data(), MakeMat(out->data(), DType::kF32, rows, model.config().width)));
  ops.device().Download(out->data(), values.data(), values.size() * sizeof(float));
  return values;
}

// Returns the number of ones in a row of a mask, or -1 if the row is not ones followed by zeros.
int64_t Length(std::span<const int64_t> mask) {
  const int64_t length = std::count(mask.begin(), mask.end(), 1);
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != (static_cast<int64_t>(i) < length ? 1 : 0)) return -1;
  }
  return length;
}

}  // namespace

absl::StatusOr<ModuleOutputs> RunTextEncoder(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(const auto model, Gemma2::Load(ops, request.model_dir + "/text_encoder", nullptr));
  std::vector<int64_t> shape, mask_shape;
  const std::vector<int64_t> wide_ids = in.Ints("input_ids", 2, &shape);
  const std::vector<int64_t> mask = in.Ints("attention_mask", 2, &mask_shape);
  if (mask_shape != shape) in.Fail("attention_mask", "has not the shape of input_ids");
  RETURN_IF_ERROR(in.status());
  for (const int64_t id : wide_ids) {
    if (id < 0 || id >= model->config().vocabulary)
      in.Fail("input_ids", absl::StrCat(id, " is outside the vocabulary"));
  }
  const std::vector<int32_t> ids(wide_ids.begin(), wide_ids.end());
  std::vector<TextSequence> sequences;
  for (int64_t b = 0; b < shape[0]; ++b) {
    const int64_t length = Length({mask.data() + b * shape[1], static_cast<size_t>(shape[1])});
    if (length < 1) in.Fail("attention_mask", "rows must be one or more ones, then zeros");
    sequences.push_back({.ids = {ids.data() + b * shape[1], static_cast<size_t>(shape[1])}, .length = length});
  }
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(std::vector<float> hidden, Encode(ops, *model, sequences));
  ModuleOutputs outputs;
  outputs["last_hidden_state"] = {{shape[0], shape[1], model->config().width}, std::move(hidden)};
  return outputs;
}

// Inputs: `bytes`, all texts concatenated, and `byte_counts`, the bytes of each. Output: `input_ids`, concatenated too;
// those of each text begin with BOS.
absl::StatusOr<ModuleOutputs> RunTokenizer(Ops&, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(request.model_dir + "/tokenizer"));
  std::vector<int64_t> shape;
  const std::vector<int64_t> wide = in.Ints("bytes", 1, &shape), counts = in.Ints("byte_counts", 1, &shape);
  RETURN_IF_ERROR(in.status());
  const std::string bytes(wide.begin(), wide.end());
  size_t at = 0;
  OutputTensor out;
  for (const int64_t count : counts) {
    if (count < 0 || static_cast<uint64_t>(count) > bytes.size() - at) {
      in.Fail("byte_counts", "adds up to more than bytes has");
      return in.status();
    }
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(std::string_view(bytes).substr(at, count)));
    out.values.insert(out.values.end(), ids.begin(), ids.end());
    at += count;
  }
  out.shape = {static_cast<int64_t>(out.values.size())};
  return ModuleOutputs{{"input_ids", std::move(out)}};
}

absl::StatusOr<ModuleOutputs> RunCaption(Ops& ops, const ModuleRequest& request, ModuleInputs&) {
  ASSIGN_OR_RETURN(const ModelSettings settings, ModelSettings::Load(request.model_dir));
  ASSIGN_OR_RETURN(const auto encoder, CaptionEncoder::Load(ops, request.model_dir, settings, nullptr));
  ASSIGN_OR_RETURN(const CaptionTokens tokens,
                   request.negative ? encoder->TokenizeNegative(request.prompt) : encoder->Tokenize(request.prompt));
  ASSIGN_OR_RETURN(const std::vector<float> hidden,
                   Encode(ops, encoder->text_encoder(), {{.ids = tokens.ids, .length = tokens.length}}));
  const int64_t width = encoder->width(), kept = tokens.kept();
  OutputTensor ids{{1, static_cast<int64_t>(tokens.ids.size())}, {tokens.ids.begin(), tokens.ids.end()}};
  OutputTensor states{{1, kept, width}, {}}, mask{{1, kept}, {}};
  for (int64_t i = 0; i < kept; ++i) {
    const int64_t position = i == 0 ? 0 : tokens.first_kept + i - 1;
    states.values.insert(states.values.end(), hidden.begin() + position * width,
                         hidden.begin() + (position + 1) * width);
    mask.values.push_back(position < tokens.length ? 1.f : 0.f);
  }
  ModuleOutputs outputs;
  outputs["input_ids"] = std::move(ids);
  outputs["encoder_hidden_states"] = std::move(states);
  outputs["encoder_attention_mask"] = std::move(mask);
  return outputs;
}

}  // namespace longtake
