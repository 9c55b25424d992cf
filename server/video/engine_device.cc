#include "server/video/engine_device.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>

namespace longtake::server {
namespace {

// Of a session's device time that may go into saving it. With a 50th, a server that is lost makes its successor repeat
// 50 saves' time of each session at most.
constexpr double kShareForSaving = 0.02;

}  // namespace

void EngineDevice::AddJob(scheduler::SessionId session, Job job) {
  const MutexLock lock(mutex_);
  Entry& entry = jobs_[session] = {.job = std::move(job)};
  entry.decoded_latents = entry.job.made_latents;
  entry.checkpoint = std::exchange(entry.job.checkpoint, {});
}

void EngineDevice::RemoveJob(scheduler::SessionId session) {
  const MutexLock lock(mutex_);
  jobs_.erase(session);
}

void EngineDevice::SetPrompt(scheduler::SessionId session, int number, const std::string& prompt) {
  const MutexLock lock(mutex_);
  if (const auto found = jobs_.find(session); found != jobs_.end()) found->second.job.prompts[number] = prompt;
}

std::vector<scheduler::LaneInfo> EngineDevice::lanes() const {
  if (!engine_->lanes_overlap()) return {{.role = scheduler::LaneRole::kAll}};
  return {{.role = scheduler::LaneRole::kTransformer}, {.role = scheduler::LaneRole::kDecoder}};
}

absl::Status EngineDevice::Open(scheduler::SessionId session, scheduler::DeviceId /*device*/) {
  SessionSpec spec;
  {
    const MutexLock lock(mutex_);
    spec = jobs_.at(session).job.spec;
  }
  absl::StatusOr<SessionId> opened = engine_->OpenSession(spec);
  watch_->OnOpened(opened.status());
  if (!opened.ok()) return opened.status();
  const MutexLock lock(mutex_);
  jobs_.at(session).engine_session = *opened;
  return absl::OkStatus();
}

SessionId EngineDevice::EngineSession(scheduler::SessionId session) const {
  const MutexLock lock(mutex_);
  return jobs_.at(session).engine_session;
}

void EngineDevice::Close(scheduler::SessionId session) { engine_->CloseSession(EngineSession(session)); }

int EngineDevice::SaveBehind(scheduler::SessionId session, PassKind kind, double device_seconds) {
  const MutexLock lock(mutex_);
  const auto found = jobs_.find(session);
  if (found == jobs_.end() || found->second.job.on_checkpoint == nullptr) return 0;
  Entry& entry = found->second;
  entry.since_save += device_seconds;
  if (kind != PassKind::kDecode) return 0;
  ++entry.decoded_latents;
  int blocks = 0, latents = 0;
  while (latents < entry.decoded_latents) latents += entry.job.block_latents[blocks++];
  const bool between = latents == entry.decoded_latents && blocks < static_cast<int>(entry.job.block_latents.size());
  if (!between || saving_ || entry.since_save * kShareForSaving < save_seconds_) return 0;
  entry.since_save = 0;
  saving_ = true;
  return blocks;
}

void EngineDevice::Save(scheduler::SessionId session, int blocks, std::function<void()> then) {
  std::shared_ptr<void> held(nullptr, [this](void* /*nothing*/) {
    const MutexLock lock(mutex_);
    saving_ = false;
    saved_.NotifyAll();  // under the lock: who waits may destroy this next
  });
  const SessionId engine_session = EngineSession(session);
  engine_->Submit(
      Lane::kDecoder, {{.kind = PassKind::kSave, .session = engine_session}},
      [this, session, blocks, held = std::move(held), then = std::move(then)](size_t /*index*/, PassResult result) {
        decltype(Job::on_checkpoint) on_checkpoint;
        {
          const MutexLock lock(mutex_);
          const auto found = jobs_.find(session);
          if (result.status.ok() && found != jobs_.end()) {
            save_seconds_ += 0.25 * (result.device_seconds - save_seconds_);
            on_checkpoint = found->second.job.on_checkpoint;
          }
        }
        if (on_checkpoint != nullptr) on_checkpoint(blocks, std::move(result.checkpoint), held);
        then();
      });
}

void EngineDevice::AwaitSaves() {
  MutexLock lock(mutex_);
  saved_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !saving_; });
}

void EngineDevice::Suspend(scheduler::SessionId session, Done done) {
  const SessionId engine_session = EngineSession(session);
  const absl::StatusOr<SessionProgress> at = engine_->progress(engine_session);
  if (!at.ok()) return done(at.status());
  if (at->block == 0) {
    engine_->CloseSession(engine_session);
    return done(absl::OkStatus());
  }
  engine_->Submit(Lane::kDecoder, {{.kind = PassKind::kSave, .session = engine_session}},
                  [this, session, engine_session, done = std::move(done)](size_t /*index*/, PassResult result) {
                    if (!result.status.ok()) return done(std::move(result.status));
                    engine_->CloseSession(engine_session);
                    {
                      const MutexLock lock(mutex_);
                      jobs_.at(session).checkpoint = std::move(result.checkpoint);
                    }
                    done(absl::OkStatus());
                  });
}

