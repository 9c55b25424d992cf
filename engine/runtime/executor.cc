#include "engine/runtime/executor.h"

#include <algorithm>
#include <new>
#include <utility>

#include "common/status_macros.h"

namespace longtake {
namespace {

using Clock = std::chrono::steady_clock;

size_t I420Bytes(const Size& size) { return size_t{1} * size.width * size.height * 3 / 2; }

// Of the frames of one latent frame, at the largest size.
size_t FrameBytes(const VideoModel& model) {
  size_t most = 0;
  for (const SizeShape& s : model.sizes()) most = std::max(most, I420Bytes(s.size));
  return most * model.vae_config().temporal_factor();
}

// The largest batch: tokens, and passes, of which each has a row of timesteps. No pass has fewer tokens than one
// patched frame.
struct BatchLimit {
  int64_t tokens = 0, passes = 0;
  const SizeShape* smallest = nullptr;
};

int64_t FrameTokens(const VideoModel& model, const SizeShape& s) {
  return model.transformer().Tokens(model.transformer().config().patch[0], s.height, s.width);
}

BatchLimit LimitOf(const VideoModel& model, int64_t batch_tokens) {
  BatchLimit most{.tokens = std::max(batch_tokens, model.max_pass_tokens()), .smallest = &model.sizes().front()};
  for (const SizeShape& s : model.sizes()) {
    if (FrameTokens(model, s) < FrameTokens(model, *most.smallest)) most.smallest = &s;
  }
  most.passes = most.tokens / std::max<int64_t>(FrameTokens(model, *most.smallest), 1);
  return most;
}

// What passes of each lane work in, operations' own scratch aside; where the lanes are one, `transformer` serves both.
struct OwnScratch {
  size_t transformer = 0, decoder = 0;
};

OwnScratch OwnScratchOf(const VideoModel& model, const BatchLimit& most, bool lanes) {
  const size_t transformer = model.ScratchBytes(most.tokens, most.passes), decoder = model.DecoderScratchBytes();
  return lanes ? OwnScratch{transformer, decoder} : OwnScratch{std::max(transformer, decoder), 0};
}

// Where views point while operations only count.
std::byte* Nowhere() { return reinterpret_cast<std::byte*>(uintptr_t{1} << 20); }

// A batch of at least so many tokens in as many passes, and the longest prompt.
void CountTransformer(const VideoModel& model, const BatchLimit& most) {
  const SizeShape& s = *most.smallest;
  const int patch = model.transformer().config().patch[0];
  const TransformerPass pass{.latents = reinterpret_cast<const float*>(Nowhere()),
                             .frames = patch,
                             .height = s.height,
                             .width = s.width,
                             .timesteps = {0.f},
                             .prompt = {Nowhere(), model.caption().caption_tokens()},
                             .velocity = reinterpret_cast<float*>(Nowhere())};
  std::vector<TransformerPass> passes(most.passes, pass);
  const int64_t frame = FrameTokens(model, s), left = most.tokens - (most.passes - 1) * frame;
  passes.back().frames = patch * static_cast<int>((left + frame - 1) / frame);
  model.transformer().Forward(passes, Nowhere());

  const CaptionEncoder& caption = model.caption();
  const Mat out = MakeMat(Nowhere(), DType::kF32, caption.caption_tokens(), caption.width());
  (void)caption.Encode(caption.Longest(), Nowhere(), out);
  model.transformer().EncodePrompt(out, Nowhere(), Nowhere());
}

void EmitI420(Ops& ops, const WanConfig& vae, const Size& size, ConstMat frame, uint8_t* i420) {
  const size_t luma = size_t{1} * size.width * size.height;
  ops.latents().FrameToI420({.frame = frame,
                             .height = size.height / vae.patch,
                             .width = size.width / vae.patch,
                             .patch = vae.patch,
                             .y = i420,
                             .u = i420 + luma,
                             .v = i420 + luma + luma / 4});
}

// A stream's first latent frame and a later one, of each size.
void CountDecoder(Ops& ops, const VideoModel& model) {
  for (const SizeShape& s : model.sizes()) {
    for (const int64_t before : {0, 2}) {
      WanStream stream{.caches = Nowhere(), .frames = before};
      const auto emit = [&](ConstMat frame) {
        EmitI420(ops, model.vae_config(), s.size, frame, reinterpret_cast<uint8_t*>(Nowhere()));
      };
      model.decoder().Decode(s.decoder, reinterpret_cast<const float*>(Nowhere()), 1, 0, &stream, Nowhere(), emit);
    }
  }
}

}  // namespace

Executor::Executor(Ops& ops, Ops& decoder_ops, const VideoModel& model, DecoderCaches& caches, int64_t batch_tokens)
    : ops_(ops),
      decoder_ops_(decoder_ops),
      model_(model),
      caches_(caches),
      batch_tokens_(std::max(batch_tokens, model.max_pass_tokens())),
      staging_(decoder_ops, FrameBytes(model), kStagedDecodes) {
  const bool lanes = &ops != &decoder_ops;
  const OwnScratch own = OwnScratchOf(model, LimitOf(model, batch_tokens), lanes);
  scratch_ = ops.device().Allocate(own.transformer);
  if (lanes) decoder_scratch_ = decoder_ops.device().Allocate(own.decoder);
  if (!ops.scratch().Reserve().ok() || (lanes && !decoder_ops.scratch().Reserve().ok())) throw std::bad_alloc();
}

size_t Executor::PlanScratch(Ops& ops, Ops& decoder_ops, const VideoModel& model, int64_t batch_tokens) {
  const BatchLimit most = LimitOf(model, batch_tokens);
  ops.scratch().Plan([&] { CountTransformer(model, most); });
  decoder_ops.scratch().Plan([&] { CountDecoder(decoder_ops, model); });
  const bool lanes = &ops != &decoder_ops;
  const OwnScratch own = OwnScratchOf(model, most, lanes);
  return own.transformer + own.decoder + ops.scratch().use().planned +
         (lanes ? decoder_ops.scratch().use().planned : 0);
}

Scratch::Use Executor::scratch_use() const {
  Scratch::Use sum = ops_.scratch().use();
  if (&ops_ != &decoder_ops_) {
    const Scratch::Use decoder = decoder_ops_.scratch().use();
    sum = {.planned = sum.planned + decoder.planned, .used = sum.used + decoder.used};
  }
  return {.planned = sum.planned + own_scratch(), .used = sum.used + own_scratch()};
}

void Executor::Refuse(const BoundPass& p, const absl::Status& status, const Done& refused) const {
  refused(p.index, {.status = status}, p.session->progress());
}

void Executor::Issue(std::span<const BoundPass> passes, const Issued& issued, const Done& refused) {
  struct Decode {
    const BoundPass* pass;
    Session::DecodeInput in;
  };
  std::vector<Decode> decodes;
  std::vector<BoundPass> transformer;
  const auto issue_decodes = [&] {
    for (const Decode& d : decodes) IssueDecode(*d.pass, d.in, issued);
  };
  // A commit of the same batch finds its session's latents decoded.
  for (const BoundPass& p : passes) {
    if (p.pass->kind != PassKind::kDecode) continue;
    if (const absl::Status status = p.session->Check(*p.pass); !status.ok()) {
      Refuse(p, status, refused);
    } else {
      decodes.push_back({&p, p.session->NextDecode()});
    }
  }
  // In one lane decodes go first, since a viewer waits for them. Where they have their own, its launches (about five
  // hundred a latent frame) come last, so that the transformer's do not wait behind them.
  const bool lanes = decoder_scratch_ != nullptr;
  if (!lanes) issue_decodes();
  for (const BoundPass& p : passes) {
    if (p.pass->kind == PassKind::kEncodePrompt) {
      const auto begun = Clock::now();
      if (const absl::Status status = IssueEncode(p); !status.ok()) {
        Refuse(p, status, refused);
      } else {
        issued({.event = ops_.device().Record(),
                .issued = begun,
                .passes = {{.index = p.index, .progress = p.session->progress()}}});
      }
    }
    if (p.pass->kind == PassKind::kDenoise || p.pass->kind == PassKind::kCommit) transformer.push_back(p);
  }
  IssueTransformer(transformer, issued, refused);
  if (lanes) issue_decodes();
}

void Executor::Await(IssuedPasses passes, const Done& done) {
  const absl::Status status = (passes.decoder_lane ? decoder_ops_ : ops_).device().Synchronize(passes.event);
  const Clock::time_point now = Clock::now();
  Clock::time_point& before = ended_[passes.decoder_lane ? 1 : 0];
  // A lane runs one after the other: what was issued behind others has begun when they ended.
  const double seconds = std::chrono::duration<double>(now - std::max(before, passes.issued)).count();
  before = now;
  for (IssuedPasses::One& one : passes.passes) {
    PassResult result{.status = status, .device_seconds = seconds * one.share};
    if (one.staged != nullptr) {
      if (status.ok()) {
        result.frames = std::move(one.frames);
        const auto* bytes = reinterpret_cast<const uint8_t*>(one.staged);
        result.frames.bytes.assign(bytes, bytes + I420Bytes(result.frames.size) * result.frames.count);
      }
      staging_.Return(one.staged);
    }
    done(one.index, std::move(result), one.progress);
  }
}

absl::Status Executor::IssueEncode(const BoundPass& p) {
  RETURN_IF_ERROR(p.session->Check(*p.pass));
  const CaptionEncoder& caption = model_.caption();
  auto* rows = static_cast<std::byte*>(scratch_->data());
  std::byte* scratch = rows + Aligned(caption.caption_tokens() * caption.width() * sizeof(float));
  const Mat out = MakeMat(rows, DType::kF32, caption.caption_tokens(), caption.width());

  const auto encode = [&](bool negative) -> absl::StatusOr<int64_t> {
    const std::string& text = negative && p.pass->negative_prompt.empty() ? model_.settings().negative_prompt
                              : negative                                  ? p.pass->negative_prompt
                                                                          : p.pass->prompt;
    ASSIGN_OR_RETURN(const CaptionTokens tokens, negative ? caption.TokenizeNegative(text) : caption.Tokenize(text));
    RETURN_IF_ERROR(caption.Encode(tokens, scratch, out));
    model_.transformer().EncodePrompt(out.Rows(0, tokens.kept_valid()), scratch, p.session->NextPrompt(negative));
    return tokens.kept_valid();
  };
  ASSIGN_OR_RETURN(const int64_t tokens, encode(false));
  int64_t negative_tokens = 0;
  if (model_.guided()) {
    ASSIGN_OR_RETURN(negative_tokens, encode(true));
  }
  p.session->PromptEncoded(tokens, negative_tokens);
  return absl::OkStatus();
}

void Executor::IssueDecode(const BoundPass& p, const Session::DecodeInput& in, const Issued& issued) {
  const SizeShape& shape = p.session->shape();
  const size_t frame_bytes = I420Bytes(shape.size);

  IssuedPasses::One one{.index = p.index, .progress = p.session->progress(), .staged = staging_.Take()};
  one.frames.size = shape.size;
  one.frames.first_frame = in.first_video_frame;
  const auto begun = Clock::now();
  auto* memory = static_cast<std::byte*>((decoder_scratch_ == nullptr ? scratch_ : decoder_scratch_)->data());
  auto* i420 = reinterpret_cast<uint8_t*>(memory);
  decoder_ops_.device().WaitFor(ops_.device(), in.written);
  in.stream->caches = caches_.Bring(p.slot, in.begins);
  model_.decoder().Decode(
      shape.decoder, in.latents, in.frames, in.t, in.stream, memory + Aligned(frame_bytes), [&](ConstMat frame) {
        EmitI420(decoder_ops_, model_.vae_config(), shape.size, frame, i420);
        decoder_ops_.device().DownloadAsync(i420, one.staged + one.frames.count * frame_bytes, frame_bytes);
        ++one.frames.count;
      });
  const Event read = decoder_ops_.device().Record();
  p.session->LatentsRead(in, read);
  issued({.decoder_lane = true, .event = read, .issued = begun, .passes = {std::move(one)}});
}

void Executor::IssueTransformer(std::span<const BoundPass> passes, const Issued& issued, const Done& refused) {
  // As many passes as fit into the planned scratch form one batch; results do not depend on where it is cut.
  std::vector<BoundPass> batch;
  int64_t tokens = 0;
  for (const BoundPass& p : passes) {
    if (const absl::Status status = p.session->Check(*p.pass); !status.ok()) {
      Refuse(p, status, refused);
      continue;
    }
    const SessionProgress at = p.session->progress();
    const int64_t more =
        model_.transformer().Tokens(at.block_frames, p.session->shape().height, p.session->shape().width) *
        (model_.guided() ? 2 : 1);
    if (tokens + more > batch_tokens_) {
      IssueTransformerBatch(batch, issued);
      batch.clear();
      tokens = 0;
    }
    batch.push_back(p);
    tokens += more;
  }
  IssueTransformerBatch(batch, issued);
}

void Executor::IssueTransformerBatch(std::span<const BoundPass> batch, const Issued& issued) {
  if (batch.empty()) return;
  IssuedPasses out{.issued = Clock::now()};
  std::vector<int64_t> tokens(batch.size(), 0);
  int64_t all_tokens = 0;
  const auto count = [&](size_t i, const TransformerPass& pass) {
    const int64_t more = model_.transformer().Tokens(pass.frames, pass.height, pass.width);
    tokens[i] += more;
    all_tokens += more;
  };
  std::vector<TransformerPass> passes;
  const auto add = [&](size_t i, TransformerPass pass) {
    count(i, pass);
    passes.push_back(std::move(pass));
  };
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].pass->kind != PassKind::kDenoise) continue;
    Session& session = *batch[i].session;
    if (session.progress().step > 0) continue;
    if (session.TakeUpPrompt()) {
      const TransformerPass again = session.RecommitPass();
      count(i, again);
      model_.transformer().Forward({&again, 1}, scratch_->data());
      session.Recommitted();
    }
    session.StartBlock(ops_, decoder_ops_, batch[i].pass->level);
  }

  for (size_t i = 0; i < batch.size(); ++i) {
    Session& session = *batch[i].session;
    if (batch[i].pass->kind == PassKind::kDenoise) {
      for (TransformerPass& pass : session.DenoisePasses()) add(i, std::move(pass));
    } else if (std::optional<TransformerPass> pass = session.CommitPass(); pass.has_value()) {
      add(i, std::move(*pass));
    }
  }
  if (!passes.empty()) model_.transformer().Forward(passes, scratch_->data());
  for (const BoundPass& p : batch) {
    if (p.pass->kind == PassKind::kDenoise) p.session->Denoised(ops_);
  }
  // Once a device has failed, its sessions are lost: they end with its status.
  out.event = ops_.device().Record();
  for (size_t i = 0; i < batch.size(); ++i) {
    Session& session = *batch[i].session;
    if (batch[i].pass->kind == PassKind::kDenoise) {
      session.LatentsWritten(out.event);
    } else {
      session.Committed();
    }
    const double share = all_tokens == 0 ? 0.0 : static_cast<double>(tokens[i]) / static_cast<double>(all_tokens);
    out.passes.push_back({.index = batch[i].index, .share = share, .progress = session.progress()});
  }
  issued(std::move(out));
}

}  // namespace longtake
