#include "engine/models/wan/loader.h"

#include <vector>

namespace longtake {

std::unique_ptr<PackedKernel> WanLoader::Kernel(const std::string& name, const KernelShape& shape, bool spatial) {
  return KernelPart(name, shape, 0, shape.outputs, spatial);
}

std::unique_ptr<PackedKernel> WanLoader::KernelPart(const std::string& name, const KernelShape& shape, int64_t first,
                                                    int64_t count, bool spatial) {
  std::vector<int64_t> kernel_dims;
  if (!spatial) kernel_dims.push_back(shape.kt);
  kernel_dims.insert(kernel_dims.end(), {shape.kh, shape.kw});
  if (pack_) {
    KernelShape part = shape;
    part.outputs = count;
    return weights_.KernelPart(name, shape.outputs, first, part, kernel_dims);
  }
  std::vector<int64_t> dims = {shape.outputs, shape.inputs};
  dims.insert(dims.end(), kernel_dims.begin(), kernel_dims.end());
  weights_.Check(name + ".weight", dims);
  weights_.Check(name + ".bias", {shape.outputs});
  return nullptr;
}

std::unique_ptr<Buffer> WanLoader::Gamma(const std::string& name, int64_t channels, bool spatial) {
  std::vector<int64_t> dims = {channels, 1, 1};
  if (!spatial) dims.push_back(1);
  if (pack_) return weights_.Floats(name + ".gamma", dims);
  weights_.Check(name + ".gamma", dims);
  return nullptr;
}

}  // namespace longtake
