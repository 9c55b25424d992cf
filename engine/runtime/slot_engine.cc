#include "engine/runtime/slot_engine.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/worker_pool.h"
#include "engine/backend/backend.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/session.h"
#include "engine/runtime/video_model.h"

namespace longtake {
namespace {

// A region of session memory: slots of one size in one allocation.
class Slab {
 public:
  Slab(Ops& ops, size_t slot_bytes, int slots)
      : slot_bytes_(Aligned(slot_bytes)), buffer_(ops.device().Allocate(slot_bytes_ * slots)) {}
  std::byte* at(int slot) const { return static_cast<std::byte*>(buffer_->data()) + slot * slot_bytes_; }

 private:
  size_t slot_bytes_;
  std::unique_ptr<Buffer> buffer_;
};

// Which of the two ordered lanes a pass runs in.
bool IsTransformer(PassKind kind) { return kind == PassKind::kDenoise || kind == PassKind::kCommit; }

// Tokens of one transformer batch: beyond a few thousand rows a matrix product gains nothing from more of them, and
// scratch grows with it (60 KB a token at the 2B width).
constexpr int64_t kBatchTokens = 4096;

int64_t BatchTokens(const VideoModel& model, int slots) {
  return std::min(kBatchTokens, slots * model.max_pass_tokens());
}

// ResourceExhausted where the plan exceeds the machine: Linux would grant it piece by piece and end the process later,
// when the memory is touched.
absl::Status CheckMemory(const Ops& ops, const VideoModel& model, int slots, int places, size_t scratch) {
  const SlotPlan plan = model.slot();
  const auto size = [](size_t bytes) { return static_cast<double>(bytes); };  // a product of two may leave 64 bits
  const double slot = size(plan.state) + size(plan.state_spare) + size(plan.latents) + size(plan.prompt);
  const double fixed = size(model.weight_bytes()) + size(scratch);
  struct sysinfo machine;
  if (sysinfo(&machine) != 0) return absl::OkStatus();
  const double memory = ops.device().memory_bytes() > 0
                            ? size(ops.device().memory_bytes())
                            : (size(machine.totalram) + size(machine.totalswap)) * machine.mem_unit;
  // Parked caches lie in the machine's memory, which for a device is another one.
  const double parked = places < slots && ops.device().memory_bytes() == 0 ? size(plan.decoder_cache) * slots : 0;
  const double caches = size(plan.decoder_cache) * places + parked;
  if (fixed + slot * slots + caches <= memory) return absl::OkStatus();
  constexpr double kMiB = 1 << 20;
  return absl::ResourceExhaustedError(absl::StrCat(
      "max_sessions: ", slots, " sessions of the model's largest size and longest block need ", slot / kMiB,
      " MiB each, for decoding ", caches / kMiB, " MiB and ", fixed / kMiB, " MiB once; there are ", memory / kMiB));
}

class SlotEngine : public MovableEngine {
 public:
  // `decoder_ops`: the decoder's lane; null: decodes run in the other's.
  SlotEngine(std::unique_ptr<Ops> ops, std::unique_ptr<Ops> decoder_ops, std::unique_ptr<VideoModel> model, int slots,
             int places)
      : ops_(std::move(ops)),
        decoder_ops_(std::move(decoder_ops)),
        model_(std::move(model)),
        plan_(model_->slot()),
        slots_(slots),
        state_(*ops_, plan_.state + plan_.state_spare, slots),
        latents_(*ops_, plan_.latents, slots),
        decoder_caches_(DecoderLane(), plan_.decoder_cache, slots, places),
        prompt_(*ops_, plan_.prompt, slots),
        executor_(*ops_, DecoderLane(), *model_, decoder_caches_, BatchTokens(*model_, slots)) {
    for (int slot = slots - 1; slot >= 0; --slot) free_.push_back(slot);
    if (decoder_ops_ != nullptr) {
      for (std::unique_ptr<WorkerPool>& waiter : waiters_) waiter = std::make_unique<WorkerPool>(1);
    }
    thread_ = std::thread([this] { RunBatches(); });
  }

  ~SlotEngine() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    submitted_.notify_one();
    thread_.join();
  }

  const ModelInfo& model() const override { return model_->info(); }
  bool lanes_overlap() const override { return decoder_ops_ != nullptr; }

