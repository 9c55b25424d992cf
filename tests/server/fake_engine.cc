#include "tests/server/fake_engine.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace longtake {

ModelInfo FakeModel() {
  ModelInfo model;
  model.name = "fake";
  model.numerics_id = "fake-1";
  model.sampler = "few_step";
  model.sizes = {{64, 48}, {96, 64}};
  model.frame_tokens = {12, 24};
  model.block_latent_frames = 2;
  model.denoise_steps = 3;
  model.max_latent_frames = 41;
  model.switches_prompt = true;
  model.about = "Frames of one colour; each prompt has its own.";
  model.examples = {"a red ball", "night falls"};
  return model;
}

FakeEngine::FakeEngine(FakeEngineOptions options) : options_(std::move(options)), thread_([this] { Loop(); }) {}

FakeEngine::~FakeEngine() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  submitted_.NotifyOne();
  thread_.join();
}

std::vector<MemoryRegion> FakeEngine::memory() const {
  const MutexLock lock(mutex_);
  const uint64_t slot = 1000;
  return {{.name = "weights", .planned_bytes = 5000, .used_bytes = 5000},
          {.name = "state",
           .planned_bytes = slot * options_.max_sessions,
           .used_bytes = slot * sessions_.size(),
           .slots = options_.max_sessions,
           .slots_used = static_cast<int>(sessions_.size())}};
}

std::vector<int> FakeEngine::BlockLengths(int latent_frames, bool /*first_image*/) const {
  const int block = options_.model.block_latent_frames;
  if (block == 0 || latent_frames < block) return {latent_frames};
  std::vector<int> lengths(latent_frames / block, block);
  lengths[0] += latent_frames % block;
  return lengths;
}

absl::StatusOr<SessionId> FakeEngine::OpenSession(const SessionSpec& spec) {
  if (options_.fail_open) {
    if (absl::Status status = options_.fail_open(); !status.ok()) return status;
  }
  const MutexLock lock(mutex_);
  if (static_cast<int>(sessions_.size()) >= options_.max_sessions) return absl::ResourceExhaustedError("no free slot");
  Session session;
  session.blocks = BlockLengths(spec.latent_frames, spec.first_image != nullptr);
  session.progress.spec = spec;
  session.progress.blocks = static_cast<int>(session.blocks.size());
  sessions_[++last_id_] = session;
  return last_id_;
}

void FakeEngine::CloseSession(SessionId id) {
  const MutexLock lock(mutex_);
  if (decoding_.contains(id)) ++out_of_order_;  // its slot would not be free yet
  sessions_.erase(id);
}

absl::StatusOr<SessionProgress> FakeEngine::progress(SessionId id) const {
  const MutexLock lock(mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return absl::NotFoundError("session");
  SessionProgress at = found->second.progress;
  at.block_frames = at.block < at.blocks ? found->second.blocks[at.block] : 0;
  return at;
}

absl::Status FakeEngine::CheckCheckpoint(const SessionSpec& /*spec*/, std::span<const std::byte> checkpoint) const {
  if (checkpoint.size() != sizeof(Saved)) return absl::DataLossError("checkpoint: it has another size");
  return options_.checkpoints;
}

void FakeEngine::Submit(Lane, std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) {
  {
    const MutexLock lock(mutex_);
    for (const Pass& pass : passes) {
      // Beside a restore a session has no other pass.
      if (restoring_.contains(pass.session)) ++out_of_order_;
      // Of decodes, saves and restores there is one at a time.
      if (LaneOf(pass.kind) == Lane::kDecoder && !decoding_.insert(pass.session).second) ++out_of_order_;
      if (pass.kind == PassKind::kRestore) restoring_.insert(pass.session);
    }
    batches_.push_back({std::move(passes), std::move(done)});
  }
  submitted_.NotifyOne();
}

void FakeEngine::Loop() {
  while (true) {
    Batch batch;
    {
      MutexLock lock(mutex_);
      submitted_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !batches_.empty(); });
      if (batches_.empty()) return;
      batch = std::move(batches_.front());
      batches_.pop_front();
    }
    for (size_t i = 0; i < batch.passes.size(); ++i) batch.done(i, Run(batch.passes[i]));
  }
}

PassResult FakeEngine::Run(const Pass& pass) {
  const absl::Duration took = pass.kind == PassKind::kEncodePrompt ? options_.text
                              : pass.kind == PassKind::kDenoise    ? options_.denoise
                              : pass.kind == PassKind::kCommit     ? options_.commit
                                                                   : options_.decode;
  if (options_.clock != nullptr) {
    options_.clock->Advance(took);
  } else {
    absl::SleepFor(took);
  }
  if (options_.delay) absl::SleepFor(options_.delay(pass));
  PassResult result;
  result.device_seconds = absl::ToDoubleSeconds(took);
  const MutexLock lock(mutex_);
  if (LaneOf(pass.kind) == Lane::kDecoder) decoding_.erase(pass.session);
  const auto found = sessions_.find(pass.session);
  if (found == sessions_.end()) {
    result.status = absl::FailedPreconditionError("no such session");
  } else {
    if (options_.fail) result.status = options_.fail(pass, found->second.progress.spec);
    if (result.status.ok()) result.status = Step(pass, found->second, result);
  }
  if (absl::IsFailedPrecondition(result.status)) ++out_of_order_;
  if (result.status.ok()) ran_.push_back({pass.kind, found->second.progress.spec.seed, absl::Now()});
  return result;
}

