#include <algorithm>

#include "engine/cpu/families.h"
#include "engine/cpu/segments.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

// A token and its patch of the latents.
class Token {
 public:
  Token(std::span<const Segment> segments, const SegmentRow& at, std::array<int, 3> patch)
      : segment(at.segment), row(segments[at.segment].first_row + at.row) {
    const Segment& s = segments[at.segment];
    frames_ = int64_t{s.frames} * patch[0];
    height_ = int64_t{s.height} * patch[1];
    width_ = int64_t{s.width} * patch[2];
    t_ = at.row / (int64_t{s.height} * s.width) * patch[0];
    y_ = at.row / s.width % s.height * patch[1];
    x_ = at.row % s.width * patch[2];
  }
  // Returns the offset, in the segment's latents, of row `dy` of frame `dt` of the patch in channel `c`.
  int64_t Latent(int c, int dt, int dy) const { return ((c * frames_ + t_ + dt) * height_ + y_ + dy) * width_ + x_; }
  const size_t segment;
  const int64_t row;  // of the packed tokens

 private:
  int64_t frames_, height_, width_;  // of the latents
  int64_t t_, y_, x_;                // first position of the patch
};

float Clamped(float x) { return std::clamp(x, -1.f, 1.f); }

// Returns channel `c` of pixel (y, x) of a frame [h, w, 3*p*p] with columns in the order (channel, column in patch, row
// in patch).
float Pixel(const ConstMat& frame, int width, int p, int c, int y, int x) {
  if (p == 1) return ReadElement(frame, int64_t{y} * width + x, c);
  return ReadElement(frame, int64_t{y / p} * width + x / p, c * p * p + x % p * p + y % p);
}

// Rounds to nearest, halves up; 0 for NaN. Truncation equals rounding down, because values are not negative; std::floor
// would be a function call for each pixel.
uint8_t Round8(float x) { return static_cast<uint8_t>(std::min(255.f, std::max(0.f, x + 0.5f))); }

// Writes row `y` of a frame as three consecutive planes of `width * p` values, mapped from [-1, 1] to [0, 1]. Columns
// are ordered as in Pixel.
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

class CpuLatentOps final : public LatentOps {
 public:
  explicit CpuLatentOps(Context& context) : LatentOps(&context), context_(context) {}

 private:
  void DoPatchify(const PatchifyArgs& args) override;
  void DoUnpatchify(const UnpatchifyArgs& args) override;
  void DoLatentsToFrame(const LatentsToFrameArgs& args) override;
  void DoFrameToLatents(const FrameToLatentsArgs& args) override;
  void DoFrameToPlanar(const FrameToPlanarArgs& args) override;
  void DoPlanarToFrame(const PlanarToFrameArgs& args) override;
  void DoFrameToI420(const FrameToI420Args& args) override;

  // Calls f(token) for every token of the segments, in chunks like ForRows.
  template <typename F>
  void ForTokens(std::span<const Segment> segments, const std::array<int, 3>& patch, int64_t columns, F&& f) {
    context_.ForRows(AllRows(segments), columns, [&](int64_t first, int64_t n, int) {
      SegmentRow at = FindRow(segments, first);
      for (int64_t r = 0; r < n; ++r, NextRow(segments, &at)) f(Token(segments, at, patch));
    });
  }

  Context& context_;
};

void CpuLatentOps::DoPatchify(const PatchifyArgs& args) {
  const auto [pt, ph, pw] = args.patch;
  ForTokens(args.segments, args.patch, args.tokens.cols, [&](const Token& at) {
    int64_t column = 0;
    for (int c = 0; c < args.channels; ++c) {
      for (int dt = 0; dt < pt; ++dt) {
        for (int dy = 0; dy < ph; ++dy) {
          const float* from = args.latents[at.segment] + at.Latent(c, dt, dy);
          for (int dx = 0; dx < pw; ++dx) WriteElement(args.tokens, at.row, column++, from[dx]);
        }
      }
    }
  });
}

