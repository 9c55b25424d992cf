// Passes as CUDA graphs, in the emulation: bytes equal those of the same passes launched as they are, whatever other
// sessions and timesteps a graph was captured with.
#include "engine/cuda/graphs.h"

#include <cstring>
#include <memory>
#include <vector>

#include "engine/cuda/context.h"
#include "engine/cuda/cuda_ops.h"
#include "engine/cuda/warp.h"
#include "engine/models/sana/transformer.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulation/settings.h"

namespace longtake {
namespace {

// ---- The cache of graphs --------------------------------------------------------------------------------------------

__global__ void AddKernel(const float* table, float factor, float* sum) { *sum += factor * table[threadIdx.x]; }

class PassGraphsTest : public testing::Test {
 protected:
  void SetUp() override {
    emulation::Set({});
    context_ = *cuda::Context::Create(0, /*urgent=*/false, /*graphs=*/true);
    sum_ = *cuda::AllocateDevice(sizeof(float));
    cudaMemsetAsync(sum_.get(), 0, sizeof(float), context_->stream());
  }
  // A pass that adds factor * number, which is in a table.
  void Run(cuda::PassGraphs& graphs, float number, float factor, int64_t numbers = 1) {
    graphs.Run([&] {
      const float* table = context_->staging().Put(std::vector<float>(numbers, number));
      context_->launcher().Launch("add", {dim3(1), dim3(1)}, AddKernel, table, factor, static_cast<float*>(sum_.get()));
    });
  }
  float Sum() {
    float sum = 0;
    cudaMemcpyAsync(&sum, sum_.get(), sizeof sum, cudaMemcpyDeviceToHost, context_->stream());
    EXPECT_TRUE(context_->Synchronize().ok());
    return sum;
  }
  std::unique_ptr<cuda::Context> context_;
  cuda::DeviceMemory sum_;
};

TEST_F(PassGraphsTest, ReplayWithNewTables) {
  cuda::PassGraphs graphs(context_->launcher(), context_->staging(), 4);
  float expected = 0;
  for (int i = 1; i <= 5; ++i) {
    Run(graphs, static_cast<float>(i), 1.f);
    expected += static_cast<float>(i);
  }
  EXPECT_EQ(Sum(), expected);
  EXPECT_EQ(graphs.counts().captured, 1u);
  EXPECT_EQ(graphs.counts().replayed, 3u);
  Run(graphs, 1.f, 2.f);     // another argument is another graph
  Run(graphs, 1.f, 1.f, 2);  // a longer table alone is not
  EXPECT_EQ(Sum(), expected + 3);
  EXPECT_EQ(graphs.counts().captured, 1u);
  EXPECT_EQ(graphs.counts().replayed, 4u);
}

TEST_F(PassGraphsTest, AreFewAndTheOldestGoes) {
  cuda::PassGraphs graphs(context_->launcher(), context_->staging(), 2);
  for (int round = 0; round < 3; ++round) Run(graphs, 1.f, 1.f);  // captured and once replayed
  for (int round = 0; round < 2; ++round) Run(graphs, 1.f, 2.f);  // captured
  EXPECT_EQ(graphs.counts().evicted, 0u);
  Run(graphs, 1.f, 3.f);  // the first makes room
  EXPECT_EQ(graphs.counts().evicted, 1u);
  Run(graphs, 1.f, 2.f);
  EXPECT_EQ(graphs.counts().replayed, 2u);
  Run(graphs, 1.f, 1.f);  // seen anew
  EXPECT_EQ(graphs.counts().captured, 2u);
  EXPECT_EQ(Sum(), 3 + 4 + 3 + 2 + 1);
}

TEST_F(PassGraphsTest, TooManyTablesAreLaunchedAsTheyAre) {
  cuda::PassGraphs graphs(context_->launcher(), context_->staging(), 2);
  const auto pass = [&] {
    graphs.Run([&] {
      for (int i = 0; i < 3; ++i) {
        const float* table = context_->staging().Put(std::vector<float>(size_t{1} << 18, 1.f));
        context_->launcher().Launch("add", {dim3(1), dim3(1)}, AddKernel, table, 1.f, static_cast<float*>(sum_.get()));
      }
    });
  };
  for (int round = 0; round < 3; ++round) pass();
  EXPECT_EQ(graphs.counts().too_large, 3u);
  EXPECT_EQ(Sum(), 9.f);
}

// Each pass is launched as it is, and the stream goes on.
TEST_F(PassGraphsTest, ARefusedCaptureLosesNothing) {
  cuda::PassGraphs graphs(context_->launcher(), context_->staging(), 2);
  emulation::Set({.invalidates_captures = true});
  for (int round = 1; round <= 4; ++round) Run(graphs, static_cast<float>(round), 1.f);
  emulation::Set({});
  EXPECT_EQ(Sum(), 1 + 2 + 3 + 4);
  EXPECT_EQ(graphs.counts().refused, 1u);  // asked for once
  EXPECT_EQ(graphs.counts().captured, 0u);
  for (int round = 0; round < 3; ++round) Run(graphs, 1.f, 2.f);
  EXPECT_EQ(Sum(), 10 + 6);
  EXPECT_EQ(graphs.counts().replayed, 1u);
}

TEST(PaddedCount, IsMonotonousAndNear) {
  for (int64_t n = 1; n < 5000; ++n) {
    EXPECT_GE(cuda::PaddedCount(n), n);
    EXPECT_LE(cuda::PaddedCount(n), std::max<int64_t>(n + n / 4, (n + 127) / 128 * 128));
    EXPECT_LE(cuda::PaddedCount(n), cuda::PaddedCount(n + 1));
    EXPECT_EQ(cuda::PaddedCount(cuda::PaddedCount(n)), cuda::PaddedCount(n));
  }
}

// ---- The transformer's passes ---------------------------------------------------------------------------------------

constexpr int kHeight = 4, kWidth = 4, kPromptTokens = 5, kMostPasses = 12;

// What a session brings and takes, filled with numbers that its seed decides.
struct Memory {
  std::unique_ptr<Buffer> latents, history, tail, prompt, velocity, contribution, tail_out;
};

class Passes {
 public:
  explicit Passes(bool graphs) : ops_(*MakeCudaOps({.graphs = graphs})) {
    auto loaded = SanaTransformer::Load(*ops_, "models/longtake-tiny/transformer", nullptr);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    transformer_ = *std::move(loaded);
    scratch_ = ops_->device().Allocate(transformer_->ScratchBytes(kMostPasses * Tokens(2), kMostPasses));
    std::vector<Request> most(kMostPasses, Request{.frames = 2});
    ops_->scratch().Plan([&] { Forward(most); });
    made_.clear();
    EXPECT_TRUE(ops_->scratch().Reserve().ok());
  }

