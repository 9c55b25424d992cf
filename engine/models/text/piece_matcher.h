// Pieces that are looked for in a text before it is cut any further, such as "\n\n" or "<table>".
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

  // The longest piece that `text` begins with: {id, its bytes}; {-1, 0} where there is none.
  std::pair<int32_t, size_t> Match(std::string_view text) const;

  // Cuts `text` from left to right: `piece` is called for each piece, `rest` for each text between two of them.
  void Split(std::string_view text, const std::function<void(int32_t)>& piece,
             const std::function<void(std::string_view)>& rest) const;

 private:
  // By first byte, the longest first.
  std::array<std::vector<std::pair<std::string, int32_t>>, 256> pieces_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_PIECE_MATCHER_H_
