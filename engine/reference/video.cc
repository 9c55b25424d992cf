// Operations that look at the grid of frames, rows and columns.
#include <algorithm>
#include <cmath>

#include "engine/reference/reference_impl.h"

namespace longtake::reference {

void ReferenceOps::DepthwiseGlu(const PackedKernel& w, ConstMat x, std::span<const Segment> segments, Mat y) {
  const Kernel& kernel = AsKernel(w);
  const int64_t half = w.shape().outputs / 2;
  for (const Segment& s : segments) {
    for (int64_t n = 0; n < s.rows(); ++n) {
      const int row = static_cast<int>(n / s.width % s.height), column = static_cast<int>(n % s.width);
      auto at = [&](int64_t channel) {
        double acc = kernel.bias(channel);
        for (int dy = -1; dy <= 1; ++dy) {
          for (int dx = -1; dx <= 1; ++dx) {
            if (row + dy < 0 || row + dy >= s.height || column + dx < 0 || column + dx >= s.width) continue;
            acc += double{kernel.row(channel)[(dy + 1) * 3 + dx + 1]} *
                   Row(x, s.first_row + n + dy * s.width + dx)[channel];
          }
        }
        return acc;
      };
      for (int64_t c = 0; c < half; ++c) {
        Row(y, s.first_row + n)[c] = static_cast<float>(at(c) * Activated<double>(Activation::kSilu, at(half + c)));
      }
    }
  }
}

void ReferenceOps::TemporalConv(const PackedKernel& w, ConstMat y, std::span<const Segment> segments,
                                std::span<const void* const> tails, const Epilogue& e, Mat h) {
  const Kernel& kernel = AsKernel(w);
  const int64_t D = w.shape().inputs;
  for (size_t k = 0; k < segments.size(); ++k) {
    const Segment& s = segments[k];
    const int64_t frame_rows = int64_t{s.height} * s.width;
    const float* tail = static_cast<const float*>(tails[k]);
    for (int64_t n = 0; n < s.rows(); ++n) {
      const float* before = n >= frame_rows   ? Row(y, s.first_row + n - frame_rows)
                            : tail != nullptr ? tail + n * D
                                              : nullptr;
      const float* own = Row(y, s.first_row + n);
      const float* after = n + frame_rows < s.rows() ? Row(y, s.first_row + n + frame_rows) : nullptr;
      const float* inputs[3] = {before, own, after};
      for (int64_t o = 0; o < D; ++o) {
        double acc = own[o];
        for (int tap = 0; tap < 3; ++tap) {
          if (inputs[tap] == nullptr) continue;
          for (int64_t i = 0; i < D; ++i) acc += double{kernel.tap(o, tap)[i]} * inputs[tap][i];
        }
        Store(e, acc, s.first_row + n, o, h);
      }
    }
  }
}

void ReferenceOps::Patchify(std::span<const float* const> latents, std::span<const Segment> segments, int channels,
                            std::array<int, 3> patch, Mat tokens) {
  const auto [pt, ph, pw] = patch;
  for (size_t k = 0; k < segments.size(); ++k) {
    const Segment& s = segments[k];
    for (int64_t n = 0; n < s.rows(); ++n) {
      const int64_t t = n / (s.height * s.width), row = n / s.width % s.height, column = n % s.width;
      float* out = Row(tokens, s.first_row + n);
      for (int c = 0; c < channels; ++c) {
        for (int dt = 0; dt < pt; ++dt) {
          for (int dy = 0; dy < ph; ++dy) {
            for (int dx = 0; dx < pw; ++dx) {
              *out++ = latents[k][((c * int64_t{s.frames} * pt + t * pt + dt) * s.height * ph + row * ph + dy) *
                                      (int64_t{s.width} * pw) +
                                  column * pw + dx];
            }
          }
        }
      }
    }
  }
}

void ReferenceOps::Unpatchify(ConstMat tokens, std::span<const Segment> segments, int channels,
                              std::array<int, 3> patch, std::span<float* const> latents) {
  const auto [pt, ph, pw] = patch;
  for (size_t k = 0; k < segments.size(); ++k) {
    const Segment& s = segments[k];
    for (int64_t n = 0; n < s.rows(); ++n) {
      const int64_t t = n / (s.height * s.width), row = n / s.width % s.height, column = n % s.width;
      const float* in = Row(tokens, s.first_row + n);
      for (int dt = 0; dt < pt; ++dt) {
        for (int dy = 0; dy < ph; ++dy) {
          for (int dx = 0; dx < pw; ++dx) {
            for (int c = 0; c < channels; ++c) {
              latents[k][((c * int64_t{s.frames} * pt + t * pt + dt) * s.height * ph + row * ph + dy) *
                             (int64_t{s.width} * pw) +
                         column * pw + dx] = *in++;
            }
          }
        }
      }
    }
  }
}

void ReferenceOps::Conv(const ConvArgs& a) {
  const Kernel& kernel = AsKernel(*a.kernel);
  const KernelShape& shape = a.kernel->shape();
  for (size_t f = 0; f < a.out.size(); ++f) {
    for (int y = 0; y < a.out_height; ++y) {
      for (int x = 0; x < a.out_width; ++x) {
        const int64_t at = (int64_t{y} * a.out_width + x) * shape.outputs;
        for (int64_t o = 0; o < shape.outputs; ++o) {
          double acc = kernel.bias(o);
          for (int tap = 0; tap < shape.taps(); ++tap) {
            const int dt = tap / (shape.kh * shape.kw), dy = tap / shape.kw % shape.kh, dx = tap % shape.kw;
            const float* frame = static_cast<const float*>(a.in[f * shape.kt + dt]);
            const int sy = y * a.stride + dy - a.pad_top, sx = x * a.stride + dx - a.pad_left;
            if (frame == nullptr || sy < 0 || sx < 0 || sy >= a.in_height * a.upsample ||
                sx >= a.in_width * a.upsample) {
              continue;
            }
            const float* in = frame + (int64_t{sy / a.upsample} * a.in_width + sx / a.upsample) * shape.inputs;
            for (int64_t i = 0; i < shape.inputs; ++i) acc += double{kernel.tap(o, tap)[i]} * in[i];
          }
          if (!a.residual.empty()) acc += static_cast<const float*>(a.residual[f])[at + o];
          static_cast<float*>(a.out[f])[at + o] = static_cast<float>(acc);
        }
      }
    }
  }
}

void ReferenceOps::ChannelNorm(ConstMat x, const float* gamma, bool silu, Mat y) {
  const double root = std::sqrt(static_cast<double>(x.cols));
  for (int64_t n = 0; n < x.rows; ++n) {
    double squares = 0;
    for (int64_t i = 0; i < x.cols; ++i) squares += double{Row(x, n)[i]} * Row(x, n)[i];
    const double inverse = root / std::max(std::sqrt(squares), 1e-12);
    for (int64_t i = 0; i < x.cols; ++i) {
      const double value = Row(x, n)[i] * inverse * gamma[i];
      Row(y, n)[i] = static_cast<float>(silu ? Activated<double>(Activation::kSilu, value) : value);
    }
  }
}

}  // namespace longtake::reference
