// Shapes of the operations that products and attention are made of, each of which makes a case. The tables of
// ops_cases_*.cc list some; random_cases.h draws others.
#ifndef LONGTAKE_TESTS_ENGINE_OPS_SHAPES_H_
#define LONGTAKE_TESTS_ENGINE_OPS_SHAPES_H_

#include <array>
#include <cstdint>
#include <string>

#include "tests/engine/ops_cases.h"

namespace longtake {

struct LinearShape {
  std::string name;
  int64_t inputs = 1, outputs = 1;
  Activation activation = Activation::kNone;
  bool f32_out = false, residual = false, gate = false, bias = true;
  Values values = Values::kNormal;
  GroupRows rows = kRows;
};

// A group is one output frame.
struct ConvShape {
  std::string name;
  KernelShape kernel;
  int height = 1, width = 1, out_height = 1, out_width = 1;
  int stride = 1, upsample = 1, pad_top = 0, pad_left = 0;
  Border border = Border::kZeros;
  bool residual = false;
  bool f32 = false;  // out and residual in f32 whatever the activation type, as the VAE has them
  bool relu = false;
  Values values = Values::kNormal;
};

struct TemporalShape {
  std::string name;
  int64_t width = 1;
  bool gated = false, bias = false;
  Values values = Values::kNormal;
  GroupSegments segments = kSegments;
};

struct DepthwiseShape {
  std::string name;
  int64_t half = 1;  // outputs
  bool silu = false;
  GroupSegments segments = kSegments;
};

struct LinearAttentionShape {
  std::string name;
  int heads = 1, head_dim = 1;
  int history = 0;  // group 0 has none even where the others do
  bool store = false, sum = false, norm = true;
  bool f32 = false;  // qkv in f32 whatever the activation type, as the transformer has it
  GroupSegments segments = kSegments;
  bool gated = false;  // SANA-Video 2.0's
};

struct CrossAttentionShape {
  std::string name;
  int heads = 1, head_dim = 1;
  std::array<int64_t, 3> tokens;
  bool norm = true;
  GroupSegments segments = kSegments;
};

struct SoftmaxAttentionShape {
  std::string name;
  int heads = 1, kv_heads = 1, head_dim = 1;
  std::array<int64_t, 3> rows, keys;
  float scale = 1.f, soft_cap = 0.f;
  bool causal = false;
  int64_t window = 0;
  float theta = 0.f;
  bool f32 = false;  // qkv in f32 whatever the activation type
};

OpsCase MakeCase(const LinearShape& shape);
OpsCase MakeCase(const ConvShape& shape);
OpsCase MakeCase(const TemporalShape& shape);
OpsCase MakeCase(const DepthwiseShape& shape);
OpsCase MakeCase(const LinearAttentionShape& shape);
OpsCase MakeCase(const CrossAttentionShape& shape);
OpsCase MakeCase(const SoftmaxAttentionShape& shape);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_OPS_SHAPES_H_
