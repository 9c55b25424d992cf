// From types known when running to types of templates: host code that chooses a kernel's variant.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_DISPATCH_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_DISPATCH_H_

#include <cstdint>
#include <type_traits>

#include "engine/core/tensor.h"
#include "engine/cuda/warp.h"

namespace longtake::cuda {

// f(float()) or f(Bf16()).
template <typename F>
void ByType(DType type, F&& f) {
  if (type == DType::kF32) {
    f(float());
  } else {
    f(Bf16());
  }
}

// f(std::integral_constant<int, n>()) for the n of kLeast ... kMost.
template <int kLeast, int kMost, typename F>
void ByNumber(int n, F&& f) {
  if constexpr (kLeast == kMost) {
    f(std::integral_constant<int, kMost>());
  } else if (n == kLeast) {
    f(std::integral_constant<int, kLeast>());
  } else {
    ByNumber<kLeast + 1, kMost>(n, f);
  }
}

// Whether columns and rows of all views can be taken `vector` elements at a time.
template <typename... Views>
bool InVectors(int vector, const Views&... views) {
  const auto fits = [vector](const auto& m) {
    return m.cols % vector == 0 && m.stride % vector == 0 &&
           reinterpret_cast<uintptr_t>(m.data) % (vector * SizeOf(m.dtype)) == 0;
  };
  return (fits(views) && ...);
}

inline int64_t DivideUp(int64_t n, int64_t by) { return (n + by - 1) / by; }

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_DISPATCH_H_
