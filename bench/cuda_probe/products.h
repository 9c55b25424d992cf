// Matrix products of the 2B transformer on a device, by cuBLASLt and without the engine.
#ifndef LONGTAKE_BENCH_CUDA_PROBE_PRODUCTS_H_
#define LONGTAKE_BENCH_CUDA_PROBE_PRODUCTS_H_

#include "cuda_platform.h"

namespace longtake::probe {

// Prints a line for each shape and type: how many algorithms there are, the first that does not split its inputs (which
// the engine takes), its rate and the best one's; whether rows keep their bytes in fewer rows. False where a shape has
// no algorithm or a row changes. `capability`: 90 for sm_90.
bool ProbeProducts(cudaStream_t stream, int capability);

}  // namespace longtake::probe

#endif  // LONGTAKE_BENCH_CUDA_PROBE_PRODUCTS_H_
