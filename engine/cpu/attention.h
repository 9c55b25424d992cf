// Internal to cpu/: the attention operations that have their own source file.
#ifndef LONGTAKE_ENGINE_CPU_ATTENTION_H_
#define LONGTAKE_ENGINE_CPU_ATTENTION_H_

#include "engine/cpu/context.h"
#include "engine/ops/attention.h"

namespace longtake::cpu {

void AttendLinear(Context& context, const LinearAttentionArgs& args);
void AttendSoftmax(Context& context, const SoftmaxAttentionArgs& args);

// The number of blocks of kAttentionRows queries. A segment's last block may be shorter.
inline int64_t QueryBlocks(int64_t rows) { return (rows + kAttentionRows - 1) / kAttentionRows; }

// The block of queries that a task computes.
struct QueryBlock {
  size_t segment = 0;
  int64_t first = 0;  // first row, counted from the segment's first
  int64_t rows = 0;
};
template <typename Segments>
QueryBlock FindQueryBlock(const Segments& segments, int64_t block) {
  size_t at = 0;
  for (int64_t own; block >= (own = QueryBlocks(segments[at].rows)); ++at) block -= own;
  const int64_t first = block * kAttentionRows;
  return {at, first, std::min<int64_t>(kAttentionRows, segments[at].rows - first)};
}
template <typename Segments>
int64_t AllQueryBlocks(const Segments& segments) {
  int64_t blocks = 0;
  for (const auto& s : segments) blocks += QueryBlocks(s.rows);
  return blocks;
}

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_ATTENTION_H_
