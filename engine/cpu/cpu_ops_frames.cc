// Latents and pixels: in and out of channels-last frames.
#include "engine/core/float16.h"
#include "engine/cpu/cpu_ops_impl.h"

namespace longtake::cpu {
namespace {

float Clamped(float x) { return std::clamp(x, -1.f, 1.f); }

// Channel `c` of pixel (y, x) of a frame [h, w, 3*p*p] whose channel order is (channel, column in patch, row in patch).
float Pixel(const ConstMat& frame, int width, int p, int c, int y, int x) {
  if (p == 1) return ReadElement(frame, int64_t{y} * width + x, c);
  return ReadElement(frame, int64_t{y / p} * width + x / p, c * p * p + x % p * p + y % p);
}

// To the nearest, halves up. Within the range cutting off is rounding down; std::floor would be a call for each pixel.
uint8_t Round8(float x) { return static_cast<uint8_t>(std::clamp(x + 0.5f, 0.f, 255.f)); }

// Row `y` of a frame as three planes of `width * p` numbers behind one another, -1 ... 1 as 0 ... 1. Channels lie as in
// Pixel.
template <typename Read>
void RgbRow(const ConstMat& frame, int width, int p, int64_t y, Read read, float* rgb) {
  const int64_t columns = int64_t{width} * p, row = y % p;
  for (int64_t x = 0; x < width; ++x) {
    const std::byte* cell = RowAt(frame, y / p * width + x);
    for (int c = 0; c < 3; ++c) {
      for (int dx = 0; dx < p; ++dx) {
        rgb[c * columns + x * p + dx] = (Clamped(read(cell, (c * p + dx) * p + row)) + 1.f) * 0.5f;
      }
    }
  }
}

}  // namespace

void CpuOps::LatentsToFrame(const float* latents, int64_t frames, int64_t t, std::span<const float> mean,
                            std::span<const float> std, Mat frame) {
  ForRows(frame.rows, frame.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t p = first; p < first + n; ++p) {
      for (int64_t c = 0; c < frame.cols; ++c) {
        WriteElement(frame, p, c, latents[(c * frames + t) * frame.rows + p] * std[c] + mean[c]);
      }
    }
  });
}

void CpuOps::FrameToLatents(ConstMat frame, std::span<const float> mean, std::span<const float> std, int64_t frames,
                            int64_t t, float* latents) {
  ForRows(frame.rows, frame.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t p = first; p < first + n; ++p) {
      for (size_t c = 0; c < mean.size(); ++c) {
        latents[(static_cast<int64_t>(c) * frames + t) * frame.rows + p] =
            (ReadElement(frame, p, c) - mean[c]) / std[c];
      }
    }
  });
}

void CpuOps::FrameToPlanar(ConstMat frame, int height, int width, int patch, float* planar) {
  const int64_t rows = int64_t{height} * patch, columns = int64_t{width} * patch;
  ForRows(3 * rows, columns, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      for (int64_t x = 0; x < columns; ++x) {
        planar[r * columns + x] = Clamped(
            Pixel(frame, width, patch, static_cast<int>(r / rows), static_cast<int>(r % rows), static_cast<int>(x)));
      }
    }
  });
}

void CpuOps::PlanarToFrame(const float* planar, int height, int width, int patch, Mat frame) {
  const int64_t rows = int64_t{height} * patch, columns = int64_t{width} * patch;
  ForRows(3 * rows, columns, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      const int64_t c = r / rows, y = r % rows;
      for (int64_t x = 0; x < columns; ++x) {
        WriteElement(frame, y / patch * width + x / patch, (c * patch + x % patch) * patch + y % patch,
                     planar[r * columns + x]);
      }
    }
  });
}

// ITU-R BT.709-6: Kr = 0.2126, Kb = 0.0722; limited range, Y' 16..235, Cb and Cr 16..240 around 128.
void CpuOps::FrameToI420(ConstMat frame, int height, int width, int patch, uint8_t* y_out, uint8_t* u_out,
                         uint8_t* v_out) {
  constexpr float kRed = 0.2126f, kBlue = 0.0722f, kGreen = 1 - kRed - kBlue;
  const int64_t rows = int64_t{height} * patch, columns = int64_t{width} * patch;
  ForRows(rows / 2, 2 * columns, [&](int64_t first, int64_t n, int thread) {
    float* const scratch = context_.scratch[thread].Floats(8 * columns);
    float *const rgb[2] = {scratch, scratch + 3 * columns}, *const luma = scratch + 6 * columns;
    for (int64_t half = first; half < first + n; ++half) {
      for (int i = 0; i < 2; ++i) {
        if (frame.dtype == DType::kF32) {
          RgbRow(
              frame, width, patch, 2 * half + i,
              [](const std::byte* at, int64_t k) { return reinterpret_cast<const float*>(at)[k]; }, rgb[i]);
        } else {
          RgbRow(
              frame, width, patch, 2 * half + i,
              [](const std::byte* at, int64_t k) { return BF16ToFloat(reinterpret_cast<const uint16_t*>(at)[k]); },
              rgb[i]);
        }
        uint8_t* const y = y_out + (2 * half + i) * columns;
        for (int64_t x = 0; x < columns; ++x) {
          const float l = kRed * rgb[i][x] + kGreen * rgb[i][columns + x] + kBlue * rgb[i][2 * columns + x];
          luma[i * columns + x] = l;
          y[x] = Round8(16 + 219 * l);
        }
      }
      for (int64_t x = 0; x + 1 < columns; x += 2) {
        float cb = 0, cr = 0;
        for (int i = 0; i < 4; ++i) {
          const int64_t at = x + i % 2;
          const float *const pixels = rgb[i / 2], l = luma[i / 2 * columns + at];
          cb += (pixels[2 * columns + at] - l) * (0.25f / (2 * (1 - kBlue)));
          cr += (pixels[at] - l) * (0.25f / (2 * (1 - kRed)));
        }
        u_out[half * (columns / 2) + x / 2] = Round8(128 + 224 * cb);
        v_out[half * (columns / 2) + x / 2] = Round8(128 + 224 * cr);
      }
    }
  });
}

}  // namespace longtake::cpu
