#include "tests/engine/random_cases.h"

#include <algorithm>
#include <initializer_list>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/engine/ops_shapes.h"

namespace longtake {
namespace {

class Draws {
 public:
  explicit Draws(uint32_t seed) : engine_(seed) {}

  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(engine_()) % (most - least + 1);  // the same on every standard library
  }
  bool Coin() { return Between(0, 1) == 1; }
  template <typename T>
  T One(std::initializer_list<T> of) {
    return *(of.begin() + Between(0, static_cast<int64_t>(of.size()) - 1));
  }
  // Channels on both sides of vectors, panels and AMX's tiles: multiples of 16 with -1, 0 or 1.
  int64_t Channels(int64_t most) {
    if (Between(0, 3) == 0) return Between(1, 15);
    return std::max<int64_t>(1, 16 * Between(1, most / 16) + Between(-1, 1));
  }
  GroupRows Rows() { return {Between(1, 50), Between(1, 8), Between(30, 90)}; }
  // Of at least `least` tokens each.
  GroupSegments Segments(int64_t least) {
    GroupSegments segments;
    for (Segment& s : segments) {
      do {
        s = {.frames = static_cast<int>(Between(1, 3)),
             .height = static_cast<int>(Between(1, 6)),
             .width = static_cast<int>(Between(1, 7)),
             .first_frame = static_cast<int>(Between(0, 30))};
      } while (s.rows() < least);
    }
    return segments;
  }

 private:
  std::mt19937 engine_;
};

LinearShape RandomLinear(Draws& draw, Values values) {
  const bool residual = draw.Coin();
  return {.inputs = draw.Channels(256),
          .outputs = draw.Channels(160),
          .activation = values == Values::kWhole
                            ? Activation::kNone
                            : draw.One({Activation::kNone, Activation::kSilu, Activation::kGeluTanh, Activation::kSigmoid}),
          .f32_out = draw.Coin(),
          .residual = residual,
          .gate = residual && draw.Coin(),
          .bias = draw.Coin(),
          .values = values,
          .rows = draw.Rows()};
}

ConvShape RandomConv(Draws& draw, Values values) {
  const int side = draw.One({1, 3}), upsample = draw.One({1, 2}), stride = draw.One({1, 1, 2});
  ConvShape c{.kernel = {.outputs = draw.Channels(96),
                         .inputs = draw.Channels(48),
                         .kt = draw.One({1, 2, 3}),
                         .kh = side,
                         .kw = side},
              .height = static_cast<int>(draw.Between(1, 7)),
              .width = static_cast<int>(draw.Between(1, 9)),
              .stride = stride,
              .upsample = upsample,
              .pad_top = static_cast<int>(draw.Between(0, side / 2)),
              .pad_left = static_cast<int>(draw.Between(0, side / 2)),
              .residual = draw.Coin(),
              .f32 = draw.Coin(),
              .relu = draw.Coin(),
              .values = values};
  c.out_height = (c.height * upsample + stride - 1) / stride;
  c.out_width = (c.width * upsample + stride - 1) / stride;
  return c;
}

TemporalShape RandomTemporal(Draws& draw, Values values) {
  return {.width = draw.Channels(80),
          .gated = draw.Coin(),
          .bias = draw.Coin(),
          .values = values,
          .segments = draw.Segments(1)};
}

LinearAttentionShape RandomLinearAttention(Draws& draw) {
  const bool store = draw.Coin();
  // Few tokens of narrow heads may leave a denominator near zero, where no bound on the error holds.
  return {.heads = static_cast<int>(draw.Between(1, 3)),
          .head_dim = static_cast<int>(2 * draw.Between(8, 40)),
          .history = static_cast<int>(draw.Between(0, 3)),
          .store = store,
          .sum = store && draw.Coin(),
          .norm = draw.Coin(),
          .f32 = draw.Coin(),
          .segments = draw.Segments(12)};
}

CrossAttentionShape RandomCrossAttention(Draws& draw) {
  // In narrower heads a few numbers make scores of 10 and more, whose rounding in bf16 goes beyond the error bound.
  return {.heads = static_cast<int>(draw.Between(1, 3)),
          .head_dim = static_cast<int>(draw.Between(16, 70)),
          .tokens = {draw.Between(1, 8), draw.Between(9, 60), draw.Between(61, 130)},
          .norm = draw.Coin(),
          .segments = draw.Segments(1)};
}

SoftmaxAttentionShape RandomSoftmaxAttention(Draws& draw) {
  const int kv_heads = static_cast<int>(draw.Between(1, 2)), head_dim = static_cast<int>(2 * draw.Between(4, 48));
  SoftmaxAttentionShape c{.heads = kv_heads * static_cast<int>(draw.Between(1, 3)),
                          .kv_heads = kv_heads,
                          .head_dim = head_dim,
                          .rows = {draw.Between(1, 40), draw.Between(1, 9), draw.Between(60, 150)},
                          .keys = {},
                          .scale = 0.125f,
                          .soft_cap = draw.Coin() ? 20.f : 0.f,
                          .causal = draw.Coin(),
                          .theta = draw.Coin() ? 10000.f : 0.f,
                          .f32 = draw.Coin()};
  c.keys = c.rows;
  if (draw.Coin()) {
    c.window = draw.Between(1, 40);  // with padding besides, a query could be left without keys
  } else {
    for (int64_t& keys : c.keys) keys = std::max<int64_t>(1, keys - draw.Between(0, 5));
  }
  return c;
}

// Calls f(draw, seed, i) for i below `count` of each seed.
template <typename F>
void ForEach(std::span<const uint32_t> seeds, int count, F f) {
  for (const uint32_t seed : seeds) {
    Draws draw(seed);
    for (int i = 0; i < count; ++i) f(draw, seed, i);
  }
}

template <typename Shape>
OpsCase Named(Shape shape, const char* kind, uint32_t seed, int number) {
  shape.name = absl::StrCat(kind, " ", number, " of seed ", seed);
  return MakeCase(shape);
}

}  // namespace

