#include "engine/core/tensor.h"

namespace longtake {

std::string_view Name(DType t) {
  switch (t) {
    case DType::kF32:
      return "float32";
    case DType::kBF16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
    case DType::kI64:
      return "int64";
    case DType::kI32:
      return "int32";
    case DType::kI8:
      return "int8";
    case DType::kU8:
      return "uint8";
    case DType::kE4m3:
      return "float8_e4m3";
  }
  return "?";
}

}  // namespace longtake
