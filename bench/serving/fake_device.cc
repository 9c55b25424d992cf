#include "bench/serving/fake_device.h"

#include <memory>
#include <utility>

namespace longtake::bench {
namespace {

using scheduler::PassKind;

// GPUs: the 2B model at 832x480 and bfloat16, 1560 tokens a latent frame: 3.69 GFLOP a token and pass, decoding 3.4
// TFLOP a frame of which a latent frame has 4; at 40 % of 989 TFLOP/s. Fixed: 4.1 GB of weights once at 3.35 (H100)
// and 4.8 TB/s (H200); places: 80 and 141 GB less weights and scratch, at 2.3 GB a session. Four steps, blocks of ten
// latent frames.
constexpr double kFlops = 0.4 * 989e12;
const CostTable kTables[] = {
    // The bundled model at 256x160 through longtake-bench, 2 cores of an EPYC (Zen 5) which others used too (load 8):
    // the
    // fastest rounds. A block of 4 latent frames took 19.7 ms, one of 1 latent frame 1.2 ms, text 0.6 ms. Decoding is
    // not in it:
    // in the server's metrics of one 8 s video a latent frame took 3.0 times a denoising pass (0.360 and 0.119 s, load
    // 6).
    {.name = "cpu_tiny",
     .fixed = 0.0006,
     .text = 0.0006,
     .denoise = 0.0048,
     .decode = 0.059,
     .steps = 8,
     .block_latents = 4,
     .block_video_seconds = 1,
     .places = 32},
    {.name = "h100_2b",
     .fixed = 4.1e9 / 3.35e12,
     .text = 0.01,
     .denoise = 1560 * 3.69e9 / kFlops,
     .decode = 4 * 3.4e12 / kFlops,
     .steps = 4,
     .block_latents = 10,
     .block_video_seconds = 2.5,
     .places = 30},
    {.name = "h200_2b",
     .fixed = 4.1e9 / 4.8e12,
     .text = 0.01,
     .denoise = 1560 * 3.69e9 / kFlops,
     .decode = 4 * 3.4e12 / kFlops,
     .steps = 4,
     .block_latents = 10,
     .block_video_seconds = 2.5,
     .places = 56},
};

}  // namespace

const CostTable* FindTable(const std::string& name) {
  for (const CostTable& table : kTables) {
    if (table.name == name) return &table;
  }
  return nullptr;
}

void FakeDevice::Submit(std::vector<scheduler::Pass> passes, std::function<void(size_t, scheduler::PassOutcome)> done) {
  auto shares = std::make_shared<std::vector<double>>();
  double seconds = table_.fixed;
  for (const scheduler::Pass& pass : passes) {
    Job& job = jobs_.at(pass.session);
    double share = 0;
    switch (pass.kind) {
      case PassKind::kEncodePrompt:
        share = table_.text;
        break;
      case PassKind::kDenoise:
        share = job.scale * job.block_latents[job.block] * table_.denoise;
        break;
      case PassKind::kCommit:
        share = job.scale * job.block_latents[job.block++] * table_.denoise;
        break;
      case PassKind::kDecode:
        share = job.scale * table_.decode;
        break;
    }
    shares->push_back(share + table_.fixed / static_cast<double>(passes.size()));
    seconds += share;
  }
  under_way_ = true;
  busy_ += seconds;
  ++batches_;
  passes_ += passes.size();
  loop_->At(loop_->now() + seconds, [this, shares, done = std::move(done)] {
    under_way_ = false;  // the last completion submits the next batch
    for (size_t i = 0; i < shares->size(); ++i) done(i, {absl::OkStatus(), (*shares)[i]});
  });
}

}  // namespace longtake::bench
