// Narrow numbers and their layouts against decodings written a second time, from the formats' definitions.
#include "engine/quantization/formats.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "engine/core/float16.h"
#include "engine/cuda/context.h"
#include "engine/cuda/kernels/dense.h"
#include "engine/cuda/weights.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulation/settings.h"

namespace longtake::cuda {
namespace {

// e4m3's finite magnitudes in order: eighths of powers of two, from the definition.
std::vector<double> E4m3Magnitudes() {
  std::vector<double> values;
  for (int m = 0; m < 8; ++m) values.push_back(m / 8.0 * std::exp2(-6));
  for (int e = 1; e < 16; ++e) {
    for (int m = 0; m < 8; ++m) {
      if (e < 15 || m < 7) values.push_back((1 + m / 8.0) * std::exp2(e - 7));  // 15, 7 is NaN
    }
  }
  return values;
}
constexpr std::array<double, 8> kE2m1Magnitudes = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

// The index of the nearest of `values` (rising); of two equally near the even one; the last one beyond the end.
template <typename Values>
int Nearest(const Values& values, double x) {
  int best = 0;
  for (int i = 1; i < static_cast<int>(values.size()); ++i) {
    const double old = std::abs(values[best] - x), now = std::abs(values[i] - x);
    if (now < old || (now == old && i % 2 == 0)) best = i;
  }
  return best;
}

TEST(E4m3, DecodesEveryCode) {
  const std::vector<double> magnitudes = E4m3Magnitudes();
  for (int code = 0; code < 256; ++code) {
    const float value = DecodeE4m3(static_cast<uint8_t>(code));
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    EXPECT_EQ(std::abs(value), magnitudes[code & 0x7f]) << code;
    EXPECT_EQ(std::signbit(value), code >= 0x80) << code;
    EXPECT_EQ(EncodeE4m3(value), code);
  }
  EXPECT_EQ(magnitudes.back(), kLargestE4m3);
  EXPECT_EQ(EncodeE4m3(NAN) & 0x7f, 0x7f);
}

TEST(E4m3, EncodesToTheNearest) {
  const std::vector<double> magnitudes = E4m3Magnitudes();
  const auto check = [&](float x) {
    const int code = Nearest(magnitudes, std::abs(x)) | (std::signbit(x) ? 0x80 : 0);
    EXPECT_EQ(EncodeE4m3(x), code) << x;
  };
  for (size_t i = 1; i < magnitudes.size(); ++i) {  // the midpoints, and what lies just beside them
    const auto middle = static_cast<float>((magnitudes[i - 1] + magnitudes[i]) / 2);
    for (const float x : {middle, std::nextafter(middle, 0.f), std::nextafter(middle, 1e9f)}) {
      check(x);
      check(-x);
    }
  }
  for (const float x : {0.f, -0.f, 1e-30f, 447.f, 449.f, 463.9f, 480.f, 1e30f, -INFINITY}) check(x);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.f, 30.f);
  for (int i = 0; i < 2000; ++i) check(normal(random));
}

TEST(E2m1, EveryCodeAndTheNearest) {
  for (int code = 0; code < 16; ++code) {
    const float value = DecodeE2m1(static_cast<uint8_t>(code));
    EXPECT_EQ(std::abs(value), kE2m1Magnitudes[code & 7]);
    EXPECT_EQ(std::signbit(value), code >= 8);
    EXPECT_EQ(EncodeE2m1(value), code);
  }
  for (int i = -80; i <= 80; ++i) {  // tenths, and all midpoints: they are multiples of a quarter
    for (const float x : {static_cast<float>(i) / 10.f, static_cast<float>(i) / 4.f}) {
      EXPECT_EQ(EncodeE2m1(x), Nearest(kE2m1Magnitudes, std::abs(x)) | (std::signbit(x) ? 8 : 0)) << x;
    }
  }
}

// The tiles as NVIDIA draws them: 128 rows by 4 blocks in 512 bytes; each 16 bytes hold rows r, r+32, r+64, r+96.
TEST(Nvfp4, ScalesLieInTiles) {
  EXPECT_EQ(Nvfp4ScaleOffset(0, 0, 8), 0);
  EXPECT_EQ(Nvfp4ScaleOffset(0, 3, 8), 3);
  EXPECT_EQ(Nvfp4ScaleOffset(1, 0, 8), 16);
  EXPECT_EQ(Nvfp4ScaleOffset(31, 0, 8), 496);
  EXPECT_EQ(Nvfp4ScaleOffset(32, 0, 8), 4);
  EXPECT_EQ(Nvfp4ScaleOffset(96, 1, 8), 13);
  EXPECT_EQ(Nvfp4ScaleOffset(127, 3, 8), 511);
  EXPECT_EQ(Nvfp4ScaleOffset(0, 4, 8), 512);
  EXPECT_EQ(Nvfp4ScaleOffset(128, 0, 8), 1024);
  constexpr int64_t kRows = 300, kBlocks = 13;
  std::set<int64_t> seen;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t b = 0; b < kBlocks; ++b) seen.insert(Nvfp4ScaleOffset(r, b, kBlocks));
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(kRows * kBlocks));
  EXPECT_LT(*seen.rbegin(), Nvfp4ScaleBytes(kRows, kBlocks));
  EXPECT_EQ(Nvfp4ScaleBytes(kRows, kBlocks), 3 * 4 * 512);
}

