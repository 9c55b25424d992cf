#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/reference/families.h"
#include "engine/reference/kernel.h"

namespace longtake::reference {
namespace {

// Calls f(index of the latent, channel, and frame, row and column in the patch) for every element of token `n` of `s`,
// with the channel as the slowest index.
template <typename F>
void ForPatch(const Segment& s, int64_t n, int channels, const std::array<int, 3>& patch, F&& f) {
  const int64_t pt = patch[0], ph = patch[1], pw = patch[2];
  const int64_t t = n / (int64_t{s.height} * s.width), row = n / s.width % s.height, column = n % s.width;
  const int64_t frames = int64_t{s.frames} * pt, height = int64_t{s.height} * ph, width = int64_t{s.width} * pw;
  for (int c = 0; c < channels; ++c) {
    for (int dt = 0; dt < pt; ++dt) {
      for (int dy = 0; dy < ph; ++dy) {
        for (int dx = 0; dx < pw; ++dx) {
          f(((c * frames + t * pt + dt) * height + row * ph + dy) * width + column * pw + dx, c, dt, dy, dx);
        }
      }
    }
  }
}

float Clamped(float x) { return std::clamp(x, -1.f, 1.f); }

// The position of channel `c` of pixel (y, x) in a frame [h, w, 3*p*p] with columns in the order (channel, column in
// patch, row in patch).
struct PixelAt {
  int64_t row, col;
};
PixelAt Place(int width, int p, int c, int y, int x) {
  return {int64_t{y / p} * width + x / p, int64_t{c} * p * p + x % p * p + y % p};
}
float Pixel(const ConstMat& frame, int width, int p, int c, int y, int x) {
  const PixelAt at = Place(width, p, c, y, x);
  return Row(frame, at.row)[at.col];
}

uint8_t Round8(double x) { return static_cast<uint8_t>(std::clamp(std::floor(x + 0.5), 0.0, 255.0)); }

class Latents final : public LatentOps {
 public:
  using LatentOps::LatentOps;

 private:
  void DoPatchify(const PatchifyArgs& a) override {
    for (size_t k = 0; k < a.segments.size(); ++k) {
      const Segment& s = a.segments[k];
      for (int64_t n = 0; n < s.rows(); ++n) {
        float* out = Row(a.tokens, s.first_row + n);
        ForPatch(s, n, a.channels, a.patch, [&](int64_t at, int, int, int, int) { *out++ = a.latents[k][at]; });
      }
    }
  }

  void DoUnpatchify(const UnpatchifyArgs& a) override {
    const int ph = a.patch[1], pw = a.patch[2];
    for (size_t k = 0; k < a.segments.size(); ++k) {
      const Segment& s = a.segments[k];
      for (int64_t n = 0; n < s.rows(); ++n) {
        const float* in = Row(a.tokens, s.first_row + n);
        ForPatch(s, n, a.channels, a.patch, [&](int64_t at, int c, int dt, int dy, int dx) {
          a.latents[k][at] = in[((dt * ph + dy) * pw + dx) * a.channels + c];
        });
      }
    }
  }

  void DoLatentsToFrame(const LatentsToFrameArgs& a) override {
    for (int64_t p = 0; p < a.frame.rows; ++p) {
      for (int64_t c = 0; c < a.frame.cols; ++c) {
        Row(a.frame, p)[c] = a.latents[(c * a.frames + a.t) * a.frame.rows + p] * a.std[c] + a.mean[c];
      }
    }
  }

  void DoFrameToLatents(const FrameToLatentsArgs& a) override {
    for (int64_t p = 0; p < a.frame.rows; ++p) {
      for (size_t c = 0; c < a.mean.size(); ++c) {
        a.latents[(c * a.frames + a.t) * a.frame.rows + p] = (Row(a.frame, p)[c] - a.mean[c]) / a.std[c];
      }
    }
  }

  void DoFrameToPlanar(const FrameToPlanarArgs& a) override {
    float* planar = a.planar;
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < a.height * a.patch; ++y) {
        for (int x = 0; x < a.width * a.patch; ++x) *planar++ = Clamped(Pixel(a.frame, a.width, a.patch, c, y, x));
      }
    }
  }

  void DoPlanarToFrame(const PlanarToFrameArgs& a) override {
    const float* planar = a.planar;
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < a.height * a.patch; ++y) {
        for (int x = 0; x < a.width * a.patch; ++x) {
          const PixelAt at = Place(a.width, a.patch, c, y, x);
          Row(a.frame, at.row)[at.col] = *planar++;
        }
      }
    }
  }

  // ITU-R BT.709-6: Kr = 0.2126, Kb = 0.0722; limited range, Y' 16..235, Cb and Cr 16..240 around 128.
  void DoFrameToI420(const FrameToI420Args& a) override {
    constexpr double kRed = 0.2126, kBlue = 0.0722, kGreen = 1 - kRed - kBlue;
    const int rows = a.height * a.patch, columns = a.width * a.patch;
    for (int y = 0; y < rows; y += 2) {
      for (int x = 0; x < columns; x += 2) {
        double cb = 0, cr = 0;
        for (int i = 0; i < 4; ++i) {
          const int py = y + i / 2, px = x + i % 2;
          double rgb[3];
          for (int c = 0; c < 3; ++c) rgb[c] = (Clamped(Pixel(a.frame, a.width, a.patch, c, py, px)) + 1.0) / 2;
          const double luma = kRed * rgb[0] + kGreen * rgb[1] + kBlue * rgb[2];
          a.y[int64_t{py} * columns + px] = Round8(16 + 219 * luma);
          cb += (rgb[2] - luma) / (2 * (1 - kBlue)) / 4;
          cr += (rgb[0] - luma) / (2 * (1 - kRed)) / 4;
        }
        a.u[int64_t{y / 2} * (columns / 2) + x / 2] = Round8(128 + 224 * cb);
        a.v[int64_t{y / 2} * (columns / 2) + x / 2] = Round8(128 + 224 * cr);
      }
    }
  }
};

}  // namespace

std::unique_ptr<LatentOps> MakeLatentOps(FamilyContext* context) { return std::make_unique<Latents>(context); }

}  // namespace longtake::reference
