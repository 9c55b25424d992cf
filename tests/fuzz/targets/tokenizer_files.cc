// tokenizer.json and tokenizer.model, and the encoding of texts by what they give. The first line says which file.
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/models/text/tokenizer_model.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using longtake::TokenizerModel;
  using longtake::fuzz::Check;
  const longtake::fuzz::Input input = longtake::fuzz::SplitKind(longtake::fuzz::ToText(data, size));
  if (input.kind != "json" && input.kind != "model") return 0;
  const absl::StatusOr<std::unique_ptr<TokenizerModel>> model =
      input.kind == "json" ? longtake::ParseTokenizerJson(input.rest) : longtake::ParseSentencePiece(input.rest);
  if (!model.ok()) return 0;
  const TokenizerModel& m = **model;
  Check(m.vocabulary() >= 0, "a vocabulary below 0");
  for (const std::string_view text : {"", " ", "a red ball  bounces", "\u00e9\u4e16 \U0001F600", "<bos><unused7>\n"}) {
    std::vector<int32_t> ids;
    m.Encode(text, &ids);
    for (const int32_t id : ids) Check(id >= 0 && id < m.vocabulary(), "an id outside the vocabulary");
  }
  for (const auto& id : {m.bos_id(), m.pad_id(), m.FindPiece("<bos>")}) {
    if (id.has_value()) Check(*id >= 0 && *id < m.vocabulary(), "a named piece outside the vocabulary");
  }
  return 0;
}