class QuantizeTest : public testing::Test {
 protected:
  void SetUp() override { context_ = *Context::Create(0); }

  template <typename T>
  T* Device(size_t count, int fill) {
    memory_.push_back(*AllocateDevice(count * sizeof(T)));
    cudaMemsetAsync(memory_.back().get(), fill, count * sizeof(T), context_->stream());
    return static_cast<T*>(memory_.back().get());
  }
  template <typename T>
  std::vector<T> Host(const T* p, size_t n) {
    std::vector<T> values(n);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost, context_->stream()),
              cudaSuccess);
    EXPECT_EQ(context_->Synchronize(), absl::OkStatus());
    return values;
  }
  // bf16 rows on the device: row r is normal numbers times 4^(r % 8 - 4); row 2 is zeros.
  const void* Rows(int64_t rows, int64_t columns, int64_t stride, std::vector<float>* values) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    std::vector<uint16_t> bits(rows * stride, 0x7fc0);  // NaN between the rows
    values->resize(rows * columns);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const float x = r == 2 ? 0.f : std::ldexp(normal(random), 2 * static_cast<int>(r % 8 - 4));
        bits[r * stride + c] = FloatToBF16(x);
        (*values)[r * columns + c] = BF16ToFloat(bits[r * stride + c]);
      }
    }
    auto* p = Device<uint16_t>(bits.size(), 0);
    cudaMemcpyAsync(p, bits.data(), bits.size() * 2, cudaMemcpyHostToDevice, context_->stream());
    return p;
  }

  std::unique_ptr<Context> context_;
  std::vector<DeviceMemory> memory_;
};

// With 72 columns eight at a time, with 75 one.
class QuantizeColumnsTest : public QuantizeTest, public testing::WithParamInterface<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Columns, QuantizeColumnsTest, testing::Values(72, 75));

