#include "engine/models/ltx2/loader.h"

namespace longtake {

std::unique_ptr<PackedKernel> Ltx2Loader::Kernel(const std::string& name, int64_t inputs, int64_t outputs,
                                                 int64_t used) {
  const std::string conv = name + ".conv";
  if (pack_) {
    return weights_.KernelPart(conv, outputs, 0, {.outputs = used, .inputs = inputs, .kt = 3, .kh = 3, .kw = 3},
                               {3, 3, 3});
  }
  weights_.Check(conv + ".weight", {outputs, inputs, 3, 3, 3});
  weights_.Check(conv + ".bias", {outputs});
  return nullptr;
}

}  // namespace longtake
