// The pieces of a tokenizer.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_VOCABULARY_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_VOCABULARY_H_

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/models/text/bpe.h"

namespace longtake {

// Maps pieces to ids.
class PieceIds {
 public:
  // Returns false if the piece exists already.
  bool Add(std::string text, int32_t id) { return ids_.emplace(std::move(text), id).second; }
  std::optional<int32_t> Find(std::string_view text) const {
    const auto it = ids_.find(text);
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
};

// Ids of the pieces "<0x00>" to "<0xFF>", which encode characters without a piece.
using ByteIds = std::array<int32_t, 256>;
std::optional<ByteIds> FindBytePieces(const PieceIds& ids);

// True for pieces that control a model and represent no text: "<bos>", "<end_of_turn>", "<unused7>", ... Gemma's files
// declare some of them as pieces of text, so that a prompt could produce them. Here a control piece's name in a prompt
// is always encoded as ordinary text, for both kinds of files.
bool IsControlPiece(std::string_view text);

// Splits `text`, which is UTF-8, into characters. A character without a piece has id -1.
std::vector<BpeSymbol> Characters(std::string_view text, const PieceIds& ids);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_VOCABULARY_H_
