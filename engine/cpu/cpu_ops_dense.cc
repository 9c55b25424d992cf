// Memory, weights, dense layers, and operations on rows and elements.
#include <cassert>
#include <cmath>
#include <cstring>

#include "engine/core/float16.h"
#include "engine/core/philox.h"
#include "engine/cpu/cpu_ops_impl.h"

namespace longtake::cpu {

float ReadElement(const ConstMat& m, int64_t row, int64_t column) {
  const std::byte* at = RowAt(m, row);
  return m.dtype == DType::kBF16 ? BF16ToFloat(reinterpret_cast<const uint16_t*>(at)[column])
                                 : reinterpret_cast<const float*>(at)[column];
}

void WriteElement(const Mat& m, int64_t row, int64_t column, float value) {
  std::byte* at = RowAt(m, row);
  if (m.dtype == DType::kBF16) {
    reinterpret_cast<uint16_t*>(at)[column] = FloatToBF16(value);
  } else {
    reinterpret_cast<float*>(at)[column] = value;
  }
}

std::unique_ptr<Buffer> CpuOps::Allocate(size_t bytes) { return std::make_unique<CpuBuffer>(bytes); }
void CpuOps::Upload(const void* host, void* backend, size_t bytes) { std::memcpy(backend, host, bytes); }
void CpuOps::Download(const void* backend, void* host, size_t bytes) { std::memcpy(host, backend, bytes); }
void CpuOps::Copy(const void* from, void* to, size_t bytes) { std::memcpy(to, from, bytes); }

void CpuOps::Convert(ConstMat from, Mat to) { Activate(from, Activation::kNone, to); }

void CpuOps::KeepZeros(int64_t inputs) {
  const size_t row = RoundUp(inputs, 64) * sizeof(float);
  if (context_.zeros.size() < row) context_.zeros = Memory(row);
}

std::unique_ptr<PackedKernel> CpuOps::Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                           std::span<const HostTensor> biases) {
  KeepZeros(shape.inputs);
  return std::make_unique<CpuKernel>(shape, weights, biases, /*gated=*/false, context_.type, context_.table,
                                     context_.pool);
}

std::unique_ptr<PackedKernel> CpuOps::PackGated(const KernelShape& shape, const HostTensor& gate,
                                                const HostTensor& up) {
  KeepZeros(shape.inputs);
  const HostTensor weights[] = {gate, up};
  return std::make_unique<CpuKernel>(shape, weights, std::span<const HostTensor>(), /*gated=*/true, context_.type,
                                     context_.table, context_.pool);
}

std::unique_ptr<PackedKernel> CpuOps::PackDepthwise(const HostTensor& weight, const HostTensor& bias) {
  return std::make_unique<DepthwiseKernel>(weight, bias);
}

void CpuOps::Linear(const PackedKernel& w, ConstMat x, const Epilogue& e, Mat y) {
  assert(x.dtype == activation_type() && x.cols == w.shape().inputs && y.cols == w.shape().outputs);
  assert(!e.residual || y.dtype == DType::kF32);
  const bool gated = e.residual && e.gate != nullptr;
  Matmul(context_, static_cast<const CpuKernel&>(w), x.rows,
         [&](int64_t first, int n, const RowPointers& p) {
           for (int r = 0; r < n; ++r) {
             p.a[r] = RowAt(x, first + r);
             p.out[r] = RowAt(y, first + r);
             if (gated) p.gate[r] = e.gate + e.mod_row[first + r] * e.gate_stride;
           }
         },
         {.out_type = ElemOf(y.dtype), .activation = ActOf(e.activation), .accumulate = e.residual, .gate = gated});
}

void CpuOps::LinearGated(const PackedKernel& w, ConstMat x, Activation a, Mat y) {
  assert(x.dtype == activation_type() && x.cols == w.shape().inputs && y.cols == w.shape().outputs);
  Matmul(context_, static_cast<const CpuKernel&>(w), x.rows,
         [&](int64_t first, int n, const RowPointers& p) {
           for (int r = 0; r < n; ++r) {
             p.a[r] = RowAt(x, first + r);
             p.out[r] = RowAt(y, first + r);
           }
         },
         {.out_type = ElemOf(y.dtype), .activation = ActOf(a)});
}

void CpuOps::LayerNormModulate(ConstMat x, float eps, const float* shift, const float* scale, int64_t mod_stride,
                               std::span<const int32_t> mod_row, Mat y) {
  ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
    context_.table.layer_norm({.x = RowsOf(x, first),
                               .y = RowsOf(y, first),
                               .rows = n,
                               .columns = x.cols,
                               .eps = eps,
                               .weight = nullptr,
                               .weight_offset = 0,
                               .residual = false,
                               .silu = false,
                               .shift = shift,
                               .scale = scale,
                               .mod_stride = mod_stride,
                               .mod_row = shift == nullptr ? nullptr : mod_row.data() + first});
  });
}

