// The dense layers of one measured pass as matrix products, from the folder's config.json.
//
// Operations are counted by definition: a convolution over zeros (before the first frame, beyond a border) counts as if
// they were data. Attention's own products have no weights and are left out.
#ifndef LONGTAKE_BENCH_DENSE_SHAPES_H_
#define LONGTAKE_BENCH_DENSE_SHAPES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake {

// `count` products of [rows, inputs] with [inputs, outputs].
struct DenseShape {
  int64_t rows = 0, inputs = 0, outputs = 0;
  int64_t count = 1;
  bool low_precision = false;  // of those that float8 and nvfp4 are for (KernelShape)
};

double Flops(const std::vector<DenseShape>& shapes);

// One pass over `frames` latent frames of height x width (before patching). The caption's layers are not among them:
// they run once a prompt.
absl::StatusOr<std::vector<DenseShape>> TransformerShapes(const std::string& config_file, int64_t frames,
                                                          int64_t height, int64_t width);

// Decoding `latents` latent frames of height x width, one after the other, from an empty history.
absl::StatusOr<std::vector<DenseShape>> DecoderShapes(const std::string& config_file, int64_t latents, int64_t height,
                                                      int64_t width);

// The same for the decoder of an LTX-2 VAE.
absl::StatusOr<std::vector<DenseShape>> Ltx2DecoderShapes(const std::string& config_file, int64_t latents,
                                                          int64_t height, int64_t width);

// Encoding one sequence of `tokens`.
absl::StatusOr<std::vector<DenseShape>> TextShapes(const std::string& config_file, int64_t tokens);

}  // namespace longtake

#endif  // LONGTAKE_BENCH_DENSE_SHAPES_H_
