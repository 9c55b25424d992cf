#include "engine/models/taehv/loader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace longtake {
namespace {

constexpr int64_t kTaps = 9;

KernelShape Spatial(int64_t inputs, int64_t outputs, int kt = 1) {
  return {.outputs = outputs, .inputs = inputs, .kt = kt, .kh = 3, .kw = 3};
}

}  // namespace

std::unique_ptr<PackedKernel> TaehvLoader::Conv(const std::string& name, int64_t inputs, int64_t outputs) {
  return weights_.Kernel({name}, Spatial(inputs, outputs), {3, 3}, /*with_bias=*/true);
}

std::unique_ptr<PackedKernel> TaehvLoader::Memory(const std::string& name, int64_t width) {
  const std::vector<float> joined = weights_.HostFloats(name + ".weight", {width, 2 * width, 3, 3});
  const std::vector<float> bias = weights_.HostFloats(name + ".bias", {width});
  if (joined.empty() || bias.empty()) return nullptr;
  // [output][frame][input][tap] to [output][input][frame][tap]
  std::vector<float> apart(joined.size());
  for (int64_t o = 0; o < width; ++o) {
    for (int64_t frame = 0; frame < 2; ++frame) {
      for (int64_t i = 0; i < width; ++i) {
        const auto from = joined.begin() + ((o * 2 + frame) * width + i) * kTaps;
        std::copy_n(from, kTaps, apart.begin() + ((o * width + i) * 2 + frame) * kTaps);
      }
    }
  }
  return weights_.Pack(Spatial(width, width, /*kt=*/2), apart, bias);
}

std::vector<std::unique_ptr<PackedKernel>> TaehvLoader::Step(const TaehvShape& shape, int stage) {
  const int layer = TaehvLayer(stage) + kTaehvBlocks;
  const int64_t width = shape.widths[stage], next = shape.widths[stage + 1];
  const std::vector<float> grow =
      weights_.HostFloats(absl::StrCat("decoder.", layer + 1, ".conv.weight"), {shape.rows[stage], width, 1, 1});
  const std::vector<float> conv =
      weights_.HostFloats(absl::StrCat("decoder.", layer + 2, ".weight"), {next, width, 3, 3});
  std::vector<std::unique_ptr<PackedKernel>> kernels;
  if (grow.empty() || conv.empty()) return kernels;
  for (int frame = 0; frame < shape.times[stage]; ++frame) {
    const float* rows = grow.data() + (shape.rows[stage] - (shape.times[stage] - frame) * width) * width;
    std::vector<float> product(next * width * kTaps);
    std::vector<double> sums(width * kTaps);
    for (int64_t o = 0; o < next; ++o) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t m = 0; m < width; ++m) {
        const float* taps = conv.data() + (o * width + m) * kTaps;
        for (int64_t i = 0; i < width; ++i) {
          for (int64_t tap = 0; tap < kTaps; ++tap) sums[i * kTaps + tap] += double{taps[tap]} * rows[m * width + i];
        }
      }
      std::transform(sums.begin(), sums.end(), product.begin() + o * width * kTaps,
                     [](double v) { return static_cast<float>(v); });
    }
    kernels.push_back(weights_.Pack(Spatial(width, next), product, {}));
  }
  return kernels;
}

std::unique_ptr<PackedKernel> TaehvLoader::Pixels(const TaehvShape& shape) {
  const std::string name = absl::StrCat("decoder.", kTaehvLastLayer);
  const int64_t outputs = shape.pixel_channels(), inputs = shape.widths.back(), p = shape.patch;
  const std::vector<float> weight = weights_.HostFloats(name + ".weight", {outputs, inputs, 3, 3});
  const std::vector<float> bias = weights_.HostFloats(name + ".bias", {outputs});
  if (weight.empty() || bias.empty()) return nullptr;
  std::vector<float> scaled(weight.size()), shifted(bias.size());
  for (int64_t o = 0; o < outputs; ++o) {
    // The file has (colour * p + row) * p + column.
    const int64_t colour = o / (p * p), column = o / p % p, row = o % p;
    const int64_t from = (colour * p + row) * p + column;
    for (int64_t i = 0; i < inputs * kTaps; ++i) {
      scaled[o * inputs * kTaps + i] = 2.f * weight[from * inputs * kTaps + i];
    }
    shifted[o] = 2.f * bias[from] - 1.f;
  }
  return weights_.Pack(Spatial(inputs, outputs), scaled, shifted);
}

}  // namespace longtake
