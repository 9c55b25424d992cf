// Weights that a file holds quantized: read as they are by a backend of the same format, as numbers by any other.
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/json_config.h"
#include "engine/core/safetensors.h"
#include "engine/models/folder/quantized_weights.h"
#include "engine/models/folder/weight_loader.h"
#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu_ops_fixture.h"
#include "tests/engine/forwarded_ops.h"
#include "tests/engine/ops_cases.h"
#include "tests/engine/quantized_samples.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;
using Tensors = std::map<std::string, HostTensor>;

constexpr int64_t kInputs = 48, kQ = 70, kK = 70, kRowCount = 37;

std::vector<float> Joined(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

std::vector<float> Product(Ops& ops, const PackedKernel& kernel, const std::vector<float>& rows) {
  Bench bench(ops);
  const Mat x = bench.Act(rows, kInputs);
  const Mat y =
      bench.Upload(std::vector<float>(kRowCount * kernel.shape().outputs), kernel.shape().outputs, DType::kF32);
  ops.dense().Linear({.kernel = kernel, .x = x, .y = y});
  return bench.Read(y);
}

std::unique_ptr<PackedKernel> PackFloats(Ops& ops, const std::vector<float>& weights, bool low_precision) {
  const int64_t outputs = static_cast<int64_t>(weights.size()) / kInputs;
  const HostTensor tensor{weights.data(), DType::kF32, {outputs, kInputs}};
  return ops.weights().Pack({.outputs = outputs, .inputs = kInputs, .low_precision = low_precision}, {&tensor, 1}, {});
}

// A file of some tensors.
class File {
 public:
  explicit File(const Tensors& tensors) : store_(Write(folder_.path() + "/w.safetensors", tensors)) {}
  TensorStore& store() { return store_; }

 private:
  static TensorStore Write(const std::string& path, const Tensors& tensors) {
    EXPECT_TRUE(WriteSafetensors(path, tensors).ok());
    return *TensorStore::OpenFile(path);
  }

  TempFolder folder_;
  TensorStore store_;
};

// q and k of one format, with these scales of the whole matrix where the format has them.
struct Pair {
  explicit Pair(Quantization format, float q_scale = 0.013f, float k_scale = 0.013f)
      : q(MakeQuantizedSample(format, kQ, kInputs, 1, q_scale)),
        k(MakeQuantizedSample(format, kK, kInputs, 2, k_scale)) {}
  Tensors tensors() const {
    Tensors all;
    q.AddTo(&all, "q");
    k.AddTo(&all, "k");
    return all;
  }
  std::vector<float> numbers() const { return Joined(ToFloats(q.matrix()), ToFloats(k.matrix())); }

  QuantizedSample q, k;
};

struct Loaded {
  std::unique_ptr<PackedKernel> kernel;
  absl::Status status;
};

// q and k stacked into a kernel that may be quantized.
Loaded LoadStacked(Ops& ops, TensorStore& store) {
  WeightLoader load(ops, store, {});
  Loaded loaded;
  loaded.kernel = load.Kernel({"q", "k"}, {.outputs = kQ + kK, .inputs = kInputs, .low_precision = true}, {}, false);
  loaded.status = load.Finish();
  return loaded;
}

Quantization FormatOf(const CpuBackend& backend) {
  return std::string(backend.dtype) == "float8" ? Quantization::kFloat8 : Quantization::kNvfp4;
}

using QuantizedFile = CpuOpsFixture;

INSTANTIATE_TEST_SUITE_P(Cpu, QuantizedFile,
                         testing::Values(CpuBackend{"avx512_bf16", "float8"}, CpuBackend{"avx512_bf16", "nvfp4"},
                                         CpuBackend{"amx_emulated", "float8"}, CpuBackend{"amx_emulated", "nvfp4"}),
                         [](const auto& info) { return Name(info.param); });

TEST_P(QuantizedFile, IsMultipliedAsItIs) {
  const Quantization format = FormatOf(GetParam());
  const Pair pair(format);
  File file(pair.tensors());
  const Loaded loaded = LoadStacked(*ops_, file.store());
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;

  // The definition: the file's numbers times the rows, which lose nothing.
  const std::vector<float> weights = pair.numbers();
  const std::vector<float> rows = ExactRows(format, kRowCount, kInputs, 3);
  const auto reference = MakeReferenceOps();
  const std::vector<float> expected = Product(*reference, *PackFloats(*reference, weights, false), rows);
  EXPECT_LE(RowError(expected, Product(*ops_, *loaded.kernel, rows), kQ + kK), 2e-6);
  // The same numbers, rounded a second time.
  EXPECT_GE(RowError(expected, Product(*ops_, *PackFloats(*ops_, weights, true), rows), kQ + kK), 1e-3);
}

// The reference, whose packer says that it quantizes, and multiplies the numbers that a file's codes stand for.
class QuantizingPacker final : public ForwardedWeights {
 public:
  QuantizingPacker(WeightPacker& to, Quantization format) : ForwardedWeights(to), format_(format) {}
  Quantization quantization() const override { return format_; }
  std::unique_ptr<PackedKernel> PackQuantized(const KernelShape& shape, std::span<const QuantizedMatrix> weights,
                                              std::span<const HostTensor> biases) override {
    std::vector<float> numbers;
    for (const QuantizedMatrix& m : weights) numbers = Joined(numbers, ToFloats(m));
    const HostTensor tensor{numbers.data(), DType::kF32, {shape.outputs, shape.inputs}};
    return Pack(shape, {&tensor, 1}, biases);
  }

 private:
  const Quantization format_;
};

class QuantizedLoader : public testing::TestWithParam<Quantization> {
 protected:
  QuantizedLoader() : reference_(MakeReferenceOps()) {
    ForwardedOps::Parts parts = ForwardedParts(*reference_, hook_);
    parts.weights = std::make_unique<QuantizingPacker>(reference_->weights(), GetParam());
    ops_ = std::make_unique<ForwardedOps>(std::move(parts));
  }
  // Whether the product of what was loaded has the bytes of these numbers'.
  bool Multiplies(const PackedKernel& kernel, const std::vector<float>& numbers) {
    const std::vector<float> rows = Random(kRowCount * kInputs, 3);
    return SameBytes(Product(*reference_, *PackFloats(*reference_, numbers, false), rows),
                     Product(*ops_, kernel, rows));
  }

  OperationHook hook_;
  std::unique_ptr<Ops> reference_, ops_;
};

INSTANTIATE_TEST_SUITE_P(Formats, QuantizedLoader, testing::Values(Quantization::kFloat8, Quantization::kNvfp4),
                         [](const auto& info) { return std::string(Name(info.param)); });

TEST_P(QuantizedLoader, StacksWhatIsQuantizedAlike) {
  const Pair pair(GetParam());
  File file(pair.tensors());
  const Loaded loaded = LoadStacked(*ops_, file.store());
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;
  EXPECT_TRUE(loaded.kernel->shape().low_precision);
  EXPECT_TRUE(Multiplies(*loaded.kernel, pair.numbers()));
}

TEST_P(QuantizedLoader, KeepsWhatTheFileHasNotQuantized) {
  const std::vector<float> wide = Random(kK * kInputs, 5);
  const QuantizedSample q = MakeQuantizedSample(GetParam(), kQ, kInputs, 1);
  Tensors tensors;
  q.AddTo(&tensors, "q");
  tensors["k.weight"] = {wide.data(), DType::kF32, {kK, kInputs}};
  File file(tensors);
  const Loaded loaded = LoadStacked(*ops_, file.store());
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;
  EXPECT_FALSE(loaded.kernel->shape().low_precision);
  EXPECT_TRUE(Multiplies(*loaded.kernel, Joined(ToFloats(q.matrix()), wide)));
}

TEST_P(QuantizedLoader, QuantizesFilesThatAreNot) {
  const std::vector<float> q = Random(kQ * kInputs, 5), k = Random(kK * kInputs, 6);
  File file(
      {{"q.weight", {q.data(), DType::kF32, {kQ, kInputs}}}, {"k.weight", {k.data(), DType::kF32, {kK, kInputs}}}});
  const Loaded loaded = LoadStacked(*ops_, file.store());
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;
  EXPECT_TRUE(loaded.kernel->shape().low_precision);
}

// One kernel has one scale for the whole matrix.
TEST_P(QuantizedLoader, StacksNoUnequalTensorScales) {
  if (GetParam() != Quantization::kNvfp4) GTEST_SKIP() << "float8 has a scale for each row";
  const Pair pair(GetParam(), 0.5f, 0.25f);
  File file(pair.tensors());
  const Loaded loaded = LoadStacked(*ops_, file.store());
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;
  EXPECT_FALSE(loaded.kernel->shape().low_precision);
  EXPECT_TRUE(Multiplies(*loaded.kernel, pair.numbers()));
}

TEST_P(QuantizedLoader, RefusesAnotherFormatByName) {
  const Quantization other = GetParam() == Quantization::kFloat8 ? Quantization::kNvfp4 : Quantization::kFloat8;
  Tensors tensors;
  const QuantizedSample q = MakeQuantizedSample(other, kQ, kInputs, 1);
  q.AddTo(&tensors, "q");
  q.AddTo(&tensors, "k");
  File file(tensors);
  const absl::Status status = LoadStacked(*ops_, file.store()).status;
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("w.safetensors: tensor 'q.weight' is " + std::string(Name(other))));
}

