#include "server/engine_device.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake::server {
namespace {

PassKind ToEngine(scheduler::PassKind kind) {
  switch (kind) {
    case scheduler::PassKind::kEncodePrompt:
      return PassKind::kEncodePrompt;
    case scheduler::PassKind::kDenoise:
      return PassKind::kDenoise;
    case scheduler::PassKind::kCommit:
      return PassKind::kCommit;
    case scheduler::PassKind::kDecode:
      return PassKind::kDecode;
  }
  return PassKind::kDecode;
}

}  // namespace

void EngineDevice::AddJob(scheduler::SessionId session, Job job) {
  const std::lock_guard lock(mutex_);
  jobs_[session] = {std::move(job), 0};
}

void EngineDevice::RemoveJob(scheduler::SessionId session) {
  const std::lock_guard lock(mutex_);
  jobs_.erase(session);
}

absl::StatusOr<int> EngineDevice::AddPrompt(scheduler::SessionId session, const std::string& prompt) {
  constexpr size_t kMostPrompts = 1000;  // of 4 KB each at the default limit
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(session);
  if (found == jobs_.end()) return absl::NotFoundError("the video has ended");
  std::vector<std::string>& prompts = found->second.job.prompts;
  if (prompts.size() == kMostPrompts) {
    return absl::ResourceExhaustedError(absl::StrCat("a video may have ", kMostPrompts, " prompts"));
  }
  prompts.push_back(prompt);
  return static_cast<int>(prompts.size()) - 1;
}

absl::Status EngineDevice::Open(scheduler::SessionId session) {
  SessionSpec spec;
  {
    const std::lock_guard lock(mutex_);
    spec = jobs_.at(session).job.spec;
  }
  absl::StatusOr<SessionId> opened = engine_->OpenSession(spec);
  if (!opened.ok()) return opened.status();
  const std::lock_guard lock(mutex_);
  jobs_.at(session).engine_session = *opened;
  return absl::OkStatus();
}

void EngineDevice::Close(scheduler::SessionId session) {
  SessionId engine_session = 0;
  {
    const std::lock_guard lock(mutex_);
    engine_session = jobs_.at(session).engine_session;
  }
  engine_->CloseSession(engine_session);
}

int64_t EngineDevice::Tokens(const Pass& pass, const SessionSpec& spec) const {
  if (pass.kind != PassKind::kDenoise && pass.kind != PassKind::kCommit) return 0;
  const absl::StatusOr<SessionProgress> at = engine_->progress(pass.session);
  const ModelInfo& model = engine_->model();
  const auto size = std::find(model.sizes.begin(), model.sizes.end(), spec.size);
  if (!at.ok() || size == model.sizes.end()) return 0;
  return int64_t{at->block_frames} * model.frame_tokens[size - model.sizes.begin()];
}

void EngineDevice::Submit(std::vector<scheduler::Pass> passes,
                          std::function<void(size_t index, scheduler::PassOutcome outcome)> done) {
  std::vector<Pass> batch;
  auto on_frames = std::make_shared<std::vector<std::function<void(DecodedFrames)>>>();
  int64_t tokens = 0;
  {
    const std::lock_guard lock(mutex_);
    for (const scheduler::Pass& pass : passes) {
      const Entry& entry = jobs_.at(pass.session);
      Pass out{.kind = ToEngine(pass.kind),
               .session = entry.engine_session,
               .prompt = {},
               .negative_prompt = {},
               .level = pass.level};
      if (out.kind == PassKind::kEncodePrompt) {
        out.prompt = entry.job.prompts[pass.prompt];
        out.negative_prompt = entry.job.negative_prompt;
      }
      tokens += Tokens(out, entry.job.spec);
      batch.push_back(std::move(out));
      on_frames->push_back(out.kind == PassKind::kDecode ? entry.job.on_frames : nullptr);
    }
  }
  on_batch_(batch.size(), tokens);
  engine_->Submit(std::move(batch), [on_frames, done = std::move(done)](size_t index, PassResult result) {
    if (result.status.ok() && (*on_frames)[index] != nullptr) (*on_frames)[index](std::move(result.frames));
    done(index, {std::move(result.status), result.device_seconds});
  });
}

}  // namespace longtake::server
