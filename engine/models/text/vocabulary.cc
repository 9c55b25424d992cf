#include "engine/models/text/vocabulary.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "engine/models/text/unicode.h"

namespace longtake {

std::optional<ByteIds> FindBytePieces(const PieceIds& ids) {
  ByteIds bytes;
  for (int i = 0; i < 256; ++i) {
    const std::optional<int32_t> id = ids.Find(absl::StrFormat("<0x%02X>", i));
    if (!id) return std::nullopt;
    bytes[i] = *id;
  }
  return bytes;
}

bool IsControlPiece(std::string_view text) {
  for (const char* name : {"<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<2mass>", "[@BOS@]", "<s>", "</s>",
                           "<start_of_turn>", "<end_of_turn>"}) {
    if (text == name) return true;
  }
  constexpr std::string_view kUnused = "<unused";
  return text.starts_with(kUnused) && text.ends_with('>') && text.size() > kUnused.size() + 1 &&
         std::all_of(text.begin() + kUnused.size(), text.end() - 1, absl::ascii_isdigit);
}

std::vector<BpeSymbol> Characters(std::string_view text, const PieceIds& ids) {
  std::vector<BpeSymbol> symbols;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = NextCharacter(text, begin);
    symbols.push_back({ids.Find(text.substr(begin, end - begin)).value_or(-1), begin, end});
    begin = end;
  }
  return symbols;
}

}  // namespace longtake