TEST_P(QuantizedLoader, GivesNumbersToOtherKernels) {
  const QuantizedSample q = MakeQuantizedSample(GetParam(), kQ, kInputs, 1);
  Tensors tensors;
  q.AddTo(&tensors, "q");
  File file(tensors);
  WeightLoader load(*ops_, file.store(), {});
  const auto kernel = load.Linear({"q"}, kQ, kInputs, false);
  ASSERT_TRUE(load.Finish().ok()) << load.Finish();
  EXPECT_TRUE(Multiplies(*kernel, ToFloats(q.matrix())));
}

// Backends that do not quantize.
TEST(QuantizedFileAsNumbers, IsTheSameAsAFileOfThem) {
  const auto reference = MakeReferenceOps();
  for (const Quantization format : {Quantization::kFloat8, Quantization::kNvfp4}) {
    const Pair pair(format, 0.013f, 0.25f);
    File file(pair.tensors());
    const Loaded loaded = LoadStacked(*reference, file.store());
    ASSERT_TRUE(loaded.status.ok()) << loaded.status;
    const std::vector<float> rows = Random(kRowCount * kInputs, 3);
    const auto kernel = PackFloats(*reference, pair.numbers(), false);
    EXPECT_TRUE(SameBytes(Product(*reference, *kernel, rows), Product(*reference, *loaded.kernel, rows)));
  }
}

