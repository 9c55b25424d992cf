// Keys and values as the attention kernels read them: panels of columns.
#ifndef LONGTAKE_ENGINE_CPU_PANELS_H_
#define LONGTAKE_ENGINE_CPU_PANELS_H_

#include <cstdint>

#include "engine/cpu/kernels/kernel_table.h"

namespace longtake::cpu {

// Elements that PackKeys and PackValues write for n rows of d.
int64_t KeyElements(int64_t n, int64_t d, DType type, const KernelTable& kernels);
int64_t ValueElements(int64_t n, int64_t d, DType type, const KernelTable& kernels);
// Rows as columns (a key's channels are what a score sums over), and rows as they are (a sum over values runs over
// rows).
void PackKeys(const ConstMat& keys, const KernelTable& kernels, void* out);
void PackValues(const ConstMat& values, const KernelTable& kernels, void* out);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_PANELS_H_
