// Operations that look at the grid of frames, rows and columns.
#include <cassert>

#include "engine/cpu/cpu_ops_impl.h"

namespace longtake::cpu {
namespace {

// The segment that holds the given row of all segments' rows in order, and the row within it.
struct Place {
  size_t segment = 0;
  int64_t row = 0;
};
Place Find(std::span<const Segment> segments, int64_t row) {
  Place p{0, row};
  while (p.row >= segments[p.segment].rows()) p.row -= segments[p.segment++].rows();
  return p;
}
void Next(std::span<const Segment> segments, Place* p) {
  if (++p->row < segments[p->segment].rows()) return;
  p->row = 0;
  ++p->segment;
}

int64_t AllRows(std::span<const Segment> segments) {
  int64_t rows = 0;
  for (const Segment& s : segments) rows += s.rows();
  return rows;
}

// One token and its patch of the latents.
class Token {
 public:
  Token(std::span<const Segment> segments, const Place& at, std::array<int, 3> patch)
      : segment(at.segment), row(segments[at.segment].first_row + at.row) {
    const Segment& s = segments[at.segment];
    frames_ = int64_t{s.frames} * patch[0];
    height_ = int64_t{s.height} * patch[1];
    width_ = int64_t{s.width} * patch[2];
    t_ = at.row / (int64_t{s.height} * s.width) * patch[0];
    y_ = at.row / s.width % s.height * patch[1];
    x_ = at.row % s.width * patch[2];
  }
  // Where row `dy` of frame `dt` of the patch begins in the segment's latents, in channel `c`.
  int64_t Latent(int c, int dt, int dy) const { return ((c * frames_ + t_ + dt) * height_ + y_ + dy) * width_ + x_; }
  const size_t segment;
  const int64_t row;  // of the packed tokens

