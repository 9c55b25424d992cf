// Launchers of what stands before and behind a matrix product. All on the launcher's stream.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_DENSE_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_DENSE_H_

#include <cstdint>

#include "engine/cuda/launcher.h"
#include "engine/ops/epilogue.h"

namespace longtake::cuda {

// y = activation(acc + add + bias), or y += gate[mod_row[n]] * activation(...): ops.h, Epilogue. Device pointers,
// strides in elements.
struct EpilogueArgs {
  int64_t rows = 0;
  int64_t columns = 0;
  const void* acc = nullptr;  // [rows, columns]
  int64_t acc_f32 = 1;        // 0: acc is bf16, and y is f32
  int64_t acc_stride = 0;
  const float* bias = nullptr;  // [columns]; null: none
  const void* add = nullptr;    // bf16 [rows, columns]; null: none
  int64_t add_stride = 0;
  Activation activation = Activation::kNone;
  int32_t residual = 0;  // not 0: y is added to. No bool: a kernel's arguments have no unnamed bytes (segments.h)
  const float* gate = nullptr;  // null: 1
  int64_t gate_stride = 0;
  const int32_t* mod_row = nullptr;
  void* y = nullptr;
  int64_t y_f32 = 0;  // not 0: y is f32
  int64_t y_stride = 0;
};
void RunEpilogue(Launcher& launcher, const EpilogueArgs& args);

// y [rows, columns] bf16 = activation(acc[:, 0:columns]) * acc[:, columns:2 columns]; acc f32, rows `acc_stride` apart.
void RunGate(Launcher& launcher, Activation activation, int64_t rows, int64_t columns, const float* acc,
             int64_t acc_stride, void* y, int64_t y_stride);

// bf16 rows into rows `y_stride` long, zeros behind `columns`.
void RunPad(Launcher& launcher, int64_t rows, int64_t columns, const void* x, int64_t stride, void* y,
            int64_t y_stride);

// bf16 rows to e4m3 rows of `y_stride` bytes (zeros behind `columns`) and one scale each: x = y * scale, the largest of
// a row at 448.
void RunQuantizeE4m3(Launcher& launcher, int64_t rows, int64_t columns, const void* x, int64_t stride, void* y,
                     int64_t y_stride, float* scales);

// bf16 rows to NVFP4 (formats.h) of `y_columns` elements, a multiple of 16, zeros behind `columns`. `scales`: the
// tiles, zeroed beforehand.
void RunQuantizeNvfp4(Launcher& launcher, int64_t rows, int64_t columns, const void* x, int64_t stride,
                      float tensor_scale, void* y, int64_t y_columns, void* scales);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_DENSE_H_
