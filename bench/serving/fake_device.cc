#include "bench/serving/fake_device.h"

#include <utility>

namespace longtake::bench {
namespace {

// A GPU with the 2B model at 832x480 and bfloat16, 1560 tokens a latent frame: 3.69 GFLOP a token and pass,
// decoding 3.4 TFLOP a frame of which a latent frame has 4; at 40 % of 989 TFLOP/s. Fixed: 4.1 GB of weights once. Four
// steps, blocks of ten latent frames.
CostTable Gpu2b(std::string name, double bytes_a_second, int places) {
  constexpr double kFlops = 0.4 * 989e12;
  return {.name = std::move(name),
          .fixed = 4.1e9 / bytes_a_second,
          .text = 0.01,
          .denoise = 1560 * 3.69e9 / kFlops,
          .commit = 1560 * 3.69e9 / kFlops,
          .decode = 4 * 3.4e12 / kFlops,
          .steps = 4,
          .block_latents = 10,
          .block_video_seconds = 2.5,
          .places = places};
}

const CostTable kTables[] = {
    // The bundled model at 256x160: longtake-pass-times --rounds 8 on 2 cores of an EPYC (Zen 5), nothing else running.
    // Denoising one block took 2.35 ms, of 2 sessions 3.78, of 8 15.2; commits the same; one latent frame decoded
    // 14.5 ms, of 2 sessions 29.8, of 8 120: nothing is shared there.
    {.name = "cpu_tiny",
     .fixed = 0.0004,
     .text = 0.00018,
     .denoise = 0.00046,
     .commit = 0.00046,
     .decode = 0.015,
     .steps = 8,
     .block_latents = 4,
     .block_video_seconds = 1,
     .places = 64},
    // Places: 80 and 141 GB less weights and scratch, at 2.3 GB a session.
    Gpu2b("h100_2b", 3.35e12, 30),
    Gpu2b("h200_2b", 4.8e12, 56),
};

}  // namespace

const CostTable* FindTable(const std::string& name) {
  for (const CostTable& table : kTables) {
    if (table.name == name) return &table;
  }
  return nullptr;
}

void FakeDevice::Submit(scheduler::LaneId /*lane*/, std::vector<scheduler::Pass> passes, PassDone done) {
  double seconds = table_.fixed;
  std::vector<double> shares;
  for (const scheduler::Pass& pass : passes) {
    const Job& job = jobs_[Number(pass.session)];
    double share = 0;
    switch (pass.kind) {
      case PassKind::kEncodePrompt:
        share = table_.text;
        break;
      case PassKind::kDenoise:
        share = job.scale * job.block_latents * table_.denoise;
        break;
      case PassKind::kCommit:
        share = job.scale * job.block_latents * table_.commit;
        break;
      case PassKind::kDecode:
        share = job.scale * table_.decode;
        break;
      case PassKind::kSave:
      case PassKind::kRestore:
        break;  // are not planned
    }
    shares.push_back(share + table_.fixed / static_cast<double>(passes.size()));
    seconds += share;
  }
  busy_ += seconds;
  ++batches_;
  passes_ += passes.size();
  free_at_ = std::max(free_at_, loop_->now()) + seconds;
  loop_->At(free_at_, [shares = std::move(shares), done = std::move(done)] {
    for (size_t i = 0; i < shares.size(); ++i) done(i, {absl::OkStatus(), shares[i]});
  });
}

}  // namespace longtake::bench
