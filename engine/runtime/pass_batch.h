// The stages of a pass: submitted in a batch, bound to its session, issued to the device.
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

// The passes of one Submit. Batches are recycled, so that the steady state allocates none.
struct PassBatch {
  // For each pass, its session's entry, which exists until the pass has completed, or the reason why the pass is
  // refused.
  struct Bound {
    SessionTable::Entry* entry = nullptr;
    absl::Status refusal;
  };
  Lane lane = Lane::kTransformer;
  std::vector<Pass> passes;
  std::vector<Bound> bound;
  std::function<void(size_t index, PassResult result)> done;
  uint64_t sequence = 0;  // order of submission, over both lanes
  size_t pending = 0;     // passes that have not completed, plus one until the batch has been issued
  PassBatch* next = nullptr;
};

// A pass to run and its session. The session outlives it.
struct BoundPass {
  const Pass* pass = nullptr;
  Session* session = nullptr;
  int slot = 0;                // the session's
  PassBatch* batch = nullptr;  // not used by Executor, only passed through
  size_t index = 0;            // in the batch
};

// The checkpoint of a save in flight.
struct SavedSession {
  Checkpoint header;
  size_t size = 0;               // of the whole checkpoint
  std::vector<std::byte> bytes;  // if `staged` is set: empty, with capacity `size`, until the save has finished
  std::byte* staged = nullptr;
};

// Passes of one lane that were issued together and finish together.
struct IssuedPasses {
  struct One {
    BoundPass pass;
    double share = 1;          // of the device time of these passes
    SessionProgress progress;  // the session's after this pass
    DecodedFrames frames;      // kDecode; its bytes are copied from `staged` once the pass has finished
    std::byte* staged = nullptr;
    std::unique_ptr<SavedSession> saved;                // kSave
    int64_t prompt_tokens = 0, prompt_tokens_used = 0;  // kEncodePrompt
  };
  Lane lane = Lane::kTransformer;
  Event event = 0;  // recorded after them
  std::chrono::steady_clock::time_point issued;
  std::vector<One> passes;
  IssuedPasses* next = nullptr;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_PASS_BATCH_H_