  struct Request {
    uint64_t seed = 0;
    int frames = 1;
    float timestep = 0;
    int histories = 1;
    bool commit = false;
  };
  // Everything that the passes wrote.
  std::vector<std::vector<float>> Run(const std::vector<Request>& requests) {
    made_.clear();
    Forward(requests);
    std::vector<std::vector<float>> results;
    for (const Memory& m : made_) {
      for (Buffer* b : {m.velocity.get(), m.contribution.get(), m.tail_out.get()}) {
        std::vector<float>& values = results.emplace_back(b->size() / sizeof(float));
        ops_->device().Download(b->data(), values.data(), b->size());
      }
    }
    EXPECT_TRUE(ops_->device().Synchronize().ok()) << ops_->device().Synchronize();
    return results;
  }

 private:
  int64_t Tokens(int frames) const { return transformer_->Tokens(frames, kHeight, kWidth); }

  std::unique_ptr<Buffer> Normal(size_t bytes, uint64_t seed, uint32_t what, DType type = DType::kF32) {
    const auto n = static_cast<int64_t>(bytes / SizeOf(type));
    auto buffer = ops_->device().Allocate(n * SizeOf(type)), floats = ops_->device().Allocate(n * sizeof(float));
    ops_->sampler().FillNormal({.seed = seed, .block = what}, n, floats->f32());
    ops_->elementwise().Convert(MakeMat(floats->data(), DType::kF32, 1, n), MakeMat(buffer->data(), type, 1, n));
    EXPECT_TRUE(ops_->device().Synchronize().ok());
    return buffer;
  }

  void Forward(const std::vector<Request>& requests) {
    std::vector<TransformerPass> passes;
    for (const Request& r : requests) {
      const size_t latents = transformer_->config().in_channels * r.frames * kHeight * kWidth * sizeof(float);
      Memory& m = made_.emplace_back();
      m.latents = Normal(latents, r.seed, 0);
      m.history = Normal(transformer_->ContributionBytes(), r.seed, 1);
      m.tail = Normal(transformer_->TailBytes(kHeight, kWidth), r.seed, 2, DType::kBF16);
      m.prompt = Normal(transformer_->PromptBytes(kPromptTokens), r.seed, 3, DType::kBF16);
      m.velocity = ops_->device().Allocate(latents);
      m.contribution = ops_->device().Allocate(m.history->size());
      m.tail_out = ops_->device().Allocate(m.tail->size());
      TransformerPass& pass = passes.emplace_back();
      pass.latents = m.latents->f32();
      pass.frames = r.frames;
      pass.height = kHeight;
      pass.width = kWidth;
      pass.first_frame = static_cast<int>(r.seed);
      pass.timesteps = {r.timestep};
      pass.prompt = {static_cast<const std::byte*>(m.prompt->data()), kPromptTokens};
      pass.history.assign(r.histories, m.history->f32());
      if (r.histories > 0) pass.tail = m.tail->data();
      if (r.commit) {
        pass.contribution_out = m.contribution->f32();
        pass.store_sum = true;
        pass.tail_out = m.tail_out->data();
      } else {
        pass.velocity = m.velocity->f32();
      }
    }
    transformer_->Forward(passes, scratch_->data());
  }

