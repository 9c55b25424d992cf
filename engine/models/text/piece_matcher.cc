#include "engine/models/text/piece_matcher.h"

#include <algorithm>

namespace longtake {

void PieceMatcher::Add(std::string text, int32_t id) {
  if (text.empty()) return;
  auto& pieces = pieces_[static_cast<unsigned char>(text[0])];
  const auto at =
      std::find_if(pieces.begin(), pieces.end(), [&](const auto& piece) { return piece.first.size() < text.size(); });
  pieces.insert(at, {std::move(text), id});
}

std::pair<int32_t, size_t> PieceMatcher::Match(std::string_view text) const {
  if (text.empty()) return {-1, 0};
  for (const auto& [piece, id] : pieces_[static_cast<unsigned char>(text[0])]) {
    if (text.starts_with(piece)) return {id, piece.size()};
  }
  return {-1, 0};
}

void PieceMatcher::Split(std::string_view text, const std::function<void(int32_t)>& piece,
                         const std::function<void(std::string_view)>& rest) const {
  size_t begin = 0;  // beginning of the text that no piece has covered yet
  for (size_t at = 0; at < text.size();) {
    const auto [id, bytes] = Match(text.substr(at));
    if (bytes == 0) {
      ++at;
      continue;
    }
    if (at > begin) rest(text.substr(begin, at - begin));
    piece(id);
    begin = at += bytes;
  }
  if (begin < text.size()) rest(text.substr(begin));
}

}  // namespace longtake
