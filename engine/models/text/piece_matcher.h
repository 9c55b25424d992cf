// Finds pieces that are matched in a text before it is tokenized further, such as "\n\n" or "<table>".
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_PIECE_MATCHER_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_PIECE_MATCHER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace longtake {

class PieceMatcher {
 public:
  void Add(std::string text, int32_t id);

  // Returns the longest piece that `text` begins with, as {id, bytes}; {-1, 0} if there is none.
  std::pair<int32_t, size_t> Match(std::string_view text) const;

  // Splits `text` from left to right. Calls `piece` for each piece and `rest` for each text between pieces.
  void Split(std::string_view text, const std::function<void(int32_t)>& piece,
             const std::function<void(std::string_view)>& rest) const;

 private:
  // By first byte; longest piece first.
  std::array<std::vector<std::pair<std::string, int32_t>>, 256> pieces_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_PIECE_MATCHER_H_
