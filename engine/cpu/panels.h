// Keys and values as the attention kernels read them: panels of columns.
#ifndef LONGTAKE_ENGINE_CPU_PANELS_H_
#define LONGTAKE_ENGINE_CPU_PANELS_H_

#include <cstdint>

#include "engine/cpu/kernels/kernel_table.h"

namespace longtake::cpu {

// Elements that PackKeys and PackValues write for n rows of d.
int64_t KeyElements(int64_t n, int64_t d, DType type, const KernelTable& kernels);
int64_t ValueElements(int64_t n, int64_t d, DType type, const KernelTable& kernels);
// Rows that may be packed apart from others: a multiple of every panel's width.
constexpr int64_t kPackedRows = 64;
// Packs rows [first, first + rows) of `all`: `first` is a multiple of kPackedRows, and so is `rows` unless they are the
// last. `out` holds the panels of all rows. Keys are packed as columns (a key's channels are what a score sums over),
// values as they are (a sum over values runs over rows).
void PackKeys(const ConstMat& keys, int64_t first, const KernelTable& kernels, void* out);
void PackValues(const ConstMat& values, int64_t first, int64_t all, const KernelTable& kernels, void* out);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_PANELS_H_
