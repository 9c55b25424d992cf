// Scratch of the cpu backend's operations: what is planned is what they use, they stay inside of it, and nothing that
// they compute depends on what it held before.
#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "engine/models/gemma2/gemma2.h"
#include "engine/models/sana/transformer.h"
#include "engine/models/video/load.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu_backends.h"
#include "tests/engine/ltx2_folder.h"
#include "tests/engine/ops_cases.h"
#include "tests/engine/tiny_gemma2.h"
#include "tests/engine/wan_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;

constexpr size_t kGuard = 4096;
constexpr auto kFill = std::byte{0xff};  // a float or a bf16 number of it is not a number

// Plans `run`, reserves what it needs and a guard behind, fills both, runs, and looks at the guard.
template <typename Run>
auto RunAsPlanned(const CpuStream& stream, Run&& run) {
  Scratch& scratch = stream.ops->scratch();
  cpu::Workspace& workspace = stream.context->workspace;
  scratch.Plan([&] { (void)run(*stream.ops); });
  const size_t planned = scratch.use().planned, pieces = workspace.planned();
  EXPECT_EQ(scratch.use().used, 0u);
  scratch.Plan([&] { cpu::Workspace::Scope(workspace).Take(pieces + kGuard); });
  EXPECT_TRUE(scratch.Reserve().ok());
  const std::span<std::byte> region = workspace.region();
  EXPECT_EQ(region.size(), pieces + kGuard);
  std::fill(region.begin(), region.end(), kFill);
  auto result = run(*stream.ops);
  EXPECT_EQ(scratch.use().used, planned);
  EXPECT_TRUE(std::all_of(region.begin() + pieces, region.end(), [](std::byte b) { return b == kFill; }));
  return result;
}

std::vector<CpuBackend> WithQuantized() {
  std::vector<CpuBackend> backends(kCpuBackends.begin(), kCpuBackends.end());
  backends.push_back({"avx512_vnni", "int8"});
  backends.push_back({"avx512_bf16", "int8"});
  backends.push_back({"amx_emulated", "int8"});
  backends.push_back({"avx512_bf16", "float8"});
  backends.push_back({"avx512_bf16", "nvfp4"});
  return backends;
}

class CpuScratchTest : public testing::TestWithParam<CpuBackend> {
 protected:
  void SetUp() override {
    if (Make(1).ops == nullptr) GTEST_SKIP() << "this machine lacks " << GetParam().isa;
  }
  CpuStream Make(int threads) const { return MakeCpuStream(GetParam(), threads); }
};

INSTANTIATE_TEST_SUITE_P(Cpu, CpuScratchTest, testing::ValuesIn(WithQuantized()),
                         [](const auto& info) { return Name(info.param); });

// A kernel that the backend may quantize, and more rows than the quantized product takes at a time.
OpsCase LowPrecisionCase() {
  return {"linear_low_precision", 3, [](Ops& ops, const Groups& groups) {
            constexpr int64_t kInputs = 48, kOutputs = 40;
            const auto rows = [](int group) { return 6 * RowsOf(group); };
            Bench bench(ops);
            const Mat x =
                bench.Act(Concatenate(groups, [&](int g) { return Random(rows(g) * kInputs, 1, g); }), kInputs);
            const Mat y = bench.EmptyAct(x.rows, kOutputs);
            const auto kernel = bench.Kernel({.outputs = kOutputs, .inputs = kInputs, .low_precision = true}, 2, true);
            ops.dense().Linear({.kernel = *kernel, .x = x, .y = y});
            return Cut(groups, bench.Read(y), [&](int g) { return rows(g) * kOutputs; });
          }};
}

TEST_P(CpuScratchTest, OperationsUseWhatIsPlanned) {
  std::vector<OpsCase> cases = AllCases();
  cases.push_back(LowPrecisionCase());
  for (const OpsCase& c : cases) {
    SCOPED_TRACE(c.name);
    const GroupResults expected = c.run(*Make(2).ops, AllGroups(c));
    for (const int threads : {1, 3}) {
      const GroupResults results = RunAsPlanned(Make(threads), [&](Ops& ops) { return c.run(ops, AllGroups(c)); });
      for (const auto& [group, values] : expected) EXPECT_TRUE(SameBytes(results.at(group), values)) << group;
    }
  }
}