TEST_P(QuantizeColumnsTest, E4m3RowsHaveTheirOwnScale) {
  constexpr int64_t kRows = 11, kStride = 96;
  const int64_t columns = GetParam();
  std::vector<float> values;
  const void* x = Rows(kRows, columns, 80, &values);
  auto* narrow = Device<uint8_t>(kRows * kStride, 0xff);
  auto* scales = Device<float>(kRows, 0xff);
  RunQuantizeE4m3(context_->launcher(), kRows, columns, x, 80, narrow, kStride, scales);
  const auto codes = Host(narrow, kRows * kStride);
  const auto factors = Host(scales, kRows);
  const std::vector<double> magnitudes = E4m3Magnitudes();
  for (int64_t r = 0; r < kRows; ++r) {
    float largest = 0;
    for (int64_t c = 0; c < columns; ++c) largest = std::max(largest, std::abs(values[r * columns + c]));
    EXPECT_FLOAT_EQ(factors[r], largest > 0 ? largest / 448 : 1.f);
    for (int64_t c = 0; c < columns; ++c) {
      const uint8_t code = codes[r * kStride + c];
      const double decoded = magnitudes[code & 0x7f] * (code & 0x80 ? -1 : 1) * factors[r];
      // Half a step: 2^-4 of the value, or half the smallest step.
      EXPECT_NEAR(decoded, values[r * columns + c],
                  std::max(0.0626 * std::abs(values[r * columns + c]), 0.00098 * factors[r]));
    }
    for (int64_t c = columns; c < kStride; ++c) EXPECT_EQ(codes[r * kStride + c], 0);
  }
}

TEST_F(QuantizeTest, Nvfp4RowsDecodeToWhatTheyWere) {
  constexpr int64_t kRows = 140, kColumns = 75, kPadded = 80, kBlocks = kPadded / 16;
  std::vector<float> values;
  const void* x = Rows(kRows, kColumns, kColumns, &values);
  auto* narrow = Device<uint8_t>(kRows * kPadded / 2, 0xff);
  auto* scales = Device<uint8_t>(Nvfp4ScaleBytes(kRows, kBlocks), 0);
  RunQuantizeNvfp4(context_->launcher(), kRows, kColumns, x, kColumns, kNvfp4ActivationScale, narrow, kPadded, scales);
  const auto codes = Host(narrow, kRows * kPadded / 2);
  const auto tiles = Host(scales, Nvfp4ScaleBytes(kRows, kBlocks));
  const std::vector<double> magnitudes = E4m3Magnitudes();
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kPadded; ++c) {
      const int block = static_cast<int>(c / 16), pair = codes[(r * kPadded + c) / 2];
      const int code = c % 2 == 0 ? pair & 15 : pair >> 4;
      // Where the tile has it: written out, not computed by the function under test.
      const int64_t tile = r / 128 * ((kBlocks + 3) / 4) + block / 4;
      const int scale_code = tiles[tile * 512 + (r % 32) * 16 + (r % 128) / 32 * 4 + block % 4];
      const double scale = magnitudes[scale_code] * kNvfp4ActivationScale;
      const double decoded = kE2m1Magnitudes[code & 7] * (code & 8 ? -1 : 1) * scale;
      if (c >= kColumns) {
        EXPECT_EQ(decoded, 0.0);
        continue;
      }
      float largest = 0;
      for (int64_t i = block * 16; i < std::min<int64_t>(block * 16 + 16, kColumns); ++i) {
        largest = std::max(largest, std::abs(values[r * kColumns + i]));
      }
      // Half of e2m1's widest step, 2 of 6; and what rounding the scale moves, 2^-4 of it or half of its smallest step.
      const double bound = largest / 6.0 + largest / 16.0 + kNvfp4ActivationScale * 6 * std::exp2(-10);
      EXPECT_NEAR(decoded, values[r * kColumns + c], bound) << r << "," << c;
    }
  }
}

