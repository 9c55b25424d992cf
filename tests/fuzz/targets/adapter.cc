// An adapter: a safetensors file of low-rank pairs, its configuration in the header or in a file beside it. The input's
// first line is that configuration; it is empty where there is none.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/models/lora/load.h"
#include "engine/reference/reference_ops.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/memory_file.h"

using namespace longtake;  // NOLINT: a program of one function
using longtake::fuzz::Check;

namespace {

// A transformer of stacked layers, a convolution in time and a depthwise one.
struct Layers {
  Layers() : ops(MakeReferenceOps()) {
    const std::vector<float> zeros(64);
    const HostTensor qk = {zeros.data(), DType::kF32, {4, 2}}, time = {zeros.data(), DType::kF32, {2, 2, 3, 1}};
    stacked = ops->weights().Pack({.outputs = 4, .inputs = 2}, {&qk, 1}, {});
    temporal = ops->weights().Pack({.outputs = 2, .inputs = 2, .kt = 3}, {&time, 1}, {});
    all = {{"b.0.to_q", stacked.get(), 0, {2, 2}},
           {"b.0.to_k", stacked.get(), 2, {2, 2}},
           {"b.0.temp", temporal.get(), 0, {2, 2, 3, 1}},
           {"b.0.depth", nullptr, 0, {4, 1, 3, 3}}};
  }
  std::unique_ptr<Ops> ops;
  std::unique_ptr<PackedKernel> stacked, temporal;
  std::vector<LoadedLayer> all;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static longtake::fuzz::MemoryFile weights, config;
  static const Layers layers;
  const std::string text(longtake::fuzz::ToText(data, size));
  const size_t line = text.find('\n');
  if (line == std::string::npos) return 0;
  config.Write(text.substr(0, line));
  weights.Write(text.substr(line + 1));
  const auto adapter = LoadAdapter(
      *layers.ops, {.name = "x", .weights = weights.path(), .config = line == 0 ? "" : config.path()}, layers.all);
  if (!adapter.ok()) {
    Check(absl::IsInvalidArgument(adapter.status()), "a wrong adapter is another error than InvalidArgument");
    const std::string message(adapter.status().message());
    Check(message.find(weights.path()) != std::string::npos || message.find(config.path()) != std::string::npos,
          "an error does not name the file");
    return 0;
  }
  size_t bytes = 0;
  for (const auto& [kernel, pairs] : (*adapter)->pairs) {
    for (const auto& pair : pairs) {
      Check(pair->rank() >= 1 && pair->rank() <= kMaxLoraRank, "a pair has no rank");
      Check(std::isfinite(pair->scale), "a scale is not finite");
      Check(pair->a->shape().inputs == kernel->shape().inputs, "A has other inputs than its layer");
      Check(pair->first_column + pair->columns <= kernel->shape().outputs, "B has outputs beyond its layer's");
      bytes += pair->a->bytes() + pair->b->bytes();
    }
  }
  Check(bytes > 0 && bytes == (*adapter)->bytes, "the bytes are not those of the pairs");
  return 0;
}
