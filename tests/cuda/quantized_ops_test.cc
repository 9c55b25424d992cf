// float8 and NVFP4 on the cpu backend, with which their quality is measured, against the cuda backend's in the
// emulation: the same codes, so the same products but for the order of float32 sums.
#include <string>

#include "engine/cpu/cpu_ops.h"
#include "engine/cuda/cuda_ops.h"
#include "engine/reference/reference_ops.h"
#include "gtest/gtest.h"
#include "tests/engine/ops_cases.h"
#include "tests/engine/quantized_samples.h"

namespace longtake {
namespace {

class QuantizedOps : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto cpu = MakeCpuOps({.threads = 2, .dtype = GetParam()});
    if (!cpu.ok()) GTEST_SKIP() << cpu.status();
    auto cuda = MakeCudaOps({.dtype = GetParam()});
    if (absl::IsInvalidArgument(cuda.status())) GTEST_SKIP() << cuda.status();  // a type that this device lacks
    ASSERT_TRUE(cuda.ok()) << cuda.status();
    auto bf16 = MakeCpuOps({.dtype = "bfloat16"});
    ASSERT_TRUE(bf16.ok()) << bf16.status();
    cpu_ = *std::move(cpu);
    cuda_ = *std::move(cuda);
    bf16_ = *std::move(bf16);
  }

  struct Layer {
    int64_t rows, inputs, outputs;
    bool low_precision = true, bias = true, residual = false, gate = false;
    Activation activation = Activation::kNone;
    bool f32_out = true;
  };
  static std::vector<float> Run(Ops& ops, const Layer& c) {
    Bench bench(ops);
    const auto kernel =
        bench.Kernel({.outputs = c.outputs, .inputs = c.inputs, .low_precision = c.low_precision}, 3, c.bias);
    const Mat x = bench.Act(UnequalRows(c.rows, c.inputs, 2), c.inputs);
    const Mat y = bench.Upload(Random(c.rows * c.outputs, 4), c.outputs, c.f32_out ? DType::kF32 : DType::kBF16);
    std::vector<int32_t> mod;
    for (int64_t r = 0; r < c.rows; ++r) mod.push_back(static_cast<int32_t>(r % 3));
    Epilogue e{.activation = c.activation, .residual = c.residual};
    if (c.gate) {
      e.gate = bench.Floats(Random(3 * c.outputs, 5));
      e.gate_stride = c.outputs;
      e.mod_row = mod;
    }
    ops.dense().Linear({.kernel = *kernel, .x = x, .epilogue = e, .y = y});
    return bench.Read(y);
  }
  // Of sums of up to 256 exact products in another order. Hopper's tensor cores add e4m3's with about 14 bits, 32 of
  // them at a time: eight roundings to 2^-13 at the most.
  double SumsError() const { return cuda_->device().name().find("emulation") == std::string::npos ? 0x1p-10 : 4e-6; }

  std::unique_ptr<Ops> cpu_, cuda_, bf16_;
};

TEST_P(QuantizedOps, ProductsAreTheDevices) {
  EXPECT_NE(cpu_->device().name().find(GetParam()), std::string::npos);
  const Layer layers[] = {
      {.rows = 37, .inputs = 64, .outputs = 48, .bias = false},
      {.rows = 5, .inputs = 71, .outputs = 33},  // not whole blocks of 16
      {.rows = 21, .inputs = 256, .outputs = 96, .residual = true, .gate = true},
      {.rows = 21, .inputs = 256, .outputs = 96, .bias = false, .residual = true},
      {.rows = 21, .inputs = 40, .outputs = 24, .activation = Activation::kSilu},
      {.rows = 21, .inputs = 40, .outputs = 24, .activation = Activation::kGeluTanh},
  };
  for (const Layer& c : layers) {
    SCOPED_TRACE(c.inputs);
    const std::vector<float> device = Run(*cuda_, c), host = Run(*cpu_, c);
    ASSERT_TRUE(cuda_->device().Synchronize().ok());
    EXPECT_LE(RowError(device, host, c.outputs), SumsError());
    // And not bfloat16's: roundings to 4 or 2 bits show.
    EXPECT_GE(RowError(device, Run(*bf16_, c), c.outputs), 1e-3);
    Layer bf16_out = c;
    bf16_out.f32_out = false;
    if (!c.residual) {
      EXPECT_LE(RowError(Run(*cuda_, bf16_out), Run(*cpu_, bf16_out), c.outputs), 0x1p-8);
    }
  }
}

