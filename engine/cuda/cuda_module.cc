#include "engine/cuda/cuda_interface.h"

extern "C" __attribute__((visibility("default"))) longtake::Ops* longtake_make_cuda_ops(
    const longtake::CudaOptions& options, int* code, std::string* message) {
  auto ops = longtake::MakeCudaOps(options);
  if (ops.ok()) return ops->release();
  *code = ops.status().raw_code();
  *message = std::string(ops.status().message());
  return nullptr;
}
