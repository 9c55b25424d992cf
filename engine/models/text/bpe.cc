#include "engine/models/text/bpe.h"

#include <queue>
#include <utility>

namespace longtake {
namespace {

constexpr int64_t kNone = -1;

struct Candidate {
  int32_t rank;
  int64_t left;  // index of the left symbol
  int32_t id;

  // Order of the queue, whose top is the greatest element.
  bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
};

class Merger {
 public:
  Merger(std::string_view text, const BpeMerges& merges, std::vector<BpeSymbol>& symbols)
      : text_(text), merges_(merges), symbols_(symbols) {
    const auto count = static_cast<int64_t>(symbols.size());
    for (int64_t i = 0; i < count; ++i) {
      links_.push_back({.previous = i - 1, .next = i + 1 < count ? i + 1 : kNone});
    }
    for (int64_t i = 0; i < count; ++i) Add(i);
  }

  void Run() {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      // A candidate is stale if one of its symbols has been merged with another symbol meanwhile.
      const std::optional<BpeMerge> merge = Find(best.left);
      if (!merge || merge->id != best.id) continue;
      Join(best.left, merge->id);
      if (links_[best.left].previous != kNone) Add(links_[best.left].previous);
      Add(best.left);
    }
    size_t kept = 0;
    for (int64_t i = symbols_.empty() ? kNone : 0; i != kNone; i = links_[i].next) symbols_[kept++] = symbols_[i];
    symbols_.resize(kept);
  }

 private:
  struct Link {
    int64_t previous, next;
    bool gone = false;  // merged into its left neighbour
  };

  std::optional<BpeMerge> Find(int64_t left) const {
    if (links_[left].gone || links_[left].next == kNone) return std::nullopt;
    const BpeSymbol &a = symbols_[left], &b = symbols_[links_[left].next];
    return merges_.Find(a, b, text_.substr(a.begin, b.end - a.begin));
  }

  void Add(int64_t left) {
    if (const std::optional<BpeMerge> merge = Find(left)) queue_.push({merge->rank, left, merge->id});
  }

  void Join(int64_t left, int32_t id) {
    const int64_t right = links_[left].next;
    symbols_[left].id = id;
    symbols_[left].end = symbols_[right].end;
    links_[right].gone = true;
    links_[left].next = links_[right].next;
    if (links_[left].next != kNone) links_[links_[left].next].previous = left;
  }

  const std::string_view text_;
  const BpeMerges& merges_;
  std::vector<BpeSymbol>& symbols_;
  std::vector<Link> links_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

void MergeSymbols(std::string_view text, const BpeMerges& merges, std::vector<BpeSymbol>* symbols) {
  Merger(text, merges, *symbols).Run();
}

}  // namespace longtake