TEST_P(QuantizedOps, OtherProductsStayBfloat16) {
  const Layer c = {.rows = 21, .inputs = 72, .outputs = 40, .low_precision = false};
  EXPECT_TRUE(SameBytes(Run(*bf16_, c), Run(*cpu_, c)));
}

TEST_P(QuantizedOps, ARowDependsOnNoOther) {
  for (const Layer& c :
       {Layer{.rows = 21, .inputs = 71, .outputs = 33}, Layer{.rows = 21, .inputs = 256, .outputs = 96}}) {
    Layer fewer = c;
    fewer.rows = 7;
    const std::vector<float> all = Run(*cpu_, c), some = Run(*cpu_, fewer);
    EXPECT_TRUE(SameBytes({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(some.size())}, some));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, QuantizedOps, testing::Values("float8", "nvfp4"));

// Codes and scales of files (ModelOpt's), two stacked, against the numbers that they stand for.
TEST(QuantizedFiles, AreMultipliedAsTheyAre) {
  constexpr int64_t kRows = 37, kInputs = 80, kOutputs = 70;  // of each; 80 are padded to 96 for NVFP4
  const auto reference = MakeReferenceOps();
  for (const Quantization format : {Quantization::kFloat8, Quantization::kNvfp4}) {
    SCOPED_TRACE(std::string(Name(format)));
    const auto cuda = MakeCudaOps({.dtype = std::string(Name(format))});
    if (absl::IsInvalidArgument(cuda.status())) continue;  // a type that this device lacks
    ASSERT_TRUE(cuda.ok()) << cuda.status();
    const QuantizedSample first = MakeQuantizedSample(format, kOutputs, kInputs, 1),
                          second = MakeQuantizedSample(format, kOutputs, kInputs, 2);
    const QuantizedMatrix parts[] = {first.matrix(), second.matrix()};
    const std::vector<float> one = ToFloats(parts[0]), two = ToFloats(parts[1]);
    const HostTensor numbers[] = {{one.data(), DType::kF32, {kOutputs, kInputs}},
                                  {two.data(), DType::kF32, {kOutputs, kInputs}}};
    const KernelShape shape{.outputs = 2 * kOutputs, .inputs = kInputs, .low_precision = true};
    const auto run = [&](Ops& ops, const PackedKernel& kernel) {
      Bench bench(ops);
      const Mat x = bench.Act(ExactRows(format, kRows, kInputs, 3), kInputs);
      const Mat y = bench.Upload(std::vector<float>(kRows * shape.outputs), shape.outputs, DType::kF32);
      ops.dense().Linear({.kernel = kernel, .x = x, .y = y});
      return bench.Read(y);
    };
    const std::vector<float> expected = run(*reference, *reference->weights().Pack(shape, numbers, {}));
    const auto as_it_is = (*cuda)->weights().PackQuantized(shape, parts, {});
    const bool emulated = (*cuda)->device().name().find("emulation") != std::string::npos;
    EXPECT_LE(RowError(expected, run(**cuda, *as_it_is), shape.outputs), emulated ? 4e-6 : 0x1p-10);
    // Rounded a second time.
    EXPECT_GE(RowError(expected, run(**cuda, *(*cuda)->weights().Pack(shape, numbers, {})), shape.outputs), 1e-3);
  }
}

TEST(QuantizedOpsLoad, NeedInstructionsForBfloat16) {
  const auto ops = MakeCpuOps({.isa = "avx2", .dtype = "float8"});
  EXPECT_TRUE(absl::IsInvalidArgument(ops.status())) << ops.status();
}

}  // namespace
}  // namespace longtake