void CpuOps::RmsNorm(ConstMat x, const float* weight, float weight_offset, float eps, bool residual, Mat y) {
  ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
    NormArgs a = {};
    a.x = RowsOf(x, first);
    a.y = RowsOf(y, first);
    a.rows = n;
    a.columns = x.cols;
    a.eps = eps;
    a.weight = weight;
    a.weight_offset = weight_offset;
    a.residual = residual;
    context_.table.rms_norm(a);
  });
}

void CpuOps::ChannelNorm(ConstMat x, const float* gamma, bool silu, Mat y) {
  ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
    NormArgs a = {};
    a.x = RowsOf(x, first);
    a.y = RowsOf(y, first);
    a.rows = n;
    a.columns = x.cols;
    a.weight = gamma;
    a.silu = silu;
    context_.table.channel_norm(a);
  });
}

void CpuOps::Activate(ConstMat x, Activation a, Mat y) {
  ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
    context_.table.activate(RowsOf(x, first), n, x.cols, ActOf(a), RowsOf(y, first));
  });
}

void CpuOps::AddRow(ConstMat x, const float* row, Mat y) {
  ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
    context_.table.add_row(RowsOf(x, first), n, x.cols, row, RowsOf(y, first));
  });
}

void CpuOps::TimestepSinusoids(std::span<const float> t, Mat y) {
  // A few hundred numbers a pass. Frequency and angle are rounded to float32 as the definition does.
  const int64_t half = y.cols / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float exponent = -std::log(10000.f) * static_cast<float>(i) / static_cast<float>(half);
    const float frequency = std::exp(exponent);
    for (int64_t r = 0; r < y.rows; ++r) {
      const float angle = t[r] * frequency;
      WriteElement(y, r, i, static_cast<float>(std::cos(double{angle})));
      WriteElement(y, r, half + i, static_cast<float>(std::sin(double{angle})));
    }
  }
}

std::unique_ptr<Buffer> CpuOps::PackEmbedding(const HostTensor& table) {
  const int64_t n = table.elements();
  auto buffer = Allocate(n * ElemBytes(context_.type));
  constexpr int64_t kChunk = 1 << 16;
  context_.pool.ParallelFor((n + kChunk - 1) / kChunk, [&](int64_t task, int) {
    const int64_t first = task * kChunk, count = std::min(kChunk, n - first);
    const ConstMat from = {
        static_cast<const std::byte*>(table.data) + first * static_cast<int64_t>(SizeOf(table.dtype)), table.dtype, 1,
        count, count};
    const Mat to = {static_cast<std::byte*>(buffer->data()) + first * ElemBytes(context_.type), activation_type(), 1,
                    count, count};
    if (table.dtype == DType::kF16) {
      for (int64_t i = 0; i < count; ++i) {
        WriteElement(to, 0, i, F16ToFloat(static_cast<const uint16_t*>(from.data)[i]));
      }
    } else if (from.dtype == to.dtype) {
      std::memcpy(to.data, from.data, count * SizeOf(to.dtype));
    } else {
      context_.table.activate(RowsOf(from), 1, count, Act::kNone, RowsOf(to));
    }
  });
  return buffer;
}

void CpuOps::Embed(Buffer& table, std::span<const int32_t> ids, float scale, Mat y) {
  const auto* rows = static_cast<const std::byte*>(table.data());
  ForRows(static_cast<int64_t>(ids.size()), y.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      const std::byte* from = rows + int64_t{ids[r]} * y.cols * ElemBytes(context_.type);
      const ConstMat row = {from, activation_type(), 1, y.cols, y.cols};
      for (int64_t i = 0; i < y.cols; ++i) WriteElement(y, r, i, ReadElement(row, 0, i) * scale);
    }
  });
}

void CpuOps::Combine(std::span<const CombineTerm> terms, int64_t n, float* out) {
  constexpr int kMaxTerms = 8;  // a sampler's step has three
  assert(!terms.empty() && terms.size() <= kMaxTerms);
  constexpr int64_t kChunk = 1 << 14;
  context_.pool.ParallelFor((n + kChunk - 1) / kChunk, [&](int64_t task, int) {
    const int64_t first = task * kChunk;
    float weights[kMaxTerms];
    const float* x[kMaxTerms];
    for (size_t i = 0; i < terms.size(); ++i) {
      weights[i] = terms[i].weight;
      x[i] = terms[i].x + first;
    }
    context_.table.combine(weights, x, static_cast<int>(terms.size()), std::min(kChunk, n - first), out + first);
  });
}

void CpuOps::FillNormal(uint64_t seed, uint32_t block, uint32_t step, int64_t n, float* out) {
  constexpr int64_t kQuads = 1024;
  context_.pool.ParallelFor((n + 4 * kQuads - 1) / (4 * kQuads), [&](int64_t task, int) {
    for (int64_t quad = task * kQuads; quad < (task + 1) * kQuads && quad * 4 < n; ++quad) {
      const auto values = NormalQuad(seed, block, step, quad);
      std::memcpy(out + quad * 4, values.data(), std::min<int64_t>(4, n - quad * 4) * sizeof(float));
    }
  });
}

}  // namespace longtake::cpu
