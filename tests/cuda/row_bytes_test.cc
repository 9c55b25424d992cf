// A row's bytes do not depend on how many rows a product has, nor on the row's place: the seven products of a
// transformer's layer, on a device at the 2B model's widths and a full pass's rows, in the emulation a thirty-fifth as
// wide.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/cuda/cuda_ops.h"
#include "gtest/gtest.h"
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

struct Layer {
  const char* name;
  int64_t inputs, outputs;  // of the 2B model
  Epilogue epilogue;
  bool f32 = false, gated = false, low_precision = true;
};

const Layer kLayers[] = {
    {"q, k, v", 2240, 6720, {}},
    {"attention's output", 2240, 2240, {.residual = true}, true, true},
    {"cross-attention's q", 2240, 2240, {}},
    {"cross-attention's output", 2240, 2240, {.residual = true}, true},
    {"inverted", 2240, 13440, {.activation = Activation::kSilu}},
    {"point", 6720, 2240, {}},
    {"temporal", 6720, 2240, {.residual = true}, true, true, false},
};

class RowBytes : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto ops = MakeCudaOps({.dtype = GetParam()});
    if (absl::IsInvalidArgument(ops.status())) GTEST_SKIP() << ops.status();  // a type that this device lacks
    ASSERT_TRUE(ops.ok()) << ops.status();
    ops_ = *std::move(ops);
    emulated_ = ops_->device().name().find("emulation") != std::string::npos;
  }
  int64_t Width(int64_t full) const { return emulated_ ? full / 35 : full; }

  // Normal numbers on the device, a function of `stream`.
  Mat Normal(int64_t rows, int64_t columns, DType type, uint32_t stream) {
    const int64_t n = rows * columns;
    Buffer& floats = *buffers_.emplace_back(ops_->device().Allocate(n * sizeof(float)));
    ops_->sampler().FillNormal({.seed = 1, .block = stream}, n, floats.f32());
    if (type == DType::kF32) return MakeMat(floats.data(), type, rows, columns);
    Buffer& rounded = *buffers_.emplace_back(ops_->device().Allocate(n * SizeOf(type)));
    const Mat out = MakeMat(rounded.data(), type, 1, n);
    ops_->elementwise().Convert(MakeMat(floats.data(), DType::kF32, 1, n), out);
    return MakeMat(rounded.data(), type, rows, columns);
  }
  std::unique_ptr<PackedKernel> Kernel(const Layer& layer) {
    const int64_t inputs = Width(layer.inputs), outputs = Width(layer.outputs);
    std::vector<float> weights(inputs * outputs), bias(outputs);
    uint32_t state = 1;
    for (std::vector<float>* values : {&weights, &bias}) {
      for (float& v : *values) {
        state = state * 1664525u + 1013904223u;
        v = (static_cast<float>(state >> 20) - 2048.f) / 65536.f;
      }
    }
    const HostTensor weight{weights.data(), DType::kF32, {outputs, inputs}}, added{bias.data(), DType::kF32, {outputs}};
    return ops_->weights().Pack({.outputs = outputs, .inputs = inputs, .low_precision = layer.low_precision},
                                {&weight, 1}, {&added, 1});
  }

  std::unique_ptr<Ops> ops_;
  bool emulated_ = false;
  std::vector<std::unique_ptr<Buffer>> buffers_;
};

TEST_P(RowBytes, DependOnNoOtherRow) {
  // Past one panel of rows (products.cc) on a device.
  const int64_t most = emulated_ ? 70 : 16500;
  const std::vector<int64_t> counts =
      emulated_ ? std::vector<int64_t>{1, 7, 33} : std::vector<int64_t>{1, 7, 300, 1560, 15600, 16384};
  for (const Layer& layer : kLayers) {
    SCOPED_TRACE(layer.name);
    const int64_t outputs = Width(layer.outputs);
    const DType type = layer.f32 ? DType::kF32 : ops_->activation_type();
    const auto kernel = Kernel(layer);
    const Mat x = Normal(most, Width(layer.inputs), ops_->activation_type(), 1);
    const Mat before = Normal(most, outputs, type, 2), y = Normal(most, outputs, type, 3);
    const Mat gate = Normal(3, outputs, DType::kF32, 4);
    const size_t row_bytes = outputs * SizeOf(type);
    std::vector<int32_t> mod_row(most);
    for (int64_t r = 0; r < most; ++r) mod_row[r] = static_cast<int32_t>(r % 3);

    // Rows [first, first + count) of x, into as many rows of y that held those of `before`.
    const auto run = [&](int64_t first, int64_t count) {
      Epilogue e = layer.epilogue;
      if (layer.gated) {
        e.gate = static_cast<const float*>(gate.data);
        e.gate_stride = outputs;
        e.mod_row = std::span<const int32_t>(mod_row).subspan(first, count);
      }
      ops_->device().Copy(before.Rows(first, count).data, y.data, count * row_bytes);
      ops_->dense().Linear({.kernel = *kernel, .x = x.Rows(first, count), .epilogue = e, .y = y.Rows(0, count)});
      std::vector<std::byte> bytes(count * row_bytes);
      ops_->device().Download(y.data, bytes.data(), bytes.size());
      return bytes;
    };
    const std::vector<std::byte> all = run(0, most);
    for (const int64_t count : counts) {
      for (const int64_t first : {int64_t{0}, most - count}) {
        const std::vector<std::byte> some = run(first, count);
        int64_t wrong = 0;
        for (int64_t r = 0; r < count; ++r) {
          wrong += std::memcmp(&some[r * row_bytes], &all[(first + r) * row_bytes], row_bytes) != 0 ? 1 : 0;
        }
        EXPECT_EQ(wrong, 0) << "of " << count << " rows from " << first << " on";
      }
    }
    ASSERT_TRUE(ops_->device().Synchronize().ok()) << ops_->device().Synchronize();
    buffers_.clear();
  }
}

INSTANTIATE_TEST_SUITE_P(Types, RowBytes, testing::Values("bfloat16", "float8", "nvfp4"));

}  // namespace
}  // namespace longtake
