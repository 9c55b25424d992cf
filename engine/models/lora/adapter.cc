#include "engine/models/lora/adapter.h"

#include <algorithm>
#include <utility>

namespace longtake {

void AppendLowRankTerms(const AdaptedRows& rows, const PackedKernel& kernel, std::vector<LowRankTerm>* terms) {
  for (const AppliedAdapter& applied : rows.adapters) {
    const auto pairs = applied.adapter->pairs.find(&kernel);
    if (pairs == applied.adapter->pairs.end()) continue;
    for (const std::shared_ptr<const LowRankPair>& pair : pairs->second) {
      terms->push_back({.a = pair->a.get(),
                        .b = pair->b.get(),
                        .scale = applied.strength * pair->scale,
                        .first_row = rows.first_row,
                        .rows = rows.rows,
                        .first_column = pair->first_column,
                        .columns = pair->columns});
    }
  }
}

std::vector<Adapter> LargestAdapters(std::span<const std::shared_ptr<const Adapter>> adapters, size_t count) {
  // By kernel and first column: the pairs of one layer.
  std::map<std::pair<const PackedKernel*, int64_t>, std::vector<std::shared_ptr<const LowRankPair>>> layers;
  for (const std::shared_ptr<const Adapter>& adapter : adapters) {
    for (const auto& [kernel, pairs] : adapter->pairs) {
      for (const auto& pair : pairs) layers[{kernel, pair->first_column}].push_back(pair);
    }
  }
  std::vector<Adapter> largest(std::min(count, adapters.size()));
  for (auto& [layer, pairs] : layers) {
    std::sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a->rank() > b->rank(); });
    for (size_t i = 0; i < std::min(pairs.size(), largest.size()); ++i) {
      largest[i].pairs[layer.first].push_back(pairs[i]);
    }
  }
  return largest;
}

}  // namespace longtake