// Stacked bf16 weights straight from the file are the bytes that the way through floats gives.
TEST_F(QuantizeTest, Bf16WeightsGoAsTheyAre) {
  constexpr int64_t kIn = 32;
  std::vector<uint16_t> bits(11 * kIn);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = FloatToBF16(static_cast<float>(i) - 99.f);
  std::vector<float> floats;
  for (const uint16_t b : bits) floats.push_back(BF16ToFloat(b));
  const HostTensor parts[] = {{bits.data(), DType::kBF16, {4, kIn}}, {bits.data() + 4 * kIn, DType::kBF16, {7, kIn}}};
  const std::vector<float> bias(11, 0.3f);
  CudaKernel direct({.outputs = 11, .inputs = kIn}, 11), converted({.outputs = 11, .inputs = kIn}, 11);
  ASSERT_TRUE(direct.UploadBf16(*context_, parts, bias).ok());
  ASSERT_TRUE(converted.Upload(*context_, OperandType::kBf16, floats, bias).ok());
  const auto rows = [&](const CudaKernel& k) { return Host(static_cast<const uint16_t*>(k.bf16()), bits.size()); };
  EXPECT_EQ(rows(direct), bits);
  EXPECT_EQ(rows(converted), bits);
  EXPECT_EQ(direct.bytes(), converted.bytes());
  EXPECT_EQ(Host(direct.bias(), 11), bias);
}

// Bounds: two operands, each wrong by up to half a step of its values, 2^-4 of e4m3's and 2^-2 of e2m1's, evenly
// spread: that times sqrt(2/3).
TEST_F(QuantizeTest, WeightsMultiplyAsTheirType) {
  const auto matmul = *MakeMatMul(*context_);
  constexpr int64_t kOut = 48, kIn = 96;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> weights(kOut * kIn);
  for (float& w : weights) w = BF16ToFloat(FloatToBF16(normal(random) * 0.1f));
  std::vector<float> values;
  constexpr int64_t kRows = 5;
  const void* x = Rows(kRows, kIn, kIn, &values);
  const int capability = context_->device().compute_capability;  // 0 in the emulation, which multiplies every type
  for (const auto& [type, bound] :
       {std::pair{OperandType::kBf16, 1e-6}, {OperandType::kE4m3, 0.051}, {OperandType::kNvfp4, 0.204}}) {
    if (type == OperandType::kE4m3 && capability != 0 && capability != 90) continue;
    if (type == OperandType::kNvfp4 && capability != 0 && capability < 100) continue;
    CudaKernel kernel({.outputs = kOut, .inputs = kIn}, kOut);
    ASSERT_TRUE(kernel.Upload(*context_, type, weights, {}).ok());
    Operand operand = {.type = type, .data = x, .stride = kIn};
    auto* narrow = Device<uint8_t>(kRows * kIn, 0);
    auto* scales = Device<uint8_t>(Nvfp4ScaleBytes(kRows, kIn / 16), 0);
    if (type == OperandType::kE4m3) {
      RunQuantizeE4m3(context_->launcher(), kRows, kIn, x, kIn, narrow, kIn, reinterpret_cast<float*>(scales));
    } else if (type == OperandType::kNvfp4) {
      RunQuantizeNvfp4(context_->launcher(), kRows, kIn, x, kIn, kNvfp4ActivationScale, narrow, kIn, scales);
    }
    if (type != OperandType::kBf16) operand = {.type = type, .data = narrow, .stride = kIn, .scales = scales};
    auto* y = Device<float>(kRows * kOut, 0);
    matmul->Run({.rows = kRows,
                 .outputs = kOut,
                 .inputs = kIn,
                 .x = operand,
                 .w = kernel.operand(),
                 .tensor_scale = kernel.tensor_scale(),
                 .y_f32 = true,
                 .y = y,
                 .y_stride = kOut});
    const auto actual = Host(y, kRows * kOut);
    for (int64_t r = 0; r < kRows; ++r) {
      double error = 0, size = 0;  // root mean squares of a row
      for (int64_t o = 0; o < kOut; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < kIn; ++i) sum += double{values[r * kIn + i]} * weights[o * kIn + i];
        error += std::pow(actual[r * kOut + o] - sum, 2);
        size += sum * sum;
      }
      EXPECT_LE(std::sqrt(error), bound * std::sqrt(size) + 1e-30) << "type " << static_cast<int>(type) << " row " << r;
    }
  }
}

}  // namespace
}  // namespace longtake::cuda
