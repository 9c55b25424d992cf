// Byte pair encoding: merges adjacent symbols of a text, best pair first, until no pair can be merged.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_BPE_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_BPE_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace longtake {

// A piece of text: bytes [begin, end).
struct BpeSymbol {
  int32_t id = 0;  // -1: not in the vocabulary
  size_t begin = 0;
  size_t end = 0;
};

struct BpeMerge {
  int32_t rank = 0;  // the lowest rank is merged first; among equal ranks, the leftmost pair
  int32_t id = 0;    // id of the merged symbol
};

// The pairs that can be merged.
class BpeMerges {
 public:
  virtual ~BpeMerges() = default;
  // `text` is the concatenated text of both symbols.
  virtual std::optional<BpeMerge> Find(const BpeSymbol& left, const BpeSymbol& right, std::string_view text) const = 0;
};

// Merges `symbols`, which cover all of `text` in order.
void MergeSymbols(std::string_view text, const BpeMerges& merges, std::vector<BpeSymbol>* symbols);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_BPE_H_