absl::Status FakeEngine::Step(const Pass& pass, Session& session, PassResult& result) {
  SessionProgress& at = session.progress;
  const int steps = session.steps;
  Saved saved;
  switch (pass.kind) {
    case PassKind::kEncodePrompt:
      session.look = std::hash<std::string>()(pass.prompt);
      result.prompt_tokens = static_cast<int64_t>(pass.prompt.size());
      result.prompt_tokens_used = std::min(result.prompt_tokens, kFakePromptTokens);
      at.has_prompt = true;
      return absl::OkStatus();
    case PassKind::kDenoise:
      if (!at.has_prompt || at.block == at.blocks || (at.step > 0 && at.step == steps)) {
        return absl::FailedPreconditionError("denoise");
      }
      if (at.step == 0) {
        const std::vector<int>& ladder = options_.model.step_ladder;
        if (pass.level > 0 && pass.level >= static_cast<int>(ladder.size())) {
          return absl::FailedPreconditionError("level");
        }
        session.steps = ladder.empty() ? options_.model.denoise_steps : ladder[pass.level];
      }
      ++at.step;
      return absl::OkStatus();
    case PassKind::kCommit:
      if (at.step != steps || at.decoded_latents != at.committed_frames) return absl::FailedPreconditionError("commit");
      at.committed_frames += session.blocks[at.block];
      ++at.block;
      at.step = 0;
      return absl::OkStatus();
    case PassKind::kDecode:
      if (at.decoded_latents == at.committed_frames) return absl::FailedPreconditionError("decode");
      if (pass.decoder == DecoderKind::kTiny && !options_.model.has_tiny_decoder) {
        return absl::FailedPreconditionError("decoder");
      }
      at.spec.decoder = pass.decoder.value_or(at.spec.decoder);
      result.frames = Frames(session);
      ++at.decoded_latents;
      return absl::OkStatus();
    case PassKind::kSave:
      if (at.block == 0) return absl::FailedPreconditionError("save");
      saved = {.blocks = at.blocks,
               .block = at.block,
               .block_frames = at.block_frames,
               .steps = at.steps,
               .committed_frames = at.committed_frames,
               .decoded_latents = at.decoded_latents,
               .has_prompt = at.has_prompt,
               .look = session.look};
      result.checkpoint.resize(sizeof(saved));
      std::memcpy(result.checkpoint.data(), &saved, sizeof(saved));
      return absl::OkStatus();
    case PassKind::kRestore:
      restoring_.erase(pass.session);
      if (pass.checkpoint.size() != sizeof(saved)) return absl::FailedPreconditionError("restore");
      if (!options_.checkpoints.ok()) return options_.checkpoints;
      std::memcpy(&saved, pass.checkpoint.data(), sizeof(saved));
      at = {.spec = at.spec,
            .blocks = saved.blocks,
            .block = saved.block,
            .block_frames = saved.block_frames,
            .step = 0,
            .steps = saved.steps,
            .committed_frames = saved.committed_frames,
            .decoded_latents = saved.decoded_latents,
            .has_prompt = saved.has_prompt};
      session.look = saved.look;
      return absl::OkStatus();
  }
  return absl::InternalError("kind");
}

DecodedFrames FakeEngine::Frames(const Session& session) const {
  const SessionProgress& at = session.progress;
  const int stride = options_.model.frames_per_latent;
  DecodedFrames frames;
  frames.size = at.spec.size;
  frames.count = at.decoded_latents == 0 ? 1 : stride;
  frames.first_frame = at.decoded_latents == 0 ? 0 : 1 + stride * (at.decoded_latents - 1);
  const size_t pixels = static_cast<size_t>(frames.size.width) * frames.size.height;
  for (int i = 0; i < frames.count; ++i) {
    const unsigned decoder = at.spec.decoder == DecoderKind::kTiny ? 3571 : 0;
    std::minstd_rand random(static_cast<unsigned>(at.spec.seed * 7919 + session.look + frames.first_frame + i) +
                            decoder);
    const auto shade = static_cast<uint8_t>(40 + random() % 170);
    for (size_t p = 0; p < pixels * 3 / 2; ++p) {
      frames.bytes.push_back(options_.noisy ? static_cast<uint8_t>(16 + random() % 220) : shade);
    }
  }
  return frames;
}

int FakeEngine::open_sessions() const {
  const MutexLock lock(mutex_);
  return static_cast<int>(sessions_.size());
}

std::vector<FakeEngine::Ran> FakeEngine::ran() const {
  const MutexLock lock(mutex_);
  return ran_;
}

int FakeEngine::passes_out_of_order() const {
  const MutexLock lock(mutex_);
  return out_of_order_;
}

}  // namespace longtake
