// Latents and pixels: in and out of channels-last frames.
#include <algorithm>
#include <cmath>

#include "engine/reference/reference_impl.h"

namespace longtake::reference {
namespace {

float Clamped(float x) { return std::clamp(x, -1.f, 1.f); }

// Channel `c` of pixel (y, x) of a frame [h, w, 3*p*p] whose channel order is (channel, column in patch, row in patch).
float Pixel(const ConstMat& frame, int width, int p, int c, int y, int x) {
  return Row(frame, int64_t{y / p} * width + x / p)[c * p * p + x % p * p + y % p];
}

uint8_t Round8(double x) { return static_cast<uint8_t>(std::clamp(std::floor(x + 0.5), 0.0, 255.0)); }

}  // namespace

void ReferenceOps::LatentsToFrame(const float* latents, int64_t frames, int64_t t, std::span<const float> mean,
                                  std::span<const float> std, Mat frame) {
  for (int64_t p = 0; p < frame.rows; ++p) {
    for (int64_t c = 0; c < frame.cols; ++c) {
      Row(frame, p)[c] = latents[(c * frames + t) * frame.rows + p] * std[c] + mean[c];
    }
  }
}

void ReferenceOps::FrameToLatents(ConstMat frame, std::span<const float> mean, std::span<const float> std,
                                  int64_t frames, int64_t t, float* latents) {
  for (int64_t p = 0; p < frame.rows; ++p) {
    for (size_t c = 0; c < mean.size(); ++c) {
      latents[(c * frames + t) * frame.rows + p] = (Row(frame, p)[c] - mean[c]) / std[c];
    }
  }
}

void ReferenceOps::FrameToPlanar(ConstMat frame, int height, int width, int patch, float* planar) {
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < height * patch; ++y) {
      for (int x = 0; x < width * patch; ++x) *planar++ = Clamped(Pixel(frame, width, patch, c, y, x));
    }
  }
}

void ReferenceOps::PlanarToFrame(const float* planar, int height, int width, int patch, Mat frame) {
  const int64_t full_width = int64_t{width} * patch;
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < height * patch; ++y) {
      for (int x = 0; x < full_width; ++x) {
        Row(frame, int64_t{y / patch} * width + x / patch)[c * patch * patch + x % patch * patch + y % patch] =
            *planar++;
      }
    }
  }
}

// ITU-R BT.709-6: Kr = 0.2126, Kb = 0.0722; limited range, Y' 16..235, Cb and Cr 16..240 around 128.
void ReferenceOps::FrameToI420(ConstMat frame, int height, int width, int patch, uint8_t* y_out, uint8_t* u_out,
                               uint8_t* v_out) {
  constexpr double kRed = 0.2126, kBlue = 0.0722, kGreen = 1 - kRed - kBlue;
  const int rows = height * patch, columns = width * patch;
  for (int y = 0; y < rows; y += 2) {
    for (int x = 0; x < columns; x += 2) {
      double cb = 0, cr = 0;
      for (int i = 0; i < 4; ++i) {
        const int py = y + i / 2, px = x + i % 2;
        double rgb[3];
        for (int c = 0; c < 3; ++c) rgb[c] = (Clamped(Pixel(frame, width, patch, c, py, px)) + 1.0) / 2;
        const double luma = kRed * rgb[0] + kGreen * rgb[1] + kBlue * rgb[2];
        y_out[int64_t{py} * columns + px] = Round8(16 + 219 * luma);
        cb += (rgb[2] - luma) / (2 * (1 - kBlue)) / 4;
        cr += (rgb[0] - luma) / (2 * (1 - kRed)) / 4;
      }
      u_out[int64_t{y / 2} * (columns / 2) + x / 2] = Round8(128 + 224 * cb);
      v_out[int64_t{y / 2} * (columns / 2) + x / 2] = Round8(128 + 224 * cr);
    }
  }
}

}  // namespace longtake::reference