// By hand: e4m3 0x38 is 1, 0xc0 is -2; e2m1 0x7 is 6, 0x9 is -0.5.
TEST(QuantizedFileAsNumbers, IsCodeTimesScales) {
  const uint8_t e4m3[] = {0x38, 0xc0};
  EXPECT_THAT(ToFloats(QuantizedMatrix{
                  .format = Quantization::kFloat8, .rows = 2, .columns = 1, .codes = e4m3, .row_scales = {3.f, 0.25f}}),
              testing::ElementsAre(3.f, -0.5f));
  uint8_t e2m1[8] = {0x97};
  const uint8_t scale[] = {0xc0};
  const std::vector<float> nvfp4 = ToFloats(QuantizedMatrix{.format = Quantization::kNvfp4,
                                                            .rows = 1,
                                                            .columns = 16,
                                                            .codes = e2m1,
                                                            .block_scales = scale,
                                                            .tensor_scale = 10.f});
  EXPECT_EQ(nvfp4[0], -120.f);
  EXPECT_EQ(nvfp4[1], 10.f);
  EXPECT_EQ(nvfp4[2], 0.f);
}

TEST(QuantizedFileAsNumbers, OneScaleMayServeAllRows) {
  QuantizedSample q = MakeQuantizedSample(Quantization::kFloat8, 3, kInputs, 1);
  q.row_scales.assign(3, 0.5f);
  Tensors tensors;
  q.AddTo(&tensors, "q");
  tensors["q.weight_scale"].shape = {};
  File file(tensors);
  const auto matrix = ReadQuantized(file.store(), "q", {3, kInputs});
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  EXPECT_EQ(ToFloats(*matrix), ToFloats(q.matrix()));
}

