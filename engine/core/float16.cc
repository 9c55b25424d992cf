#include "engine/core/float16.h"

#include <cstring>

#include "engine/core/narrow_floats.h"

namespace longtake {

std::vector<float> ToFloats(const HostTensor& t) {
  const int64_t n = t.elements();
  std::vector<float> out(static_cast<size_t>(n));
  if (n == 0) return out;
  const auto convert = [&](const auto* x, auto&& f) {
    for (int64_t i = 0; i < n; ++i) out[i] = f(x[i]);
  };
  switch (t.dtype) {
    case DType::kF32:
      std::memcpy(out.data(), t.data, out.size() * sizeof(float));
      break;
    case DType::kBF16:
      convert(static_cast<const uint16_t*>(t.data), BF16ToFloat);
      break;
    case DType::kF16:
      convert(static_cast<const uint16_t*>(t.data), F16ToFloat);
      break;
    case DType::kI64:
      convert(static_cast<const int64_t*>(t.data), [](int64_t x) { return static_cast<float>(x); });
      break;
    case DType::kI32:
      convert(static_cast<const int32_t*>(t.data), [](int32_t x) { return static_cast<float>(x); });
      break;
    case DType::kI8:
      convert(static_cast<const int8_t*>(t.data), [](int8_t x) { return static_cast<float>(x); });
      break;
    case DType::kU8:
      convert(static_cast<const uint8_t*>(t.data), [](uint8_t x) { return static_cast<float>(x); });
      break;
    case DType::kE4m3:
      convert(static_cast<const uint8_t*>(t.data), DecodeE4m3);
      break;
  }
  return out;
}

std::vector<float> ToFloats(std::span<const HostTensor> tensors) {
  std::vector<float> all;
  for (const HostTensor& t : tensors) {
    const std::vector<float> part = ToFloats(t);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace longtake