void EngineDevice::Resume(scheduler::SessionId session, scheduler::DeviceId device, Done done) {
  if (absl::Status opened = Open(session, device); !opened.ok()) return done(std::move(opened));
  std::optional<Pass> pass;
  {
    const MutexLock lock(mutex_);
    Entry& entry = jobs_.at(session);
    if (!entry.checkpoint.empty()) {
      pass = Pass{.kind = PassKind::kRestore, .checkpoint = std::exchange(entry.checkpoint, {})};
    } else if (entry.encoded_prompt >= 0) {
      pass = EncodePrompt(entry, entry.encoded_prompt);
    }
    if (pass.has_value()) pass->session = entry.engine_session;
  }
  if (!pass.has_value()) return done(absl::OkStatus());  // none of its passes had begun
  const Lane lane = LaneOf(pass->kind);
  engine_->Submit(lane, {*std::move(pass)},
                  [done = std::move(done)](size_t /*index*/, PassResult result) { done(std::move(result.status)); });
}

Pass EngineDevice::EncodePrompt(const Entry& entry, int prompt) {
  return {.kind = PassKind::kEncodePrompt,
          .prompt = entry.job.prompts.at(prompt),
          .negative_prompt = entry.job.negative_prompt};
}

int64_t EngineDevice::Tokens(const Pass& pass, const SessionSpec& spec) const {
  if (pass.kind != PassKind::kDenoise && pass.kind != PassKind::kCommit) return 0;
  const absl::StatusOr<SessionProgress> at = engine_->progress(pass.session);
  const ModelInfo& model = engine_->model();
  const auto size = std::find(model.sizes.begin(), model.sizes.end(), spec.size);
  if (!at.ok() || size == model.sizes.end()) return 0;
  return int64_t{at->block_frames} * model.frame_tokens[size - model.sizes.begin()];
}

void EngineDevice::Submit(scheduler::LaneId /*lane*/, std::vector<scheduler::Pass> passes, PassDone done) {
  // What goes to one of the engine's lanes, with what its completions need.
  struct Part {
    std::vector<Pass> passes;
    std::vector<size_t> index;  // in the scheduler's list
    std::vector<scheduler::SessionId> sessions;
    std::vector<std::function<void(PassResult&)>> on_result;  // null: nothing but the scheduler needs it
  };
  std::array<Part, 2> parts;
  size_t count = 0;
  int64_t tokens = 0;
  {
    const MutexLock lock(mutex_);
    for (const scheduler::Pass& pass : passes) {
      Entry& entry = jobs_.at(pass.session);
      const BlockForm& form = entry.job.forms[pass.level];
      Pass out{.kind = pass.kind, .level = StepLevel(engine_->model(), form)};
      if (pass.kind == PassKind::kDecode) out.decoder = form.decoder;
      std::function<void(PassResult&)> on_result;
      if (out.kind == PassKind::kEncodePrompt) {
        entry.encoded_prompt = pass.prompt;
        out = EncodePrompt(entry, pass.prompt);
        on_result = [on_prompt = entry.job.on_prompt, prompt = pass.prompt](const PassResult& result) {
          on_prompt(prompt, {.given = result.prompt_tokens, .used = result.prompt_tokens_used});
        };
      } else if (out.kind == PassKind::kDecode) {
        on_result = [on_frames = entry.job.on_frames](PassResult& result) { on_frames(std::move(result.frames)); };
      }
      out.session = entry.engine_session;
      tokens += Tokens(out, entry.job.spec);
      Part& part = parts[static_cast<size_t>(LaneOf(out.kind))];
      part.index.push_back(count++);
      part.sessions.push_back(pass.session);
      part.on_result.push_back(std::move(on_result));
      part.passes.push_back(std::move(out));
    }
  }
  on_batch_(count, tokens);
  // Decodes first: a commit of the same list needs its session's latents decoded.
  for (const Lane lane : {Lane::kDecoder, Lane::kTransformer}) {
    Part& part = parts[static_cast<size_t>(lane)];
    if (part.passes.empty()) continue;
    std::vector<PassKind> kinds;
    for (const Pass& pass : part.passes) kinds.push_back(pass.kind);
    const uint64_t batch = watch_->OnSubmit(kinds);
    engine_->Submit(
        lane, std::move(part.passes),
        [this, batch, kinds = std::move(kinds), index = std::move(part.index), sessions = std::move(part.sessions),
         on_result = std::move(part.on_result), done](size_t i, PassResult result) {
          watch_->OnPassDone(batch, kinds[i], result.device_seconds);
          if (result.status.ok() && on_result[i] != nullptr) on_result[i](result);
          const int blocks = result.status.ok() ? SaveBehind(sessions[i], kinds[i], result.device_seconds) : 0;
          const auto tell = [done, index = index[i], status = std::move(result.status),
                             seconds = result.device_seconds] {
            done(index, {status, seconds});
          };
          // The scheduler hears of the decode when the save is done: it knows nothing of saves, and may suspend, close
          // or commit the session next, which the engine refuses beside one.
          if (blocks == 0) return tell();
          Save(sessions[i], blocks, tell);
        });
  }
}

}  // namespace longtake::server