void CpuLatentOps::DoUnpatchify(const UnpatchifyArgs& args) {
  const auto [pt, ph, pw] = args.patch;
  ForTokens(args.segments, args.patch, args.tokens.cols, [&](const Token& at) {
    int64_t column = 0;
    for (int dt = 0; dt < pt; ++dt) {
      for (int dy = 0; dy < ph; ++dy) {
        for (int dx = 0; dx < pw; ++dx) {
          for (int c = 0; c < args.channels; ++c) {
            args.latents[at.segment][at.Latent(c, dt, dy) + dx] = ReadElement(args.tokens, at.row, column++);
          }
        }
      }
    }
  });
}

void CpuLatentOps::DoLatentsToFrame(const LatentsToFrameArgs& args) {
  const Mat& frame = args.frame;
  context_.ForRows(frame.rows, frame.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t p = first; p < first + n; ++p) {
      for (int64_t c = 0; c < frame.cols; ++c) {
        const float latent = args.latents[(c * args.frames + args.t) * frame.rows + p];
        WriteElement(frame, p, c, latent * args.std[c] + args.mean[c]);
      }
    }
  });
}

void CpuLatentOps::DoFrameToLatents(const FrameToLatentsArgs& args) {
  const ConstMat& frame = args.frame;
  const auto channels = static_cast<int64_t>(args.mean.size());
  context_.ForRows(frame.rows, frame.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t p = first; p < first + n; ++p) {
      for (int64_t c = 0; c < channels; ++c) {
        args.latents[(c * args.frames + args.t) * frame.rows + p] =
            (ReadElement(frame, p, c) - args.mean[c]) / args.std[c];
      }
    }
  });
}

void CpuLatentOps::DoFrameToPlanar(const FrameToPlanarArgs& args) {
  const int64_t rows = int64_t{args.height} * args.patch, columns = int64_t{args.width} * args.patch;
  context_.ForRows(3 * rows, columns, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      for (int64_t x = 0; x < columns; ++x) {
        args.planar[r * columns + x] = Clamped(Pixel(args.frame, args.width, args.patch, static_cast<int>(r / rows),
                                                     static_cast<int>(r % rows), static_cast<int>(x)));
      }
    }
  });
}

void CpuLatentOps::DoPlanarToFrame(const PlanarToFrameArgs& args) {
  const int patch = args.patch;
  const int64_t rows = int64_t{args.height} * patch, columns = int64_t{args.width} * patch;
  context_.ForRows(3 * rows, columns, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      const int64_t c = r / rows, y = r % rows;
      for (int64_t x = 0; x < columns; ++x) {
        WriteElement(args.frame, y / patch * args.width + x / patch, (c * patch + x % patch) * patch + y % patch,
                     args.planar[r * columns + x]);
      }
    }
  });
}

// ITU-R BT.709-6: Kr = 0.2126, Kb = 0.0722; limited range, Y' 16..235, Cb and Cr 16..240 around 128.
void CpuLatentOps::DoFrameToI420(const FrameToI420Args& args) {
  const ConstMat& frame = args.frame;
  const int width = args.width, patch = args.patch;
  constexpr float kRed = 0.2126f, kBlue = 0.0722f, kGreen = 1 - kRed - kBlue;
  const int64_t rows = int64_t{args.height} * patch, columns = int64_t{width} * patch;
  Workspace::Scope scope(context_.workspace);
  const Workspace::PerThread rows_of_thread = scope.TakePerThread(8 * columns * sizeof(float));
  context_.ForRows(rows / 2, 2 * columns, [&](int64_t first, int64_t n, int thread) {
    float* const scratch = rows_of_thread.floats_of(thread);
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
        uint8_t* const y = args.y + (2 * half + i) * columns;
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
        args.u[half * (columns / 2) + x / 2] = Round8(128 + 224 * cb);
        args.v[half * (columns / 2) + x / 2] = Round8(128 + 224 * cr);
      }
    }
  });
}

}  // namespace

std::unique_ptr<LatentOps> MakeLatentOps(Context& context) { return std::make_unique<CpuLatentOps>(context); }

}  // namespace longtake::cpu
