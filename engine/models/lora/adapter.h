// Low-rank adapters (LoRA) of a transformer, as sessions use them: not merged into the weights, but added to the
// products of a session's own rows, so that sessions with other adapters, or none, share a batch and the weights.
#ifndef LONGTAKE_ENGINE_MODELS_LORA_ADAPTER_H_
#define LONGTAKE_ENGINE_MODELS_LORA_ADAPTER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/ops/low_rank.h"
#include "engine/ops/weights.h"

namespace longtake {

// What an adapter adds to one layer: scale * B A. The fields are those of a LowRankTerm.
struct LowRankPair {
  std::unique_ptr<PackedKernel> a, b;
  float scale = 1.f;
  int64_t first_column = 0, columns = 0;
  int64_t rank() const { return a->shape().outputs; }
};

struct Adapter {
  std::string name;
  std::string digest;  // 16 hexadecimal digits, of the bytes of the adapter's files
  size_t bytes = 0;    // of all packed pairs
  // For each of the transformer's kernels, the pairs of the layers that are stacked in it.
  std::map<const PackedKernel*, std::vector<std::shared_ptr<const LowRankPair>>> pairs;
};

// An adapter with a session's factor on its pairs.
struct AppliedAdapter {
  const Adapter* adapter = nullptr;
  float strength = 1.f;
};

// Rows of a batch that belong to one session.
struct AdaptedRows {
  std::span<const AppliedAdapter> adapters;
  int64_t first_row = 0, rows = 0;
};

// Appends what `kernel` adds for these rows: adapters in their order, then pairs in theirs.
void AppendLowRankTerms(const AdaptedRows& rows, const PackedKernel& kernel, std::vector<LowRankTerm>* terms);

// Returns `count` adapters, or as many as there are, that together need at least as much workspace in every layer as
// any `count` of `adapters`: the n-th has each layer's n-th largest rank. For planning; they have no names.
std::vector<Adapter> LargestAdapters(std::span<const std::shared_ptr<const Adapter>> adapters, size_t count);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LORA_ADAPTER_H_
