// The engine as the scheduler's device. Prompts and frames, which the scheduler does not know, pass here.
#ifndef LONGTAKE_SERVER_VIDEO_ENGINE_DEVICE_H_
#define LONGTAKE_SERVER_VIDEO_ENGINE_DEVICE_H_

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "scheduler/device.h"

namespace longtake::server {

class EngineDevice : public scheduler::Device {
 public:
  // What the scheduler's session means to the engine.
  struct Job {
    SessionSpec spec;
    std::vector<std::string> prompts;  // by number
    std::string negative_prompt;
    // Called on the engine's thread, before the scheduler hears of the pass.
    std::function<void(DecodedFrames)> on_frames;
  };

  // `engine` outlives it. `on_batch` hears of each batch before it runs; tokens are the transformer's.
  EngineDevice(Engine* engine, std::function<void(size_t passes, int64_t tokens)> on_batch)
      : engine_(engine), on_batch_(std::move(on_batch)) {}

  // Before the scheduler hears of the session, and after it has ended.
  void AddJob(scheduler::SessionId session, Job job);
  void RemoveJob(scheduler::SessionId session);

  // One more prompt of the session's; its number. NotFound: it has ended. ResourceExhausted: it has had too many.
  absl::StatusOr<int> AddPrompt(scheduler::SessionId session, const std::string& prompt);
  // Takes back the session's last one, which no pass may have named.
  void RemoveLastPrompt(scheduler::SessionId session);

  absl::Status Open(scheduler::SessionId session) override;
  void Close(scheduler::SessionId session) override;
  void Submit(std::vector<scheduler::Pass> passes,
              std::function<void(size_t index, scheduler::PassOutcome outcome)> done) override;

 private:
  struct Entry {
    Job job;
    SessionId engine_session = 0;
  };
  int64_t Tokens(const Pass& pass, const SessionSpec& spec) const;

  Engine* const engine_;
  const std::function<void(size_t, int64_t)> on_batch_;
  std::mutex mutex_;
  std::map<scheduler::SessionId, Entry> jobs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_ENGINE_DEVICE_H_