  std::unique_ptr<Ops> ops_;
  std::unique_ptr<SanaTransformer> transformer_;
  std::unique_ptr<Buffer> scratch_;
  std::vector<Memory> made_;
};

class GraphsTest : public testing::Test {
 protected:
  GraphsTest() : plain_(false), graphs_(true) { emulation::Set({}); }

  // Graphs made and launched by the pass.
  struct Counts {
    uint64_t made, launched;
    friend bool operator==(const Counts&, const Counts&) = default;
  };
  Counts ExpectEqual(const std::vector<Passes::Request>& requests) {
    const auto expected = plain_.Run(requests);
    const emulation::Counts before = emulation::GetCounts();
    const auto actual = graphs_.Run(requests);
    const emulation::Counts after = emulation::GetCounts();
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(std::memcmp(expected[i].data(), actual[i].data(), expected[i].size() * sizeof(float)), 0)
          << "pass " << i / 3
          << (i % 3 == 0   ? ", velocity"
              : i % 3 == 1 ? ", contribution"
                           : ", tail");
    }
    return {after.graphs - before.graphs, after.graph_launches - before.graph_launches};
  }
  Passes plain_, graphs_;
};

TEST_F(GraphsTest, OtherSessionsAndTimestepsReplay) {
  EXPECT_EQ(ExpectEqual({{.seed = 1, .timestep = 1000}, {.seed = 2, .timestep = 500}}), (Counts{0, 0}));
  EXPECT_EQ(ExpectEqual({{.seed = 3, .timestep = 500}, {.seed = 4, .timestep = 1000}}), (Counts{1, 1}));
  EXPECT_EQ(ExpectEqual({{.seed = 5, .timestep = 260}, {.seed = 1, .timestep = 910}}), (Counts{0, 1}));
  // Neither has a history: a session's first block.
  EXPECT_EQ(ExpectEqual({{.seed = 6, .histories = 0}, {.seed = 7, .histories = 0}}), (Counts{0, 1}));
}

TEST_F(GraphsTest, CommitsReplayIntoOtherStates) {
  EXPECT_EQ(ExpectEqual({{.seed = 1, .commit = true}, {.seed = 2, .timestep = 500}}), (Counts{0, 0}));
  EXPECT_EQ(ExpectEqual({{.seed = 3, .commit = true}, {.seed = 4, .timestep = 500}}), (Counts{1, 1}));
  EXPECT_EQ(ExpectEqual({{.seed = 5, .commit = true}, {.seed = 6, .timestep = 910}}), (Counts{0, 1}));
  // The same, in other places.
  EXPECT_EQ(ExpectEqual({{.seed = 6, .timestep = 910}, {.seed = 5, .commit = true}}), (Counts{0, 1}));
}

// Nine sessions of one frame, ten of one, eight of which one has two: all are padded alike.
TEST_F(GraphsTest, OtherCompositionsOfOnePaddedSizeReplay) {
  std::vector<Passes::Request> nine(9), ten(10);
  for (size_t i = 0; i < 10; ++i) ten[i] = {.seed = i, .timestep = static_cast<float>(100 * i)};
  for (size_t i = 0; i < 9; ++i) nine[i] = {.seed = 20 + i, .timestep = static_cast<float>(90 * i)};
  EXPECT_EQ(ExpectEqual(ten), (Counts{0, 0}));
  EXPECT_EQ(ExpectEqual(nine), (Counts{1, 1}));
  nine[3].frames = 2;
  EXPECT_EQ(ExpectEqual(nine), (Counts{0, 1}));
  EXPECT_EQ(ExpectEqual(ten), (Counts{0, 1}));
}

// Copies of any length and alignment.
TEST(CopyEach, CopiesEveryPart) {
  emulation::Set({});
  const auto ops = *MakeCudaOps({});
  std::vector<uint8_t> from(100000), expected(100000), actual(100000);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i * 31 >> 3);
  const auto source = ops->device().Allocate(from.size()), target = ops->device().Allocate(from.size());
  ops->device().Upload(from.data(), source->data(), from.size());
  const auto at = [](Buffer& b, size_t offset) { return static_cast<std::byte*>(b.data()) + offset; };
  std::vector<CopyPart> parts;
  for (const auto& [offset, bytes] : {std::pair<size_t, size_t>{0, 16384}, {16384, 40000}, {57001, 33}, {60000, 2}}) {
    parts.push_back({at(*source, offset + 7), at(*target, offset), bytes});
    std::memcpy(&expected[offset], &from[offset + 7], bytes);
  }
  parts[0].from = source->data();
  std::memcpy(&expected[0], &from[0], 16384);
  ops->device().CopyEach(parts);
  ops->device().CopyEach({});
  ops->device().Download(target->data(), actual.data(), actual.size());
  EXPECT_TRUE(ops->device().Synchronize().ok());
  EXPECT_EQ(actual, expected);
}

}  // namespace
}  // namespace longtake
