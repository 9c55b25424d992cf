// The engine as the scheduler's device. Prompts and frames, which the scheduler does not know, pass here.
#ifndef LONGTAKE_SERVER_VIDEO_ENGINE_DEVICE_H_
#define LONGTAKE_SERVER_VIDEO_ENGINE_DEVICE_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "engine/engine.h"
#include "scheduler/device.h"
#include "server/video/block_form.h"
#include "server/video/device_watch.h"
#include "server/video/event.h"

namespace longtake::server {

class EngineDevice : public scheduler::Device {
 public:
  // What the scheduler's session means to the engine.
  struct Job {
    SessionSpec spec;
    std::map<int, std::string> prompts;  // by number
    std::string negative_prompt;
    // Called on the engine's thread, before the scheduler is told of the pass.
    std::function<void(DecodedFrames)> on_frames;
    std::function<void(int prompt, PromptTokens tokens)> on_prompt;
    // Where it is not null, the session is saved now and then behind a block: `blocks` are finished by then. No other
    // session is saved before `held` is let go, for a checkpoint may have hundreds of megabytes.
    std::function<void(int blocks, std::vector<std::byte> checkpoint, std::shared_ptr<void> held)> on_checkpoint;
    std::vector<int> block_latents;
    std::vector<BlockForm> forms;  // by the scheduler's levels
    // Behind which the session goes on; empty: from the beginning.
    std::vector<std::byte> checkpoint;
    int made_latents = 0;  // latent frames decoded by then
  };

  // Both pointers outlive it. `on_batch` hears of each batch before it runs; tokens are the transformer's.
  EngineDevice(Engine* engine, DeviceWatch* watch, std::function<void(size_t passes, int64_t tokens)> on_batch)
      : engine_(engine), watch_(watch), on_batch_(std::move(on_batch)) {}

  // Waits until no checkpoint is held. Before it is destroyed, and before what on_checkpoint needs.
  void AwaitSaves();

  // Before the scheduler hears of the session, and after it has ended.
  void AddJob(scheduler::SessionId session, Job job);
  void RemoveJob(scheduler::SessionId session);

  // The session's prompt of this number. Ignored after the session's end.
  void SetPrompt(scheduler::SessionId session, int number, const std::string& prompt);

  // One device, whatever the engine has: it places its sessions itself.
  std::vector<scheduler::LaneInfo> lanes() const override;
  absl::Status Open(scheduler::SessionId session, scheduler::DeviceId device) override;
  void Close(scheduler::SessionId session) override;
  void Submit(scheduler::LaneId lane, std::vector<scheduler::Pass> passes, PassDone done) override;
  // A suspended session is a checkpoint in host memory; one without a block has only its prompt, which is encoded
  // again.
  bool can_suspend() const override { return true; }
  void Suspend(scheduler::SessionId session, Done done) override;
  void Resume(scheduler::SessionId session, scheduler::DeviceId device, Done done) override;

 private:
  struct Entry {
    Job job;
    SessionId engine_session = 0;
    int encoded_prompt = -1;            // the last one submitted; -1: none
    int decoded_latents = 0;            // by decodes that have ended
    double since_save = 0;              // device seconds of its passes since the last save began
    std::vector<std::byte> checkpoint;  // of a suspended session that has a block, and of one that goes on
  };
  SessionId EngineSession(scheduler::SessionId session) const;
  // A pass of the session has ended. The blocks behind which it is to be saved now; 0: it is not.
  int SaveBehind(scheduler::SessionId session, PassKind kind, double device_seconds);
  // Then calls `then`.
  void Save(scheduler::SessionId session, int blocks, std::function<void()> then);
  // For the engine.
  static Pass EncodePrompt(const Entry& entry, int prompt);
  int64_t Tokens(const Pass& pass, const SessionSpec& spec) const;

  Engine* const engine_;
  DeviceWatch* const watch_;
  const std::function<void(size_t, int64_t)> on_batch_;
  mutable Mutex mutex_;
  std::map<scheduler::SessionId, Entry> jobs_ ABSL_GUARDED_BY(mutex_);
  double save_seconds_ ABSL_GUARDED_BY(mutex_) = 0;  // of a save, a moving mean
  bool saving_ ABSL_GUARDED_BY(mutex_) = false;      // a checkpoint is being made, or held
  ConditionVariable saved_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_ENGINE_DEVICE_H_
