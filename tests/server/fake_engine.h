// An engine without a model: passes take injected times and make coloured frames that depend on seed, prompt, decoder
// and frame number only. It holds its callers to the contract of engine.h.
#ifndef LONGTAKE_TESTS_SERVER_FAKE_ENGINE_H_
#define LONGTAKE_TESTS_SERVER_FAKE_ENGINE_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "engine/engine.h"
#include "tests/server/fake_clock.h"

namespace longtake {

struct FakeEngineOptions {
  ModelInfo model = {};  // see FakeModel
  int max_sessions = 4;
  absl::Duration text = {}, denoise = {}, commit = {}, decode = {};  // of a pass
  FakeClock* clock = nullptr;                                        // passes move it by those times; null: they sleep
  // Asked before each pass, on the engine's thread, for a delay beside those.
  std::function<absl::Duration(const Pass& pass)> delay = {};
  // Asked when a session is opened; an error is what OpenSession returns.
  std::function<absl::Status()> fail_open = {};
  SessionMoves moves = {};  // what moves() says
  bool noisy = false;       // frames that do not compress: chunks of hundreds of kilobytes
  // Asked before each pass; an error is the pass's result.
  std::function<absl::Status(const Pass& pass, const SessionSpec& spec)> fail = {};
  // What CheckCheckpoint says of any; a restore would be refused with it too.
  absl::Status checkpoints = absl::OkStatus();
};

// 64x48 and 96x64, blocks of 2 latent frames, 3 steps, at most 41 latent frames (161 frames), 16 frames a second.
ModelInfo FakeModel();

// A byte of a prompt is a token; it reads so many.
constexpr int64_t kFakePromptTokens = 40;

class FakeEngine : public Engine {
 public:
  struct Ran {
    PassKind kind;
    uint64_t seed;  // of the session: ids are the engine's own
    absl::Time ended;
  };

  explicit FakeEngine(FakeEngineOptions options);
  ~FakeEngine() override;

  const ModelInfo& model() const override { return options_.model; }
  std::vector<MemoryRegion> memory() const override;
  SessionMoves moves() const override { return options_.moves; }
  std::vector<int> BlockLengths(int latent_frames, bool first_image) const override;
  absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) override;
  void CloseSession(SessionId id) override;
  absl::StatusOr<SessionProgress> progress(SessionId id) const override;
  absl::Status CheckCheckpoint(const SessionSpec& spec, std::span<const std::byte> checkpoint) const override;
  void Submit(Lane lane, std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) override;

  int open_sessions() const;
  std::vector<Ran> ran() const;     // passes that ended well
  int passes_out_of_order() const;  // must stay 0

 private:
  struct Session {
    SessionProgress progress;
    std::vector<int> blocks;
    uint64_t look = 0;  // of the prompt
    int steps = 0;      // of the block being made
  };
  // Plain numbers, for it is copied as bytes: of SessionProgress all but the spec, which is the session's own.
  struct Saved {
    int blocks = 0, block = 0, block_frames = 0, steps = 0, committed_frames = 0, decoded_latents = 0;
    bool has_prompt = false;
    uint64_t look = 0;
  };
  struct Batch {
    std::vector<Pass> passes;
    std::function<void(size_t, PassResult)> done;
  };
  void Loop();
  PassResult Run(const Pass& pass);
  absl::Status Step(const Pass& pass, Session& session, PassResult& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  DecodedFrames Frames(const Session& session) const;

  const FakeEngineOptions options_;
  mutable Mutex mutex_;
  std::map<SessionId, Session> sessions_ ABSL_GUARDED_BY(mutex_);
  SessionId last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  ConditionVariable submitted_;  // or stopping
  std::deque<Batch> batches_ ABSL_GUARDED_BY(mutex_);
  std::set<SessionId> restoring_ ABSL_GUARDED_BY(mutex_);  // with a restore under way
  std::set<SessionId> decoding_ ABSL_GUARDED_BY(mutex_);   // with a pass of the decoder's lane under way
  std::vector<Ran> ran_ ABSL_GUARDED_BY(mutex_);
  int out_of_order_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_SERVER_FAKE_ENGINE_H_
