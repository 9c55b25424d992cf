// Keys and values in the layout that the attention kernels read: panels of columns.
#ifndef LONGTAKE_ENGINE_CPU_PANELS_H_
#define LONGTAKE_ENGINE_CPU_PANELS_H_

#include <cstdint>

#include "engine/cpu/kernels/kernel_table.h"

namespace longtake::cpu {

// The number of elements that PackKeys and PackValues write for n rows of d.
int64_t KeyElements(int64_t n, int64_t d, DType type, const KernelTable& kernels);
int64_t ValueElements(int64_t n, int64_t d, DType type, const KernelTable& kernels);
// Granularity of packing rows separately: a multiple of every panel's width.
constexpr int64_t kPackedRows = 64;
// Packs rows [first, first + rows) of `all` rows. `first` is a multiple of kPackedRows, and so is `rows` except for the
// last ones. `out` holds the panels of all rows. Keys are packed as columns, because a score sums over a key's
// channels. Values are packed as they are, because their sum runs over rows.
void PackKeys(const ConstMat& keys, int64_t first, const KernelTable& kernels, void* out);
void PackValues(const ConstMat& values, int64_t first, int64_t all, const KernelTable& kernels, void* out);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_PANELS_H_