 private:
  int64_t frames_, height_, width_;  // of the latents
  int64_t t_, y_, x_;                // of the patch's beginning
};

}  // namespace

void CpuOps::DepthwiseGlu(const PackedKernel& w, ConstMat x, std::span<const Segment> segments, Mat y) {
  const auto& kernel = static_cast<const DepthwiseKernel&>(w);
  // A task is one row of a frame and 256 channels of each half: three rows of 52 pixels and 2 x 512 bytes are 160 KiB,
  // so the next row finds two of its three in the second-level cache.
  constexpr int64_t kChannels = 256;
  const int64_t half = y.cols, chunks = (half + kChannels - 1) / kChannels;
  int64_t lines = 0;
  for (const Segment& s : segments) lines += int64_t{s.frames} * s.height;
  context_.pool.ParallelFor(lines * chunks, [&](int64_t task, int) {
    int64_t line = task % lines;
    const int64_t channel = task / lines * kChannels;
    size_t at = 0;
    for (int64_t own; line >= (own = int64_t{segments[at].frames} * segments[at].height); ++at) line -= own;
    const Segment& s = segments[at];
    const int64_t first = s.first_row + line / s.height * s.height * s.width;
    DepthwiseBlock g;
    g.x = RowAt(x, first);
    g.type = context_.type;
    g.x_stride = x.stride;
    g.height = s.height;
    g.width = s.width;
    g.row = static_cast<int>(line % s.height);
    g.half = half;
    g.first = channel;
    g.count = std::min(kChannels, half - channel);
    g.weight = kernel.weight();
    g.bias = kernel.bias();
    g.y = RowAt(y, first);
    g.y_stride = y.stride;
    context_.table.depthwise_glu(g);
  });
}

void CpuOps::TemporalConv(const PackedKernel& w, ConstMat y, std::span<const Segment> segments,
                          std::span<const void* const> tails, const Epilogue& e, Mat h) {
  assert(e.residual && h.dtype == DType::kF32);
  const int64_t tail_bytes = w.shape().inputs * ElemBytes(context_.type);
  const bool gated = e.gate != nullptr;
  Matmul(context_, static_cast<const CpuKernel&>(w), AllRows(segments),
         [&](int64_t first, int n, const RowPointers& p) {
           Place at = Find(segments, first);
           for (int r = 0; r < n; ++r, Next(segments, &at)) {
             const Segment& s = segments[at.segment];
             const int64_t frame = int64_t{s.height} * s.width, row = s.first_row + at.row;
             const auto* tail = static_cast<const std::byte*>(tails[at.segment]);
             const std::byte* own = RowAt(y, row);
             const void* before = at.row >= frame   ? RowAt(y, row - frame)
                                  : tail != nullptr ? tail + at.row * tail_bytes
                                                    : context_.zeros.data();
             p.a[r] = before;
             p.a[kMaxBlockRows + r] = own;
             p.a[2 * kMaxBlockRows + r] = at.row + frame < s.rows() ? RowAt(y, row + frame) : context_.zeros.data();
             p.add[r] = own;
             p.out[r] = RowAt(h, row);
             if (gated) p.gate[r] = e.gate + e.mod_row[row] * e.gate_stride;
           }
         },
         {.out_type = Elem::kF32, .activation = ActOf(e.activation), .accumulate = true, .gate = gated, .add = true});
}

void CpuOps::Conv(const ConvArgs& args) {
  const auto& kernel = static_cast<const CpuKernel&>(*args.kernel);
  const KernelShape& shape = kernel.shape();
  const int64_t pixel = shape.inputs * ElemBytes(context_.type);
  const Elem out_type = args.wide ? Elem::kF32 : context_.type;
  const int64_t out_pixel = shape.outputs * ElemBytes(out_type);
  const int64_t frame_rows = int64_t{args.out_height} * args.out_width;
  const bool residual = !args.residual.empty();
  const int up = args.upsample;
  const void* const zeros = context_.zeros.data();

  // Row pointers of `n` neighbouring pixels of one output row, from column x0 on, at [r0, r0 + n).
  auto fill_run = [&](int64_t f, int y, int x0, int r0, int n, const RowPointers& p) {
    int tap = 0;
    for (int dt = 0; dt < shape.kt; ++dt) {
      const auto* frame = static_cast<const std::byte*>(args.in[f * shape.kt + dt]);
      for (int dy = 0; dy < shape.kh; ++dy) {
        const int sy = y * args.stride + dy - args.pad_top;
        const bool outside = frame == nullptr || sy < 0 || sy >= args.in_height * up;
        const std::byte* line = outside ? nullptr : frame + int64_t{sy / up} * args.in_width * pixel;
        for (int dx = 0; dx < shape.kw; ++dx, ++tap) {
          const void** to = p.a + tap * kMaxBlockRows + r0;
          if (args.stride == 1 && up == 1 && !outside) {  // zeros, a ramp of neighbours, zeros
            const int first = x0 + dx - args.pad_left;
            const int begin = std::clamp(-first, 0, n), end = std::clamp(args.in_width - first, begin, n);
            std::fill(to, to + begin, zeros);
            for (int r = begin; r < end; ++r) to[r] = line + (first + r) * pixel;
            std::fill(to + end, to + n, zeros);
            continue;
          }
          for (int r = 0; r < n; ++r) {
            const int sx = (x0 + r) * args.stride + dx - args.pad_left;
            if (outside || sx < 0 || sx >= args.in_width * up) {
              to[r] = zeros;
            } else {
              to[r] = line + (up == 1 ? sx : up == 2 ? sx >> 1 : sx / up) * pixel;
            }
          }
        }
      }
    }
  };
  Matmul(context_, kernel, static_cast<int64_t>(args.out.size()) * frame_rows,
         [&](int64_t first, int n, const RowPointers& p) {
           for (int r = 0; r < n;) {
             const int64_t f = (first + r) / frame_rows, at = (first + r) % frame_rows;
             const int y = static_cast<int>(at / args.out_width), x = static_cast<int>(at % args.out_width);
             const int run = std::min(n - r, args.out_width - x);
             fill_run(f, y, x, r, run, p);
             for (int i = 0; i < run; ++i) {
               p.out[r + i] = static_cast<std::byte*>(args.out[f]) + (at + i) * out_pixel;
               if (residual) p.add[r + i] = static_cast<const std::byte*>(args.residual[f]) + (at + i) * out_pixel;
             }
             r += run;
           }
         },
         {.out_type = out_type, .add = residual, .add_f32 = args.wide});
}

template <typename F>
void CpuOps::ForTokens(std::span<const Segment> segments, std::array<int, 3> patch, int64_t columns, F&& f) {
  ForRows(AllRows(segments), columns, [&](int64_t first, int64_t n, int) {
    Place at = Find(segments, first);
    for (int64_t r = 0; r < n; ++r, Next(segments, &at)) f(Token(segments, at, patch));
  });
}

void CpuOps::Patchify(std::span<const float* const> latents, std::span<const Segment> segments, int channels,
                      std::array<int, 3> patch, Mat tokens) {
  const auto [pt, ph, pw] = patch;
  ForTokens(segments, patch, tokens.cols, [&](const Token& at) {
    int64_t column = 0;
    for (int c = 0; c < channels; ++c) {
      for (int dt = 0; dt < pt; ++dt) {
        for (int dy = 0; dy < ph; ++dy) {
          const float* from = latents[at.segment] + at.Latent(c, dt, dy);
          for (int dx = 0; dx < pw; ++dx) WriteElement(tokens, at.row, column++, from[dx]);
        }
      }
    }
  });
}

void CpuOps::Unpatchify(ConstMat tokens, std::span<const Segment> segments, int channels, std::array<int, 3> patch,
                        std::span<float* const> latents) {
  const auto [pt, ph, pw] = patch;
  ForTokens(segments, patch, tokens.cols, [&](const Token& at) {
    int64_t column = 0;
    for (int dt = 0; dt < pt; ++dt) {
      for (int dy = 0; dy < ph; ++dy) {
        for (int dx = 0; dx < pw; ++dx) {
          for (int c = 0; c < channels; ++c) {
            latents[at.segment][at.Latent(c, dt, dy) + dx] = ReadElement(tokens, at.row, column++);
          }
        }
      }
    }
  });
}

}  // namespace longtake::cpu
