// Each function of engine/cuda/warp.h, run once by one block and compared with its definition.
#ifndef LONGTAKE_BENCH_CUDA_PROBE_WARP_CHECKS_H_
#define LONGTAKE_BENCH_CUDA_PROBE_WARP_CHECKS_H_

#include <string>
#include <vector>

#include "cuda_platform.h"

namespace longtake::probe {

struct WarpCheck {
  std::string name;
  std::string failure;  // empty: as defined
};

std::vector<WarpCheck> CheckWarpFunctions(cudaStream_t stream);

}  // namespace longtake::probe

#endif  // LONGTAKE_BENCH_CUDA_PROBE_WARP_CHECKS_H_