  std::vector<MemoryRegion> memory() const override {
    const int used = slots_ - free_slots();
    const Scratch::Use scratch = executor_.scratch_use();
    std::vector<MemoryRegion> regions = {
        {.name = "weights", .planned_bytes = model_->weight_bytes(), .used_bytes = model_->weight_bytes()},
        {.name = "scratch", .planned_bytes = scratch.planned, .used_bytes = scratch.used},
        {.name = "frames", .planned_bytes = executor_.staging_bytes(), .used_bytes = executor_.staging_bytes()}};
    const auto add = [&](const char* name, size_t bytes) {
      regions.push_back({name, uint64_t{bytes} * slots_, uint64_t{bytes} * used, slots_, used});
    };
    add("state", plan_.state);
    add("state_spare", plan_.state_spare);
    add("latents", plan_.latents);
    const int places = decoder_caches_.places(), places_used = std::min(used, places);
    regions.push_back({"decoder_cache", uint64_t{plan_.decoder_cache} * places,
                       uint64_t{plan_.decoder_cache} * places_used, places, places_used});
    if (const size_t bytes = decoder_caches_.host_bytes(); bytes > 0) {
      regions.push_back({"decoder_cache_parked", bytes, bytes, slots_, used});
    }
    add("prompt", plan_.prompt);
    return regions;
  }

  std::vector<int> BlockLengths(int latent_frames) const override {
    return longtake::BlockLengths(latent_frames, model_->info().block_latent_frames);
  }

  absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) override {
    const SizeShape* shape = nullptr;
    for (const SizeShape& s : model_->sizes()) {
      if (s.size == spec.size) shape = &s;
    }
    if (shape == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("size: the model does not offer ", spec.size.width, "x", spec.size.height));
    }
    if (spec.latent_frames < 1 || spec.latent_frames > model_->info().max_latent_frames) {
      return absl::InvalidArgumentError(absl::StrCat("latent_frames: ", spec.latent_frames, " is not within 1 ... ",
                                                     model_->info().max_latent_frames));
    }
    const int patch = model_->transformer().config().patch[0];
    if (spec.latent_frames % patch != 0) {
      return absl::InvalidArgumentError(absl::StrCat("latent_frames: is no multiple of ", patch));
    }
    const std::lock_guard lock(mutex_);
    if (!failed_.ok()) return failed_;
    if (free_.empty()) return absl::ResourceExhaustedError("sessions: no slot is free");
    const int slot = free_.back();
    free_.pop_back();
    const SessionId id = ++last_id_;
    Entry& entry = sessions_[id];
    entry.session = std::make_unique<Session>(*model_, *shape, spec, MemoryOf(slot));
    entry.slot = slot;
    entry.progress = entry.session->progress();
    return id;
  }

  void CloseSession(SessionId id) override {
    const std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end()) return;
    it->second.closed = true;
    FreeIfDone(it);
  }

  absl::StatusOr<SessionProgress> progress(SessionId id) const override {
    const std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end() || it->second.closed) return absl::NotFoundError("session: unknown");
    return it->second.progress;
  }

  void Submit(std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) override {
    const auto batch = std::make_shared<Batch>(Batch{.passes = std::move(passes), .done = std::move(done)});
    const std::lock_guard lock(mutex_);
    unfinished_ += batch->passes.size();
    for (const Pass& pass : batch->passes) {
      const auto it = sessions_.find(pass.session);
      if (it == sessions_.end() || it->second.closed) {
        batch->bound.push_back({absl::NotFoundError("session: unknown"), nullptr});
        continue;
      }
      bool& busy = it->second.busy[IsTransformer(pass.kind) ? 0 : 1];
      if (busy) {
        batch->bound.push_back(
            {absl::FailedPreconditionError("pass: the session has one under way in this lane"), nullptr});
        continue;
      }
      busy = true;
      ++it->second.under_way;
      batch->bound.push_back({absl::OkStatus(), it->second.session.get(), it->second.slot});
    }
    Push(batch);
  }

  int free_slots() const override {
    const std::lock_guard lock(mutex_);
    return failed_.ok() ? static_cast<int>(free_.size()) : 0;
  }

  std::unique_ptr<Buffer> AllocateImage() override {
    return ops_->device().AllocateHost(Aligned(plan_.state + plan_.state_spare) + Aligned(plan_.latents) +
                                       Aligned(plan_.prompt) + Aligned(plan_.decoder_cache));
  }

  size_t ImageBytes(SessionId id) const override {
    const std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end() || it->second.under_way > 0) return 0;
    size_t bytes = 0;
    for (const std::span<std::byte> piece : it->second.session->Memory(nullptr)) bytes += piece.size();
    return bytes;
  }

  void TakeSession(SessionId id, Buffer& image, std::function<void(absl::StatusOr<SessionPosition>)> done) override {
    const std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end() || it->second.closed || it->second.under_way > 0) {
      PushTask([done = std::move(done)] {
        done(absl::FailedPreconditionError("session: unknown, or a pass of it is under way"));
      });
    } else {
      // The session lives on in the task; std::function wants to be copied, hence shared.
      std::shared_ptr<Session> session = std::move(it->second.session);
      PushTask([this, session, slot = it->second.slot, &image, done = std::move(done)] {
        auto* to = static_cast<std::byte*>(image.data());
        for (const std::span<std::byte> piece : session->Memory(Caches(*session, slot, /*fresh=*/false))) {
          ops_->device().Download(piece.data(), to, piece.size());
          to += Aligned(piece.size());
        }
        if (absl::Status status = Sync(); !status.ok()) return done(std::move(status));
        done(session->position());
      });
      free_.push_back(it->second.slot);
      sessions_.erase(it);
    }
  }

  void PutSession(SessionId id, const SessionPosition& position, Buffer& image,
                  std::function<void(absl::Status)> done) override {
    const std::lock_guard lock(mutex_);
    Entry& entry = sessions_.at(id);
    ++entry.under_way;  // keeps its slot, should it be closed meanwhile
    PushTask([this, id, position, &entry, &image, done = std::move(done)] {
      // A pass that has run meanwhile would have changed the session that is replaced here: that is the caller's bug.
      auto session = std::make_unique<Session>(*model_, entry.session->shape(), entry.session->spec(),
                                               MemoryOf(entry.slot), position);
      const auto* from = static_cast<const std::byte*>(image.data());
      for (const std::span<std::byte> piece : session->Memory(Caches(*session, entry.slot, /*fresh=*/true))) {
        ops_->device().Upload(from, piece.data(), piece.size());
        from += Aligned(piece.size());
      }
      absl::Status status = Sync();
      {
        const std::lock_guard lock(mutex_);
        entry.session = std::move(session);
        entry.progress = entry.session->progress();
        --entry.under_way;
        FreeIfDone(sessions_.find(id));
      }
      done(std::move(status));
    });
  }

 private:
  struct Entry {
    std::unique_ptr<Session> session;
    int slot = 0;
    bool busy[2] = {false, false};  // transformer; text and VAE
    int under_way = 0;
    bool closed = false;
    SessionProgress progress;  // a copy, for the engine's thread changes the session outside the lock
  };
  struct Bound {
    absl::Status status;
    Session* session = nullptr;
    int slot = 0;
  };
  struct Batch {
    std::vector<Pass> passes = {};
    std::vector<Bound> bound = {};
    std::function<void(size_t, PassResult)> done = nullptr;
    std::function<void()> task = nullptr;  // instead of passes
  };

  void PushTask(std::function<void()> task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Push(std::make_shared<Batch>(Batch{.task = std::move(task)}));
  }
  void Push(std::shared_ptr<Batch> batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    queue_.push_back(std::move(batch));
    submitted_.notify_one();
  }

  SlotMemory MemoryOf(int slot) const { return {state_.at(slot), latents_.at(slot), prompt_.at(slot)}; }
  // Null for a session that has none yet. On the engine's thread. They have come, and made room, when this returns:
  // what is copied from or to them is copied in the other lane.
  std::byte* Caches(const Session& session, int slot, bool fresh) {
    if (session.begins_decoding()) return nullptr;
    std::byte* caches = decoder_caches_.Bring(slot, fresh);
    (void)DecoderLane().device().Synchronize();  // a failure is found again by Sync
    return caches;
  }

  void FreeIfDone(std::map<SessionId, Entry>::iterator it) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!it->second.closed || it->second.under_way > 0) return;
    free_.push_back(it->second.slot);
    sessions_.erase(it);
  }

  void RunBatches() {
    while (true) {
      std::shared_ptr<Batch> batch;
      {
        std::unique_lock lock(mutex_);
        // What was submitted is run to its end, and so is what its completions submit.
        submitted_.wait(lock, [this] { return !queue_.empty() || (stopping_ && unfinished_ == 0); });
        if (queue_.empty()) return;
        batch = std::move(queue_.front());
        queue_.pop_front();
      }
      if (batch->task != nullptr) {
        batch->task();
        continue;
      }
      std::vector<BoundPass> runnable;
      for (size_t i = 0; i < batch->passes.size(); ++i) {
        if (batch->bound[i].session == nullptr) {
          Tell(*batch, i, {.status = batch->bound[i].status});
        } else {
          runnable.push_back({&batch->passes[i], batch->bound[i].session, i, batch->bound[i].slot});
        }
      }
      const auto done = [this, batch](size_t index, PassResult result, const SessionProgress& progress) {
        if (!result.status.ok()) (void)Note(ops_->device().Synchronize(0), DecoderLane().device().Synchronize(0));
        Finish(batch->passes[index], progress);
        Tell(*batch, index, std::move(result));
      };
      const auto issued = [&](IssuedPasses passes) {
        WorkerPool* waiter = waiters_[passes.decoder_lane ? 1 : 0].get();
        if (waiter == nullptr) return executor_.Await(std::move(passes), done);
        waiter->Post([this, done, shared = std::make_shared<IssuedPasses>(std::move(passes))] {
          executor_.Await(std::move(*shared), done);
        });
      };
      executor_.Issue(runnable, issued, done);
    }
  }

  // One at a time, whichever thread comes with it.
  void Tell(const Batch& batch, size_t index, PassResult result) {
    {
      const std::lock_guard telling(telling_);
      batch.done(index, std::move(result));
    }
    const std::lock_guard lock(mutex_);
    if (--unfinished_ == 0) submitted_.notify_one();
  }

  // Waits for the device.
  absl::Status Sync() { return Note(ops_->device().Synchronize(), DecoderLane().device().Synchronize()); }
  // Of the lanes: their first failures. A device that has failed has lost its sessions' memory and stays failed: it
  // gets no more of them.
  absl::Status Note(absl::Status status, const absl::Status& decoder) {
    status.Update(decoder);
    if (!status.ok()) {
      const std::lock_guard lock(mutex_);
      failed_ = absl::UnavailableError(absl::StrCat("the device has failed: ", status.message()));
    }
    return status;
  }

  // Before the completion is told, so that it may submit the session's next pass. `now`: as of this pass; one in the
  // other lane may have been issued before it and end after it, so each tells of its own lane alone.
  void Finish(const Pass& pass, const SessionProgress& now) {
    const std::lock_guard lock(mutex_);
    const auto it = sessions_.find(pass.session);
    SessionProgress& told = it->second.progress;
    if (pass.kind == PassKind::kDecode) {
      told.decoded_latents = now.decoded_latents;
    } else if (pass.kind == PassKind::kEncodePrompt) {
      told.has_prompt = now.has_prompt;
    } else {
      const SessionProgress before = told;
      told = now;
      told.decoded_latents = before.decoded_latents;
      told.has_prompt = before.has_prompt;
    }
    it->second.busy[IsTransformer(pass.kind) ? 0 : 1] = false;
    --it->second.under_way;
    FreeIfDone(it);
  }

  Ops& DecoderLane() { return decoder_ops_ == nullptr ? *ops_ : *decoder_ops_; }

  const std::unique_ptr<Ops> ops_, decoder_ops_;
  const std::unique_ptr<VideoModel> model_;
  const SlotPlan plan_;
  const int slots_;
  Slab state_, latents_;
  DecoderCaches decoder_caches_;
  Slab prompt_;
  Executor executor_;

  mutable std::mutex mutex_;
  std::condition_variable submitted_;  // or stopping, or nothing unfinished
  std::map<SessionId, Entry> sessions_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> free_ ABSL_GUARDED_BY(mutex_);
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  SessionId last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::shared_ptr<Batch>> queue_ ABSL_GUARDED_BY(mutex_);
  size_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;  // passes submitted whose completions have not returned
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::mutex telling_;
  std::array<std::unique_ptr<WorkerPool>, 2> waiters_;  // a thread for each lane; null where issuing waits
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MovableEngine>> LoadSlotEngine(const EngineOptions& options, int device, int slots) {
  const int places = options.decoder_places == 0 ? slots : std::min(options.decoder_places, slots);
  ASSIGN_OR_RETURN(std::unique_ptr<Ops> ops, MakeBackend({.backend = options.backend,
                                                          .dtype = options.dtype,
                                                          .isa = options.isa,
                                                          .threads = options.threads,
                                                          .device = device,
                                                          .cuda_graphs = options.cuda_graphs}));
  std::unique_ptr<Ops> decoder_ops;
  if (options.decode_beside) {
    ASSIGN_OR_RETURN(decoder_ops, ops->MakeStream());
  }
  Ops& decoder_lane = decoder_ops == nullptr ? *ops : *decoder_ops;
  ASSIGN_OR_RETURN(std::unique_ptr<VideoModel> model,
                   VideoModel::Load(*ops, decoder_lane, options.model_dir, options.progress));
  const size_t scratch = Executor::PlanScratch(*ops, decoder_lane, *model, BatchTokens(*model, slots));
  RETURN_IF_ERROR(CheckMemory(*ops, *model, slots, places, scratch));
  RETURN_IF_ERROR(ops->device().Synchronize());  // uploads of weights
  RETURN_IF_ERROR(decoder_lane.device().Synchronize());
  return std::make_unique<SlotEngine>(std::move(ops), std::move(decoder_ops), std::move(model), slots, places);
}

}  // namespace longtake