// A block of one session that is denoised beside one of another that is committed, with a history.
std::vector<float> RunTransformer(Ops& ops, const SanaTransformer& model) {
  constexpr int kFrames = 2, kHeight = 4, kWidth = 6, kTokens = 5;
  const SanaConfig& config = model.config();
  const int64_t elements = int64_t{config.in_channels} * kFrames * kHeight * kWidth;
  const auto contribution_floats = static_cast<int64_t>(model.ContributionBytes() / sizeof(float));
  const int64_t tail = static_cast<int64_t>(model.TailBytes(kHeight, kWidth) / SizeOf(ops.activation_type()));
  Bench bench(ops);
  std::byte* const prompt = bench.Bytes(model.PromptBytes(kTokens));
  model.EncodePrompt(bench.Upload(Random(kTokens * config.caption_channels, 1), config.caption_channels, DType::kF32),
                     {}, bench.Bytes(model.PromptScratchBytes(kTokens)), prompt);
  const float* const history = bench.Floats(Random(contribution_floats, 2, 0, 0.1f, 1.f));
  const TransformerPass denoise = {.latents = bench.Floats(Random(elements, 3)),
                                   .frames = kFrames,
                                   .height = kHeight,
                                   .width = kWidth,
                                   .first_frame = 7,
                                   .timesteps = {700.f},
                                   .prompt = {prompt, kTokens},
                                   .history = {history, history},
                                   .tail = bench.Act(Random(tail, 4), tail).data,
                                   .velocity = bench.Floats(std::vector<float>(elements))};
  TransformerPass commit = denoise;
  commit.latents = bench.Floats(Random(elements, 5));
  commit.first_frame = 2;
  commit.timesteps = {0.f};
  commit.history = {};
  commit.tail = nullptr;
  commit.velocity = nullptr;
  commit.contribution_out = bench.Floats(std::vector<float>(contribution_floats));
  commit.tail_out = bench.Bytes(model.TailBytes(kHeight, kWidth));
  const TransformerPass passes[] = {denoise, commit};
  model.Forward(passes, bench.Bytes(model.ScratchBytes(2 * model.Tokens(kFrames, kHeight, kWidth), 2)));
  std::vector<float> results = bench.ReadFloats(denoise.velocity, elements);
  for (float v : bench.ReadFloats(commit.contribution_out, contribution_floats)) results.push_back(v);
  return results;
}

TEST_P(CpuScratchTest, ATransformerPassUsesWhatIsPlanned) {
  for (const char* folder : {"causal_window", "pass_patch2"}) {
    SCOPED_TRACE(folder);
    const auto run = [&](const CpuStream& stream, bool planned) {
      const auto model = SanaTransformer::Load(
          *stream.ops, std::string("tests/parity/data/models/") + folder + "/transformer", nullptr);
      EXPECT_TRUE(model.ok()) << model.status();
      const auto pass = [&](Ops& ops) { return RunTransformer(ops, **model); };
      return planned ? RunAsPlanned(stream, pass) : pass(*stream.ops);
    };
    EXPECT_TRUE(SameBytes(run(Make(3), true), run(Make(2), false)));
  }
}

// Decodes a clip of two latent frames of 4x6: the first one, a later one, and what was held back.
std::vector<float> RunDecoder(Ops& ops, const VideoDecoder& model) {
  const std::unique_ptr<SizedVideoDecoder> decoder = model.ForLatents(4, 6);
  Bench bench(ops);
  const float* const latents = bench.Floats(Random(model.geometry().channels * 2 * 4 * 6, 1));
  std::byte* const scratch = bench.Bytes(decoder->scratch_bytes());
  VideoStream decoded{.caches = bench.Bytes(decoder->cache_bytes())};
  std::vector<float> pixels;
  const auto add = [&](const VideoFrame& frame) {
    const auto* values = static_cast<const float*>(frame.pixels.data);
    pixels.insert(pixels.end(), values, values + frame.pixels.rows * frame.pixels.cols);
  };
  for (int64_t t = 0; t < 2; ++t) decoder->Decode(latents, 2, t, &decoded, scratch, add);
  while (decoder->Drain(&decoded, scratch, add)) {
  }
  return pixels;
}

TEST_P(CpuScratchTest, ADecoderPassUsesWhatIsPlanned) {
  const WanFolder wan(2);
  const Ltx2Folder ltx2(Ltx2Kind::kLtx2), causal(Ltx2Kind::kCausal);
  for (const std::string& folder : {wan.Write(), ltx2.Write(), causal.Write()}) {
    const auto run = [&](const CpuStream& stream, bool planned) {
      const auto vae = LoadVideoVae(folder, {.decoder = true}, stream.ops.get());
      EXPECT_TRUE(vae.ok()) << vae.status();
      const auto pass = [&](Ops& ops) { return RunDecoder(ops, *vae->decoder); };
      return planned ? RunAsPlanned(stream, pass) : pass(*stream.ops);
    };
    EXPECT_TRUE(SameBytes(run(Make(3), true), run(Make(2), false)));
  }
}

