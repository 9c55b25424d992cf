#include "engine/cpu/dense.h"

#include "engine/cpu/families.h"
#include "engine/cpu/low_rank.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {

void LinearProduct(Context& context, const CpuKernel& kernel, const ConstMat& x, std::span<const LowRankTerm> low_rank,
                   const Epilogue& epilogue, const Mat& y) {
  const bool gated = epilogue.residual && epilogue.gate != nullptr;
  Workspace::Scope scope(context.workspace);
  const auto inputs = [&](int64_t first, int n, const void** a) {
    for (int r = 0; r < n; ++r) a[r] = RowAt(x, first + r);
  };
  const std::span<const LowRankRows> terms = PrepareLowRank(context, scope, low_rank, inputs, /*zeros=*/nullptr);
  // Rows of the kernel's type. Quantizing reads each number once for hundreds of products with it.
  ConstMat rows = x;
  const float* row_scales = nullptr;
  if (kernel.type() == DType::kI8) {
    const Mat bytes = scope.TakeMat(DType::kU8, x.rows, RoundUp(x.cols, 64));
    float* const scales = scope.TakeFloats(x.rows);
    context.ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
      context.kernels.quantize_rows(x.Rows(first, n), scales + first, reinterpret_cast<uint8_t*>(RowAt(bytes, first)),
                                    bytes.stride);
    });
    rows = bytes;
    row_scales = scales;
  }
  Matmul(context, kernel, x.rows,
         [&](int64_t first, int n, const RowPointers& p) {
           for (int r = 0; r < n; ++r) {
             p.a[r] = RowAt(rows, first + r);
             p.out[r] = RowAt(y, first + r);
             if (gated) p.gate[r] = epilogue.gate + epilogue.mod_row[first + r] * epilogue.gate_stride;
           }
         },
         {.out_type = y.dtype,
          .activation = epilogue.activation,
          .accumulate = epilogue.residual,
          .gate = gated,
          .low_rank = terms,
          .row_scales = row_scales});
}

void CpuDenseOps::DoLinear(const LinearArgs& args) {
  LinearProduct(context_, static_cast<const CpuKernel&>(args.kernel), args.x, args.low_rank, args.epilogue, args.y);
}

void CpuDenseOps::DoLinearGated(const LinearGatedArgs& args) {
  LinearProduct(context_, static_cast<const CpuKernel&>(args.kernel), args.x, {}, {.activation = args.activation},
                args.y);
}

void CpuDenseOps::DoEmbed(const EmbedArgs& args) {
  const ConstMat table = MakeMat(static_cast<const void*>(args.table.data->data()), context_.activation_type,
                                 args.table.rows, args.table.width);
  context_.ForRows(args.y.rows, args.y.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      for (int64_t i = 0; i < args.y.cols; ++i) {
        WriteElement(args.y, r, i, ReadElement(table, args.ids[r], i) * args.scale);
      }
    }
  });
}

std::unique_ptr<DenseOps> MakeDenseOps(Context& context, Quantization quantization) {
  if (IsEmulated(quantization)) return MakeQuantizedDenseOps(context, quantization);
  return std::make_unique<CpuDenseOps>(context);
}

}  // namespace longtake::cpu
