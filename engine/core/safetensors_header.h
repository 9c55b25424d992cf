// Reads and validates the header of one safetensors file.
#ifndef LONGTAKE_ENGINE_CORE_SAFETENSORS_HEADER_H_
#define LONGTAKE_ENGINE_CORE_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/core/input_file.h"
#include "engine/core/tensor.h"

namespace longtake {

struct TensorEntry {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // bytes from the file's start
  uint64_t bytes = 0;
};

// Checks that every entry lies inside the file and has the size of its shape, and that the entries do not overlap and
// together cover the data. InvalidArgument names file and tensor. `metadata`: see ParseSafetensorsEntries.
absl::StatusOr<std::map<std::string, TensorEntry>> ReadSafetensorsHeader(
    const InputFile& file, std::map<std::string, std::string>* metadata = nullptr);

// "F32", "BF16", ...: the name in the header.
std::string_view SafetensorsName(DType t);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SAFETENSORS_HEADER_H_