std::vector<ExactCase> RandomExactCases(std::span<const uint32_t> seeds, int count) {
  std::vector<ExactCase> cases;
  ForEach(seeds, count, [&](Draws& draw, uint32_t seed, int i) {
    if (i % 3 == 0) {
      const LinearShape shape = RandomLinear(draw, Values::kWhole);
      cases.push_back({Named(shape, "linear", seed, i), shape.f32_out || shape.residual});
    } else if (i % 3 == 1) {
      const ConvShape shape = RandomConv(draw, Values::kWhole);
      cases.push_back({Named(shape, "convolution", seed, i), shape.f32});
    } else {
      cases.push_back({Named(RandomTemporal(draw, Values::kWhole), "temporal", seed, i), true});
    }
  });
  return cases;
}

std::vector<OpsCase> RandomCases(std::span<const uint32_t> seeds, int count) {
  std::vector<OpsCase> cases;
  ForEach(seeds, count, [&](Draws& draw, uint32_t seed, int i) {
    const auto add = [&](const auto& shape, const char* kind) { cases.push_back(Named(shape, kind, seed, i)); };
    switch (i % 7) {
      case 0:
        return add(RandomLinear(draw, Values::kNormal), "linear");
      case 1:
        return add(RandomConv(draw, Values::kNormal), "convolution");
      case 2:
        return add(RandomTemporal(draw, Values::kNormal), "temporal");
      case 3:
        return add(DepthwiseShape{.half = draw.Channels(80), .segments = draw.Segments(1)}, "depthwise");
      case 4:
        return add(RandomLinearAttention(draw), "linear attention");
      case 5:
        return add(RandomCrossAttention(draw), "cross-attention");
      default:
        return add(RandomSoftmaxAttention(draw), "softmax attention");
    }
  });
  return cases;
}

}  // namespace longtake
