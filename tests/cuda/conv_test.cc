// How many channels a block of the convolution in tiles has: by the device, and without any effect on the sums.
#include "engine/cuda/kernels/conv.h"

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "engine/core/float16.h"
#include "engine/cuda/context.h"
#include "gtest/gtest.h"

namespace longtake::cuda {
namespace {

ConvLaunch Shape(int inputs, int outputs, int height, int width) {
  return {.weight_stride = int64_t{9} * inputs,
          .inputs = inputs,
          .outputs = outputs,
          .kh = 3,
          .kw = 3,
          .in_height = height,
          .in_width = width,
          .out_height = height,
          .out_width = width,
          .pad_top = 1,
          .pad_left = 1,
          .wide = 1};
}

TEST(ConvTile, FewTilesHaveNarrowBlocks) {
  constexpr int kH200 = 132;
  EXPECT_EQ(ConvTileChannels(Shape(384, 384, 60, 104), kH200), 96);     // 128 of them in one round
  EXPECT_EQ(ConvTileChannels(Shape(384, 384, 120, 208), kH200), 64);    // 630, five rounds
  EXPECT_EQ(ConvTileChannels(Shape(192, 192, 240, 416), kH200), 96);    // 780
  EXPECT_EQ(ConvTileChannels(Shape(96, 96, 480, 832), kH200), 96);      // 1560
  EXPECT_EQ(ConvTileChannels(Shape(128, 128, 704, 1280), kH200), 128);  // 3520
  EXPECT_EQ(ConvTileChannels(Shape(96, 3, 480, 832), kH200), 32);
  EXPECT_EQ(ConvTileChannels(Shape(384, 384, 60, 104), 1), 128);
}

TEST(ConvTile, BytesDoNotDependOnTheDevice) {
  const auto context = *Context::Create(0);
  ConvLaunch a = Shape(32, 200, 24, 40);
  const auto upload = [&](const void* data, size_t bytes) {
    DeviceMemory memory = *AllocateDevice(bytes);
    cudaMemcpyAsync(memory.get(), data, bytes, cudaMemcpyHostToDevice, context->stream());
    EXPECT_TRUE(context->Synchronize().ok());
    return memory;
  };
  const auto numbers = [](size_t n) {
    std::vector<uint16_t> values(n);
    for (size_t i = 0; i < n; ++i) {
      values[i] = FloatToBF16(static_cast<float>(static_cast<int>(i * 2654435761u >> 20) - 2048) / 2048.f);
    }
    return values;
  };
  const std::vector<uint16_t> in = numbers(size_t{24} * 40 * 32), weight = numbers(a.outputs * a.weight_stride);
  const std::vector<float> bias(a.outputs, 0.5f);
  const DeviceMemory device_in = upload(in.data(), in.size() * 2),
                     device_weight = upload(weight.data(), weight.size() * 2);
  const DeviceMemory device_bias = upload(bias.data(), bias.size() * 4);
  std::vector<float> out(size_t{24} * 40 * a.outputs), first;
  const DeviceMemory device_out = *AllocateDevice(out.size() * 4);
  a.in[0] = device_in.get();
  a.weight = device_weight.get();
  a.bias = static_cast<const float*>(device_bias.get());
  a.out = device_out.get();

  std::set<int> widths;
  for (const int multiprocessors : {1, 6, 9, 13, 24, 1000}) {
    SCOPED_TRACE(multiprocessors);
    widths.insert(ConvTileChannels(a, multiprocessors));
    Launcher launcher(context->stream(), 0, multiprocessors);
    RunConvTile(launcher, a);
    EXPECT_TRUE(launcher.ok());
    cudaMemcpyAsync(out.data(), a.out, out.size() * 4, cudaMemcpyDeviceToHost, context->stream());
    ASSERT_TRUE(context->Synchronize().ok());
    if (first.empty()) first = out;
    EXPECT_EQ(std::memcmp(first.data(), out.data(), out.size() * 4), 0);
  }
  EXPECT_EQ(widths.size(), 4u) << "a width of a block was not tried";
}

}  // namespace
}  // namespace longtake::cuda