TEST(QuantizedFileErrors, NameTheTensor) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), negative = -1.f;
  const QuantizedSample e4m3 = MakeQuantizedSample(Quantization::kFloat8, 4, kInputs, 1),
                        nvfp4 = MakeQuantizedSample(Quantization::kNvfp4, 4, kInputs, 1);
  std::vector<uint8_t> bad_scales = nvfp4.block_scales;
  bad_scales[2] = 0x7f;
  struct Case {
    const QuantizedSample& sample;
    std::string tensor;
    HostTensor replaced;
    std::vector<int64_t> dims;
    const char* error;
  };
  const Case cases[] = {
      {e4m3, "q.weight", {e4m3.codes.data(), DType::kU8, {4, kInputs}}, {4, kInputs}, "'q.weight' is uint8"},
      {e4m3,
       "q.weight",
       {e4m3.codes.data(), DType::kE4m3, {2, kInputs}},
       {4, kInputs},
       "'q.weight' is float8_e4m3 [2,"},
      {e4m3, "q.weight_scale", {e4m3.row_scales.data(), DType::kF32, {3}}, {4, kInputs}, "3 scales for 4 outputs"},
      {e4m3, "q.weight_scale", {&nan, DType::kF32, {}}, {4, kInputs}, "negative or not finite"},
      {e4m3, "q.weight_scale", {&negative, DType::kF32, {1}}, {4, kInputs}, "negative or not finite"},
      {e4m3, "q.weight_scale", {e4m3.codes.data(), DType::kU8, {4}}, {4, kInputs}, "a scale is float32"},
      {nvfp4, "q.weight", {nvfp4.codes.data(), DType::kE4m3, {4, kInputs / 2}}, {4, kInputs}, "uint8 [4,24] is needed"},
      {nvfp4, "q.weight_scale", {bad_scales.data(), DType::kE4m3, {4, 3}}, {4, kInputs}, "not finite"},
      {nvfp4, "q.weight_scale", {nvfp4.codes.data(), DType::kE4m3, {4, 2}}, {4, kInputs}, "[4,3] is needed"},
      {nvfp4, "q.weight_scale_2", {&nan, DType::kF32, {}}, {4, kInputs}, "'q.weight_scale_2' has a scale"},
      {nvfp4, "q.weight", {nvfp4.codes.data(), DType::kU8, {4, 20}}, {4, 40}, "no multiple of 16"},
  };
  for (const Case& c : cases) {
    Tensors tensors;
    c.sample.AddTo(&tensors, "q");
    tensors[c.tensor] = c.replaced;
    File file(tensors);
    const auto matrix = ReadQuantized(file.store(), "q", c.dims);
    EXPECT_TRUE(absl::IsInvalidArgument(matrix.status())) << c.error;
    EXPECT_THAT(std::string(matrix.status().message()), HasSubstr(c.error));
    EXPECT_THAT(std::string(matrix.status().message()), HasSubstr("w.safetensors: tensor 'q."));
  }
}

TEST(QuantizedFileErrors, Float8WithoutAScaleIsNoWeight) {
  const QuantizedSample q = MakeQuantizedSample(Quantization::kFloat8, 4, kInputs, 1);
  File file({{"q.weight", {q.codes.data(), DType::kE4m3, {4, kInputs}}}});
  const absl::Status status = file.store().Check("q.weight", {4, kInputs});
  EXPECT_THAT(std::string(status.message()), HasSubstr("'q.weight' has the type float8_e4m3, which is no weight's"));
}

TEST(QuantizedFileErrors, OtherFormatsAreRefusedByTheirNames) {
  const auto error = [](const char* config) {
    JsonConfig json("config.json", nlohmann::json{{"quantization_config", nlohmann::json::parse(config)}});
    CheckQuantizationConfig(json);
    return std::string(json.Finish().message());
  };
  EXPECT_EQ(error("null"), "");
  EXPECT_EQ(error(R"({"quant_method": "bfl", "compute_dtype": "bfloat16"})"), "");
  EXPECT_EQ(error(R"({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["proj_out"]})"), "");
  EXPECT_THAT(error(R"({"quant_method": "nunchaku_lite", "svdq_w4a4": {}})"),
              HasSubstr("config.json: field 'quantization_config' quant_method is \"nunchaku_lite\""));
  EXPECT_THAT(error(R"({"quant_method": "modelopt", "quant_algo": "INT4_AWQ"})"), HasSubstr("INT4_AWQ"));
  EXPECT_THAT(error(R"({"quant_method": "modelopt", "quant_type": "INT8"})"), HasSubstr("INT8"));
  EXPECT_THAT(error(R"({"quant_method": 4})"), HasSubstr("quant_method is 4"));
  EXPECT_THAT(error(R"({"bits": 4})"), HasSubstr("quant_method is missing"));
  EXPECT_THAT(error("[]"), HasSubstr("must be an object"));
}

}  // namespace
}  // namespace longtake
