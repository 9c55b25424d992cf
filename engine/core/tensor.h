// Tensors read from files. Views of matrices are in matrix.h.
#ifndef LONGTAKE_ENGINE_CORE_TENSOR_H_
#define LONGTAKE_ENGINE_CORE_TENSOR_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/core/matrix.h"

namespace longtake {

// "float32", "bfloat16", ...: the name in command lines and config files.
std::string_view Name(DType t);

// A tensor in host memory, contiguous and row-major, as a file stores it.
struct HostTensor {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;

  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_TENSOR_H_
