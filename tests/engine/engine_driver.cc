#include "tests/engine/engine_driver.h"

#include <array>
#include <optional>

#include "gtest/gtest.h"

namespace longtake {
namespace {

struct Running {
  SessionId id = 0;
  bool open = false, ended = false, prompted = false, switched = false;
};

// The next pass of a session, decodes before anything else; none when it is done.
std::optional<Pass> NextPass(const Job& job, const SessionProgress& at, const ModelInfo& model, Running& r) {
  const auto pass = [&](PassKind kind, const std::string& prompt = "") {
    return Pass{.kind = kind, .session = r.id, .prompt = prompt};
  };
  if (!r.prompted) {
    r.prompted = true;
    return pass(PassKind::kEncodePrompt, job.prompt);
  }
  if (at.decoded_latents < at.committed_frames) return pass(PassKind::kDecode);
  if (at.block == at.blocks) return std::nullopt;
  if (job.switch_block > 0 && at.block == job.switch_block && at.step == 0 && !r.switched) {
    r.switched = true;
    return pass(PassKind::kEncodePrompt, job.next_prompt);
  }
  return pass(at.step < model.denoise_steps ? PassKind::kDenoise : PassKind::kCommit);
}

}  // namespace

PassResult RunPass(Engine& engine, Pass pass) {
  PassResult out;
  Countdown left(1);
  const Lane lane = LaneOf(pass.kind);
  engine.Submit(lane, {std::move(pass)}, [&](size_t, PassResult result) {
    out = std::move(result);
    left.Done();
  });
  left.Wait();
  return out;
}

std::vector<Made> RunJobs(Engine& engine, const std::vector<Job>& jobs, double activity, uint32_t mix_seed) {
  std::mt19937 random(mix_seed);
  std::uniform_real_distribution<double> chance(0, 1);
  std::vector<Running> running(jobs.size());
  std::vector<Made> made(jobs.size());
  for (int tick = 0;; ++tick) {
    std::array<std::vector<Pass>, 2> batches;  // by lane
    std::array<std::vector<size_t>, 2> owners;
    bool all_ended = true;
    for (size_t i = 0; i < jobs.size(); ++i) {
      Running& r = running[i];
      if (r.open && !r.ended && tick == jobs[i].abandon_tick) {
        engine.CloseSession(r.id);
        r.ended = true;
      }
      if (!r.open && tick >= jobs[i].join_tick) {
        const absl::StatusOr<SessionId> id = engine.OpenSession(jobs[i].spec);
        EXPECT_TRUE(id.ok()) << id.status();
        if (!id.ok()) return made;
        r.id = *id;
        r.open = true;
      }
      all_ended = all_ended && r.ended;
      if (!r.open || r.ended || chance(random) >= activity) continue;
      const std::optional<Pass> pass = NextPass(jobs[i], *engine.progress(r.id), engine.model(), r);
      if (!pass.has_value()) {
        engine.CloseSession(r.id);
        r.ended = true;
        continue;
      }
      const auto lane = static_cast<size_t>(LaneOf(pass->kind));
      batches[lane].push_back(*pass);
      owners[lane].push_back(i);
    }
    if (all_ended) return made;
    Countdown left(static_cast<int>(batches[0].size() + batches[1].size()));
    for (const Lane lane : {Lane::kDecoder, Lane::kTransformer}) {
      const auto l = static_cast<size_t>(lane);
      if (batches[l].empty()) continue;
      engine.Submit(lane, std::move(batches[l]), [&, l](size_t index, PassResult result) {
        EXPECT_TRUE(result.status.ok()) << result.status;
        Made& m = made[owners[l][index]];
        EXPECT_TRUE(result.frames.count == 0 || result.frames.first_frame == m.frames);
        m.frames += result.frames.count;
        m.bytes.insert(m.bytes.end(), result.frames.bytes.begin(), result.frames.bytes.end());
        left.Done();
      });
    }
    left.Wait();
  }
}

}  // namespace longtake
