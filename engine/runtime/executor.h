// Runs a batch of passes on the device, one after another where they cannot be one. Knows no threads.
#ifndef LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_
#define LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/ops/ops.h"
#include "engine/runtime/decoder_caches.h"
#include "engine/runtime/session.h"
#include "engine/runtime/video_model.h"

namespace longtake {

// A pass with its session, which outlives the batch.
struct BoundPass {
  const Pass* pass = nullptr;
  Session* session = nullptr;
  size_t index = 0;  // in the submitted list
  int slot = 0;      // of the session
};

class Executor {
 public:
  // Plans and allocates scratch for transformer batches of up to `batch_tokens` tokens (at least one pass's).
  Executor(Ops& ops, const VideoModel& model, DecoderCaches& caches, int64_t batch_tokens);

  // What the constructor will allocate.
  static size_t ScratchBytes(const VideoModel& model, int64_t batch_tokens);
  size_t scratch_bytes() const { return scratch_->size(); }

  // `done` is called once for each pass, as soon as it is finished: decodes first, since a viewer waits for them; then
  // prompts, then the transformer's passes.
  using Done = std::function<void(size_t index, PassResult result)>;
  void Run(std::span<const BoundPass> passes, const Done& done);

 private:
  PassResult Encode(const BoundPass& p);
  PassResult Decode(const BoundPass& p);
  void RunTransformer(std::span<const BoundPass> passes, const Done& done);
  void RunTransformerBatch(std::span<const BoundPass> passes, const Done& done);

  Ops& ops_;
  const VideoModel& model_;
  DecoderCaches& caches_;
  int64_t batch_tokens_;
  std::unique_ptr<Buffer> scratch_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_