TEST_P(CpuScratchTest, ATextPassUsesWhatIsPlanned) {
  const TempFolder folder;
  const auto config = TinyGemma2Config();
  const std::string path = WriteTinyGemma2(folder, "text_encoder", config, TinyGemma2Weights(config, ""));
  const auto run = [&](const CpuStream& stream, bool planned) {
    const auto model = Gemma2::Load(*stream.ops, path, nullptr);
    EXPECT_TRUE(model.ok()) << model.status();
    const auto pass = [&](Ops& ops) {
      const std::vector<int32_t> long_ids(70, 17), short_ids = {2, 90, 4};
      const TextSequence sequences[] = {{.ids = long_ids, .length = 66}, {.ids = short_ids, .length = 3}};
      const int64_t rows = 73, width = (*model)->config().width;
      Bench bench(ops);
      const Mat out = bench.Empty(rows, width, DType::kF32);
      EXPECT_TRUE((*model)->Forward(sequences, bench.Bytes((*model)->ScratchBytes(rows)), out).ok());
      return bench.Read(out);
    };
    return planned ? RunAsPlanned(stream, pass) : pass(*stream.ops);
  };
  EXPECT_TRUE(SameBytes(run(Make(3), true), run(Make(2), false)));
}

// Smaller calls after larger ones, and larger after smaller, give the same bytes where nothing is reserved.
TEST_P(CpuScratchTest, GrowsWithoutAReservation) {
  const CpuStream stream = Make(2);
  size_t used = 0;
  for (const OpsCase& c : AllCases()) {
    SCOPED_TRACE(c.name);
    const GroupResults first = c.run(*stream.ops, AllGroups(c)), again = c.run(*stream.ops, AllGroups(c));
    for (const auto& [group, values] : first) EXPECT_TRUE(SameBytes(again.at(group), values)) << group;
    EXPECT_GE(stream.ops->scratch().use().used, used);
    used = stream.ops->scratch().use().used;
  }
  EXPECT_GT(used, 0u);
  EXPECT_EQ(stream.ops->scratch().use().planned, 0u);
}

// One linear attention over `frames` frames of 2x3 tokens from `first_frame` on.
void AttendLinear(Ops& ops, int frames, int first_frame) {
  constexpr int kHead = 16;
  Bench bench(ops);
  LinearAttentionSegment segment;
  segment.tokens = {.frames = frames, .height = 2, .width = 3, .first_frame = first_frame};
  const int64_t rows = segment.tokens.rows();
  ops.attention().LinearAttention({.qkv = bench.EmptyAct(rows, 3 * kHead),
                                   .heads = 1,
                                   .head_dim = kHead,
                                   .segments = {&segment, 1},
                                   .out = bench.EmptyAct(rows, kHead)});
}

// Tables of rotary positions are as long as the last position, whatever the model claims to know.
TEST_P(CpuScratchTest, RotaryTablesAreAsLongAsNeeded) {
  const CpuStream stream = Make(1);
  stream.ops->scratch().Plan([&] { AttendLinear(*stream.ops, 2, 98); });
  // A head of 16 has axes of 8, 4 and 4: 100 positions in time; 3 of the grid's larger side. Cosines and sines.
  EXPECT_EQ(stream.context->rotary.planned(), 2 * sizeof(float) * (100 * 8 + 3 * 4));
  ASSERT_TRUE(stream.ops->scratch().Reserve().ok());
  AttendLinear(*stream.ops, 2, 0);
  EXPECT_EQ(stream.context->rotary.used(), 2 * sizeof(float) * (2 * 8 + 3 * 4));
  AttendLinear(*stream.ops, 2, 98);
  EXPECT_EQ(stream.context->rotary.used(), stream.context->rotary.planned());
}

using CpuScratchDeathTest = CpuScratchTest;
INSTANTIATE_TEST_SUITE_P(Cpu, CpuScratchDeathTest, testing::Values(CpuBackend{"avx2", "float32"}),
                         [](const auto& info) { return Name(info.param); });

TEST_P(CpuScratchDeathTest, MoreThanPlannedIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const CpuStream stream = Make(1);
  stream.ops->scratch().Plan([&] { AttendLinear(*stream.ops, 2, 4); });
  ASSERT_TRUE(stream.ops->scratch().Reserve().ok());
  AttendLinear(*stream.ops, 2, 4);
  EXPECT_DEATH(AttendLinear(*stream.ops, 5, 0), "no more than was planned");
  EXPECT_DEATH(AttendLinear(*stream.ops, 1, 9), "rotary positions");
}

TEST_P(CpuScratchDeathTest, AShortageIsAnError) {
  const CpuStream stream = Make(1);
  stream.ops->scratch().Plan([&] {
    const Mat nothing = MakeMat(static_cast<void*>(nullptr), stream.ops->activation_type(), int64_t{1} << 46, 3 * 16);
    LinearAttentionSegment segment;
    stream.ops->attention().LinearAttention(
        {.qkv = nothing, .heads = 1, .head_dim = 16, .segments = {&segment, 1}, .out = nothing.Cols(0, 16)});
  });
  const absl::Status status = stream.ops->scratch().Reserve();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("scratch"));
}

}  // namespace
}  // namespace longtake
