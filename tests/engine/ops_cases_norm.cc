// Norms of rows, at widths with and without a rest after the last vector.
#include <string>

#include "tests/engine/ops_cases.h"

namespace longtake {

std::vector<OpsCase> NormCases() {
  std::vector<OpsCase> cases;
  for (int64_t columns : {192, 203}) {
    cases.push_back(RowsCase("layer_norm", columns, true, false, [](Ops& ops, Bench&, Mat x, Mat y, auto) {
      ops.norm().LayerNorm({.x = x, .eps = 1e-6f, .y = y});
    }));
    cases.push_back(RowsCase("layer_norm_modulate", columns, true, false,
                             [](Ops& ops, Bench& b, Mat x, Mat y, std::span<const int32_t> mod_row) {
                               const float* table = b.Floats(Random(2 * 3 * x.cols, 5));
                               ops.norm().LayerNorm({.x = x,
                                                     .eps = 1e-6f,
                                                     .shift = table,
                                                     .scale = table + x.cols,
                                                     .mod_stride = 3 * x.cols,
                                                     .mod_row = mod_row,
                                                     .y = y});
                             }));
    // Models norm what they keep in f32; the activation type as input is what else the contract allows.
    for (const bool f32 : {false, true}) {
      cases.push_back(
          RowsCase(f32 ? "rms_norm_f32" : "rms_norm", columns, f32, false, [](Ops& ops, Bench& b, Mat x, Mat y, auto) {
            ops.norm().RmsNorm({.x = x, .weight = b.Floats(Random(x.cols, 5)), .eps = 1e-5f, .y = y});
          }));
      for (const bool silu : {false, true}) {
        const std::string name = std::string("channel_norm") + (silu ? "_silu" : "") + (f32 ? "_f32" : "");
        cases.push_back(RowsCase(name, columns, f32, false, [silu](Ops& ops, Bench& b, Mat x, Mat y, auto) {
          ops.norm().ChannelNorm({.x = x, .gamma = b.Floats(Random(x.cols, 5)), .silu = silu, .y = y});
        }));
        cases.push_back(RowsCase("plain_" + name, columns, f32, false, [silu](Ops& ops, Bench&, Mat x, Mat y, auto) {
          ops.norm().ChannelNorm({.x = x, .eps = 0.25f, .silu = silu, .y = y});
        }));
      }
    }
    cases.push_back(RowsCase("rms_norm_residual", columns, true, true, [](Ops& ops, Bench& b, Mat x, Mat y, auto) {
      const float* weight = b.Floats(Random(x.cols, 5));
      ops.norm().RmsNorm({.x = x, .weight = weight, .weight_offset = 1.f, .eps = 1e-6f, .residual = true, .y = y});
    }));
  }
  return cases;
}

}  // namespace longtake
