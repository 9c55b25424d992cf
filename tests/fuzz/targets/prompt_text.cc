// Any bytes as a prompt: stripped, and encoded by the bundled model's tokenizer.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/utf8.h"
#include "engine/models/text/tokenizer.h"
#include "engine/models/text/unicode.h"
#include "tests/fuzz/check.h"

namespace longtake {
namespace {

using fuzz::Check;

const Tokenizer& BundledTokenizer() {
  static const absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load("models/longtake-tiny/tokenizer");
  Check(tokenizer.ok(), "run it in the repository's root, where the bundled model is");
  return *tokenizer;
}

void CheckEncoding(std::string_view text) {
  const Tokenizer& tokenizer = BundledTokenizer();
  const absl::StatusOr<std::vector<int32_t>> ids = tokenizer.Encode(text);
  Check(ids.ok() == IsUtf8(text), "text is encoded if and only if it is UTF-8");
  if (!ids.ok()) return;
  // A character without a piece is encoded as its bytes, so there are no more tokens than BOS, one that may be put in
  // front, and one for each byte of a text whose spaces have three.
  Check(!ids->empty() && ids->size() <= 2 + 3 * text.size() + 3, "more tokens than bytes");
  for (const int32_t id : *ids) Check(id >= 0 && id < tokenizer.vocabulary(), "an id outside the vocabulary");
}

}  // namespace
}  // namespace longtake

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = longtake::fuzz::ToText(data, size);
  longtake::CheckEncoding(text);
  for (const bool lower_case : {false, true}) {
    const absl::StatusOr<std::string> stripped = longtake::StripText(text, lower_case);
    longtake::fuzz::Check(stripped.ok() == longtake::IsUtf8(text), "text is stripped if and only if it is UTF-8");
    if (!stripped.ok()) continue;
    longtake::fuzz::Check(longtake::IsUtf8(*stripped), "stripping leaves no UTF-8");
    longtake::CheckEncoding(*stripped);
  }
  return 0;
}
