#include "engine/runtime/executor.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "common/exception_status.h"
#include "common/status_macros.h"
#include "engine/models/video/video_frame.h"
#include "engine/ops/arena.h"

namespace longtake {
namespace {

using Clock = std::chrono::steady_clock;

// 4:2:0 bytes of the video frames of one latent frame, at the largest size.
size_t FrameBytes(const VideoModel& model) {
  size_t most = 0;
  for (const SizeShape& s : model.sizes()) most = std::max(most, I420Bytes(s.size.height, s.size.width));
  return most * std::max(model.geometry().first_frames, model.geometry().frames);
}

// Returns what `run` returns. If it throws, marks the passes' sessions as failed and returns the exception's status.
absl::Status Guarded(std::span<const BoundPass> passes, absl::FunctionRef<absl::Status()> run) {
  try {
    return run();
  } catch (...) {
    absl::Status status = StatusOfCurrentException();
    for (const BoundPass& p : passes) p.session->Fail(status);
    return status;
  }
}

}  // namespace

Executor::Executor(const PartOps& parts, const VideoModel& model, DecoderCaches& caches, const ScratchPlan& plan)
    : parts_(parts),
      ops_(parts.transformer()),
      decoder_ops_(parts.decoder()),
      model_(model),
      caches_(caches),
      batch_tokens_(plan.batch_tokens),
      scratch_(AllocateTouched(ops_, plan.transformer)),
      decoder_scratch_(parts.lanes_overlap() ? AllocateTouched(decoder_ops_, plan.decoder) : nullptr),
      staging_(decoder_ops_, FrameBytes(model), kStagedDecodes) {
  pixels_.resize(model.ImagePixelBytes() / sizeof(float));
  batch_.reserve(caches.sessions());  // a session has at most one pass in a batch
  copies_.reserve(model.geometry().channels);
  // A device that works in host memory copies a session to where the result is.
  if (decoder_ops_.device().memory_bytes() > 0) {
    checkpoint_staging_.emplace(decoder_ops_, model_.info().max_checkpoint_bytes, /*count=*/1);
  }
  for (Ops* ops : parts.distinct()) {
    if (!ops->scratch().Reserve().ok()) throw std::bad_alloc();
  }
}

size_t Executor::StagingBytes(const VideoModel& model) {
  return FrameBytes(model) * kStagedDecodes + model.ImagePixelBytes();
}

Scratch::Use Executor::scratch_use() const {
  const size_t own = scratch_->size() + (decoder_scratch_ == nullptr ? 0 : decoder_scratch_->size());
  Scratch::Use sum{.planned = own, .used = own};
  for (const Ops* ops : parts_.distinct()) {
    const Scratch::Use use = ops->scratch().use();
    sum = {.planned = sum.planned + use.planned, .used = sum.used + use.used};
  }
  return sum;
}

Executor::Handle Executor::NewIssued(Lane lane, size_t passes) {
  IssuedPasses* issued = nullptr;
  {
    const MutexLock lock(mutex_);
    if (unused_.empty()) {
      unused_.reserve(all_.size() + 1);  // so that Recycle, which runs on other threads, does not allocate
      all_.push_back(std::make_unique<IssuedPasses>());
      unused_.push_back(all_.back().get());
    }
    issued = unused_.back();
    unused_.pop_back();
  }
  Handle handle(issued, Recycler{this});
  issued->lane = lane;
  issued->issued = Clock::now();
  issued->passes.reserve(passes);
  return handle;
}

void Executor::Recycle(IssuedPasses* passes) {
  for (const IssuedPasses::One& one : passes->passes) {
    if (one.staged != nullptr) staging_.Return(one.staged);
    if (one.saved != nullptr && one.saved->staged != nullptr) checkpoint_staging_->Return(one.saved->staged);
  }
  passes->passes.clear();
  const MutexLock lock(mutex_);
  unused_.push_back(passes);
}

void Executor::Issue(std::span<const BoundPass> passes, Issued issued, Refused refused) {
  for (const BoundPass& p : passes) {
    const PassKind kind = p.pass->kind;
    if (kind == PassKind::kDenoise || kind == PassKind::kCommit) continue;
    Handle handle;
    absl::Status status = p.session->Check(*p.pass);
    if (status.ok()) {
      // A failed save leaves its session unchanged, so the session continues.
      const std::span<const BoundPass> at_stake = {&p, size_t{kind == PassKind::kSave ? 0u : 1u}};
      status = Guarded(at_stake, [&]() -> absl::Status {
        if (kind == PassKind::kDecode) {
          handle = IssueDecode(p);
        } else if (kind == PassKind::kSave) {
          handle = IssueSave(p);
        } else if (kind == PassKind::kRestore) {
          ASSIGN_OR_RETURN(handle, IssueRestore(p));
        } else {
          ASSIGN_OR_RETURN(handle, IssueEncode(p));
        }
        return absl::OkStatus();
      });
    }
    if (status.ok()) {
      issued(handle.release());
    } else {
      refused(p, std::move(status));
    }
  }
  IssueTransformer(passes, issued, refused);
}

void Executor::Await(IssuedPasses* passes, Done done) {
  const Handle handle(passes, Recycler{this});
  const absl::Status status =
      (passes->lane == Lane::kDecoder ? decoder_ops_ : ops_).device().Synchronize(passes->event);
  const Clock::time_point now = Clock::now();
  Clock::time_point& before = ended_[static_cast<size_t>(passes->lane)];
  // A lane runs its passes one after the other. Passes issued while earlier ones still ran have therefore begun when
  // those finished.
  const double seconds = std::chrono::duration<double>(now - std::max(before, passes->issued)).count();
  before = now;
  for (IssuedPasses::One& one : passes->passes) {
    PassResult result{.status = status,
                      .device_seconds = seconds * one.share,
                      .prompt_tokens = one.prompt_tokens,
                      .prompt_tokens_used = one.prompt_tokens_used};
    if (one.staged != nullptr && status.ok()) {
      std::memcpy(one.frames.bytes.data(), one.staged, one.frames.bytes.size());
      result.frames = std::move(one.frames);
    }
    if (one.saved != nullptr && status.ok()) result.checkpoint = Sealed(*one.saved);
    done(one, std::move(result));
  }
}

absl::StatusOr<Executor::Handle> Executor::IssueEncode(const BoundPass& p) {
  const CaptionEncoder& caption = model_.caption();
  auto* rows = static_cast<std::byte*>(scratch_->data());
  std::byte* scratch = rows + Aligned(caption.caption_tokens() * caption.width() * sizeof(float));
  const Mat out = MakeMat(rows, DType::kF32, caption.caption_tokens(), caption.width());

  Handle handle = NewIssued(Lane::kTransformer, 1);
  const auto encode = [&](const CaptionTokens& tokens, bool negative) -> absl::Status {
    RETURN_IF_ERROR(caption.Encode(tokens, scratch, out));
    model_.transformer().EncodePrompt(out.Rows(0, tokens.kept_valid()), p.session->adapters(), scratch,
                                      p.session->NextPrompt(negative));
    return absl::OkStatus();
  };
  // A prompt that is refused must change nothing, so both prompts are tokenized before a waiting prompt is overwritten.
  ASSIGN_OR_RETURN(const CaptionTokens tokens, caption.Tokenize(p.pass->prompt));
  CaptionTokens negative;
  if (model_.guided()) {
    const std::string& text = p.pass->negative_prompt;
    ASSIGN_OR_RETURN(negative, caption.TokenizeNegative(text.empty() ? model_.settings().negative_prompt : text));
  }
  if (p.session->NeedsImage()) EncodeImage(*p.session);
  ops_.device().WaitFor(decoder_ops_.device(), p.session->saved());
  RETURN_IF_ERROR(encode(tokens, false));
  if (model_.guided()) RETURN_IF_ERROR(encode(negative, true));
  p.session->PromptEncoded(tokens.kept_valid(), model_.guided() ? negative.kept_valid() : 0);
  handle->event = ops_.device().Record();
  p.session->StateWritten(handle->event);
  handle->passes.push_back({.pass = p,
                            .progress = p.session->progress(),
                            .prompt_tokens = tokens.prompt_tokens,
                            .prompt_tokens_used = tokens.prompt_tokens_used});
  return handle;
}

void Executor::IssueTransformer(std::span<const BoundPass> passes, Issued issued, Refused refused) {
  // Passes are batched as long as they fit into the planned scratch. Results do not depend on where a batch is cut.
  int64_t tokens = 0;
  for (const BoundPass& p : passes) {
    if (p.pass->kind != PassKind::kDenoise && p.pass->kind != PassKind::kCommit) continue;
    if (absl::Status status = p.session->Check(*p.pass); !status.ok()) {
      refused(p, std::move(status));
      continue;
    }
    const SessionProgress at = p.session->progress();
    const int64_t more =
        model_.transformer().Tokens(at.block_frames, p.session->shape().height, p.session->shape().width) *
        (model_.guided() ? 2 : 1);
    if (tokens + more > batch_tokens_) {
      IssueBatch(issued, refused);
      tokens = 0;
    }
    batch_.push_back(p);
    tokens += more;
  }
  IssueBatch(issued, refused);
}

void Executor::IssueBatch(Issued issued, Refused refused) {
  if (batch_.empty()) return;
  Handle handle;
  const absl::Status status = Guarded(batch_, [&] {
    handle = RunBatch();
    return absl::OkStatus();
  });
  if (status.ok()) {
    issued(handle.release());
  } else {
    for (const BoundPass& p : batch_) refused(p, status);
  }
  batch_.clear();
}

Executor::Handle Executor::RunBatch() {
  Handle handle = NewIssued(Lane::kTransformer, batch_.size());
  tokens_.assign(batch_.size(), 0);
  int64_t all_tokens = 0;
  const auto count = [&](size_t i, const PassList& list, size_t from) {
    for (const TransformerPass& pass : list.passes().subspan(from)) {
      const int64_t more = model_.transformer().Tokens(pass.frames, pass.height, pass.width);
      tokens_[i] += more;
      all_tokens += more;
    }
  };
  for (size_t i = 0; i < batch_.size(); ++i) {
    Session& session = *batch_[i].session;
    if (batch_[i].pass->kind == PassKind::kCommit) ops_.device().WaitFor(decoder_ops_.device(), session.saved());
    if (batch_[i].pass->kind != PassKind::kDenoise || session.progress().step > 0) continue;
    if (session.TakeUpPrompt()) {
      ops_.device().WaitFor(decoder_ops_.device(), session.saved());
      beforehand_.Clear();
      session.AddRecommitPass(beforehand_);
      count(i, beforehand_, 0);
      model_.transformer().Forward(beforehand_.passes(), scratch_->data());
      session.Recommitted();
      session.StateWritten(ops_.device().Record());
    }
    if (session.CommitsImage()) {
      beforehand_.Clear();
      session.AddImagePass(beforehand_);
      count(i, beforehand_, 0);
      model_.transformer().Forward(beforehand_.passes(), scratch_->data());
      session.ImageCommitted();
    }
    session.StartBlock(ops_, decoder_ops_, batch_[i].pass->level);
  }

  passes_.Clear();
  for (size_t i = 0; i < batch_.size(); ++i) {
    const size_t before = passes_.passes().size();
    if (batch_[i].pass->kind == PassKind::kDenoise) {
      batch_[i].session->AddDenoisePasses(passes_);
    } else {
      batch_[i].session->AddCommitPass(passes_);
    }
    count(i, passes_, before);
  }
  if (!passes_.empty()) model_.transformer().Forward(passes_.passes(), scratch_->data());
  for (const BoundPass& p : batch_) {
    if (p.pass->kind == PassKind::kDenoise) p.session->Denoised(ops_);
  }
  handle->event = ops_.device().Record();
  for (size_t i = 0; i < batch_.size(); ++i) {
    Session& session = *batch_[i].session;
    if (batch_[i].pass->kind == PassKind::kDenoise) {
      session.LatentsWritten(handle->event);
    } else {
      session.Committed();
      session.StateWritten(handle->event);
    }
    const double share = all_tokens == 0 ? 0.0 : static_cast<double>(tokens_[i]) / static_cast<double>(all_tokens);
    handle->passes.push_back({.pass = batch_[i], .share = share, .progress = session.progress()});
  }
  return handle;
}

}  // namespace longtake
