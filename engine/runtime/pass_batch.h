// Passes on their way: submitted together, bound to their sessions, and asked of the device.
#ifndef LONGTAKE_ENGINE_RUNTIME_PASS_BATCH_H_
#define LONGTAKE_ENGINE_RUNTIME_PASS_BATCH_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/ops/ops.h"
#include "engine/runtime/checkpoint.h"
#include "engine/runtime/session_table.h"

namespace longtake {

// What one Submit brought. Batches are used again, so that in the steady state none is allocated.
struct PassBatch {
  // Of each pass: its session's entry, which stays until the pass has completed; or why it is refused.
  struct Bound {
    SessionTable::Entry* entry = nullptr;
    absl::Status refusal;
  };
  Lane lane = Lane::kTransformer;
  std::vector<Pass> passes;
  std::vector<Bound> bound;
  std::function<void(size_t index, PassResult result)> done;
  uint64_t sequence = 0;  // in the order of submission, over both lanes
  size_t pending = 0;     // passes that have not completed, and one while the batch is being issued
  PassBatch* next = nullptr;
};

// A pass that is to run, with its session, which outlives it.
struct BoundPass {
  const Pass* pass = nullptr;
  Session* session = nullptr;
  int slot = 0;                // of the session
  PassBatch* batch = nullptr;  // for the caller of Executor
  size_t index = 0;            // in the batch
};

// What a save gives, on its way.
struct SavedSession {
  Checkpoint header;
  size_t size = 0;               // of the checkpoint
  std::vector<std::byte> bytes;  // empty, of that capacity, where a device's bytes come through `staged`
  std::byte* staged = nullptr;
};

// Passes of one lane that were asked of the device together and end together.
struct IssuedPasses {
  struct One {
    BoundPass pass;
    double share = 1;          // of the device time
    SessionProgress progress;  // as it is when the pass has ended
    DecodedFrames frames;      // of a decode; a device's bytes come through `staged`
    std::byte* staged = nullptr;
    std::unique_ptr<SavedSession> saved;                // of a save
    int64_t prompt_tokens = 0, prompt_tokens_used = 0;  // of kEncodePrompt
  };
  Lane lane = Lane::kTransformer;
  Event event = 0;  // after them
  std::chrono::steady_clock::time_point issued;
  std::vector<One> passes;
  IssuedPasses* next = nullptr;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_PASS_BATCH_H_
