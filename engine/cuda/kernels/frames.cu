#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/frames.h"

namespace longtake::cuda {
namespace {

constexpr int kThreads = 256;

LaunchShape AThreadEach(int64_t n) {
  return {.grid = dim3(static_cast<unsigned>(DivideUp(n, kThreads))), .block = dim3(kThreads)};
}

__device__ __forceinline__ int64_t ThreadNumber() { return int64_t{blockIdx.x} * kThreads + threadIdx.x; }

template <typename Out>
__global__ void __launch_bounds__(kThreads)
    LatentsToFrameKernel(const float* latents, int64_t plane, const float* mean, const float* std, int64_t rows,
                         int columns, Out* frame, int64_t stride) {
  const int64_t e = ThreadNumber();
  if (e >= rows * columns) return;
  const int64_t pixel = e / columns, c = e % columns;
  const float v[1] = {latents[c * plane + pixel] * std[c] + mean[c]};
  Store<1>(frame + pixel * stride + c, v);
}

template <typename In>
__global__ void __launch_bounds__(kThreads)
    FrameToLatentsKernel(const In* frame, int64_t stride, int64_t rows, int channels, const float* mean,
                         const float* std, int64_t plane, float* latents) {
  const int64_t e = ThreadNumber();
  if (e >= rows * channels) return;
  const int64_t c = e / rows, pixel = e % rows;
  latents[c * plane + pixel] = (ToFloat(frame[pixel * stride + c]) - mean[c]) / std[c];
}

// Where channel c of pixel (y, x) is in a frame whose channel order is (channel, column in patch, row in patch).
struct PatchedFrame {
  int64_t stride;
  int width, patch;
  __device__ __forceinline__ int64_t At(int c, int y, int x) const {
    return (int64_t{y / patch} * width + x / patch) * stride + (c * patch + x % patch) * patch + y % patch;
  }
};

template <typename In>
__global__ void __launch_bounds__(kThreads)
    FrameToPlanarKernel(const In* frame, PatchedFrame place, int rows, int columns, float* planar) {
  const int64_t e = ThreadNumber(), pixels = int64_t{rows} * columns;
  if (e >= 3 * pixels) return;
  const int c = static_cast<int>(e / pixels), y = static_cast<int>(e % pixels / columns);
  const float v = ToFloat(frame[place.At(c, y, static_cast<int>(e % columns))]);
  planar[e] = fminf(fmaxf(v, -1.f), 1.f);
}

template <typename Out>
__global__ void __launch_bounds__(kThreads)
    PlanarToFrameKernel(const float* planar, PatchedFrame place, int rows, int columns, Out* frame) {
  const int64_t e = ThreadNumber(), pixels = int64_t{rows} * columns;
  if (e >= 3 * pixels) return;
  const int c = static_cast<int>(e / pixels), y = static_cast<int>(e % pixels / columns);
  const float v[1] = {planar[e]};
  Store<1>(frame + place.At(c, y, static_cast<int>(e % columns)), v);
}

__device__ __forceinline__ uint8_t Round8(float x) {
  return static_cast<uint8_t>(fminf(fmaxf(floorf(x + 0.5f), 0.f), 255.f));
}

// A thread has four pixels, which share their chroma.
template <typename In>
__global__ void __launch_bounds__(kThreads)
    FrameToI420Kernel(const In* frame, PatchedFrame place, int rows, int columns, uint8_t* y_out, uint8_t* u_out,
                      uint8_t* v_out) {
  constexpr float kRed = 0.2126f, kBlue = 0.0722f, kGreen = 1.f - 0.2126f - 0.0722f;
  const int64_t e = ThreadNumber();
  if (e >= int64_t{rows / 2} * (columns / 2)) return;
  const int y = static_cast<int>(e / (columns / 2)) * 2, x = static_cast<int>(e % (columns / 2)) * 2;
  float cb = 0.f, cr = 0.f;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float rgb[3];
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      rgb[c] = (fminf(fmaxf(ToFloat(frame[place.At(c, y + i / 2, x + i % 2)]), -1.f), 1.f) + 1.f) / 2.f;
    }
    const float luma = kRed * rgb[0] + kGreen * rgb[1] + kBlue * rgb[2];
    y_out[int64_t{y + i / 2} * columns + x + i % 2] = Round8(16.f + 219.f * luma);
    cb += (rgb[2] - luma) / (8.f * (1.f - kBlue));
    cr += (rgb[0] - luma) / (8.f * (1.f - kRed));
  }
  u_out[e] = Round8(128.f + 224.f * cb);
  v_out[e] = Round8(128.f + 224.f * cr);
}

}  // namespace

void RunLatentsToFrame(Launcher& launcher, const float* latents, int64_t plane, const float* mean, const float* std,
                       Mat frame) {
  ByType(frame.dtype, [&](auto out) {
    using Out = decltype(out);
    launcher.Launch("latents_to_frame", AThreadEach(frame.rows * frame.cols), LatentsToFrameKernel<Out>, latents, plane,
                    mean, std, frame.rows, static_cast<int>(frame.cols), static_cast<Out*>(frame.data), frame.stride);
  });
}

void RunFrameToLatents(Launcher& launcher, ConstMat frame, int channels, const float* mean, const float* std,
                       int64_t plane, float* latents) {
  ByType(frame.dtype, [&](auto in) {
    using In = decltype(in);
    launcher.Launch("frame_to_latents", AThreadEach(frame.rows * channels), FrameToLatentsKernel<In>,
                    static_cast<const In*>(frame.data), frame.stride, frame.rows, channels, mean, std, plane, latents);
  });
}

void RunFrameToPlanar(Launcher& launcher, ConstMat frame, int height, int width, int patch, float* planar) {
  const int rows = height * patch, columns = width * patch;
  ByType(frame.dtype, [&](auto in) {
    using In = decltype(in);
    launcher.Launch("frame_to_planar", AThreadEach(int64_t{3} * rows * columns), FrameToPlanarKernel<In>,
                    static_cast<const In*>(frame.data), PatchedFrame{frame.stride, width, patch}, rows, columns,
                    planar);
  });
}

void RunPlanarToFrame(Launcher& launcher, const float* planar, int height, int width, int patch, Mat frame) {
  const int rows = height * patch, columns = width * patch;
  ByType(frame.dtype, [&](auto out) {
    using Out = decltype(out);
    launcher.Launch("planar_to_frame", AThreadEach(int64_t{3} * rows * columns), PlanarToFrameKernel<Out>, planar,
                    PatchedFrame{frame.stride, width, patch}, rows, columns, static_cast<Out*>(frame.data));
  });
}

void RunFrameToI420(Launcher& launcher, ConstMat frame, int height, int width, int patch, uint8_t* y, uint8_t* u,
                    uint8_t* v) {
  const int rows = height * patch, columns = width * patch;
  ByType(frame.dtype, [&](auto in) {
    using In = decltype(in);
    launcher.Launch("frame_to_i420", AThreadEach(int64_t{rows} * columns / 4), FrameToI420Kernel<In>,
                    static_cast<const In*>(frame.data), PatchedFrame{frame.stride, width, patch}, rows, columns, y, u,
                    v);
  });
}

}  // namespace longtake::cuda
