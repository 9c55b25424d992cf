#include "engine/runtime/executor.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/status_macros.h"

namespace longtake {
namespace {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

Executor::Executor(Ops& ops, const VideoModel& model, DecoderCaches& caches, int64_t batch_tokens)
    : ops_(ops),
      model_(model),
      caches_(caches),
      batch_tokens_(std::max(batch_tokens, model.max_pass_tokens())),
      scratch_(ops.Allocate(ScratchBytes(model, batch_tokens))) {}

size_t Executor::ScratchBytes(const VideoModel& model, int64_t batch_tokens) {
  const int64_t tokens = std::max(batch_tokens, model.max_pass_tokens());
  // A batch has at most one row of timesteps a pass, and no pass has fewer tokens than one patched frame.
  int64_t fewest = tokens;
  for (const SizeShape& s : model.sizes()) {
    fewest = std::min(fewest, model.transformer().Tokens(model.transformer().config().patch[0], s.height, s.width));
  }
  return model.ScratchBytes(tokens, tokens / std::max<int64_t>(fewest, 1));
}

void Executor::Run(std::span<const BoundPass> passes, const Done& done) {
  std::vector<BoundPass> transformer;
  for (const BoundPass& p : passes) {
    if (p.pass->kind == PassKind::kDecode) done(p.index, Decode(p));
  }
  for (const BoundPass& p : passes) {
    if (p.pass->kind == PassKind::kEncodePrompt) done(p.index, Encode(p));
    if (p.pass->kind == PassKind::kDenoise || p.pass->kind == PassKind::kCommit) transformer.push_back(p);
  }
  RunTransformer(transformer, done);
}

PassResult Executor::Encode(const BoundPass& p) {
  const Stopwatch watch;
  PassResult result;
  result.status = p.session->Check(*p.pass);
  if (!result.status.ok()) return result;
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
  const absl::StatusOr<int64_t> tokens = encode(false);
  const absl::StatusOr<int64_t> negative_tokens = model_.guided() && tokens.ok() ? encode(true) : 0;
  if (!tokens.ok() || !negative_tokens.ok()) {
    result.status = tokens.ok() ? negative_tokens.status() : tokens.status();
    return result;
  }
  if (result.status = ops_.Finish(); !result.status.ok()) return result;
  p.session->PromptEncoded(*tokens, *negative_tokens);
  result.device_seconds = watch.seconds();
  return result;
}

PassResult Executor::Decode(const BoundPass& p) {
  const Stopwatch watch;
  PassResult result;
  result.status = p.session->Check(*p.pass);
  if (!result.status.ok()) return result;
  const SizeShape& shape = p.session->shape();
  const Session::DecodeInput in = p.session->NextDecode(caches_.Bring(p.slot, p.session->begins_decoding()));
  const WanConfig& vae = model_.vae_config();
  const int height = shape.size.height / vae.patch, width = shape.size.width / vae.patch;
  const size_t luma = size_t{1} * shape.size.width * shape.size.height, frame_bytes = luma * 3 / 2;

  auto* i420 = static_cast<uint8_t*>(scratch_->data());
  std::byte* scratch = static_cast<std::byte*>(scratch_->data()) + Aligned(frame_bytes);
  DecodedFrames& out = result.frames;
  out.size = shape.size;
  out.first_frame = in.first_video_frame;
  model_.decoder().Decode(shape.decoder, in.latents, in.frames, in.t, in.stream, scratch, [&](ConstMat frame) {
    ops_.FrameToI420(frame, height, width, vae.patch, i420, i420 + luma, i420 + luma + luma / 4);
    out.bytes.resize(out.bytes.size() + frame_bytes);
    ops_.Download(i420, out.bytes.data() + out.count * frame_bytes, frame_bytes);
    ++out.count;
  });
  if (result.status = ops_.Finish(); !result.status.ok()) {
    result.frames = {};
    return result;
  }
  p.session->Decoded();
  result.device_seconds = watch.seconds();
  return result;
}

void Executor::RunTransformer(std::span<const BoundPass> passes, const Done& done) {
  // As many passes as fit into the planned scratch form one batch; results do not depend on where it is cut.
  std::vector<BoundPass> batch;
  int64_t tokens = 0;
  for (const BoundPass& p : passes) {
    if (const absl::Status status = p.session->Check(*p.pass); !status.ok()) {
      done(p.index, {.status = status});
      continue;
    }
    const SessionProgress at = p.session->progress();
    const int64_t more =
        model_.transformer().Tokens(at.block_frames, p.session->shape().height, p.session->shape().width) *
        (model_.guided() ? 2 : 1);
    if (tokens + more > batch_tokens_) {
      RunTransformerBatch(batch, done);
      batch.clear();
      tokens = 0;
    }
    batch.push_back(p);
    tokens += more;
  }
  RunTransformerBatch(batch, done);
}

void Executor::RunTransformerBatch(std::span<const BoundPass> batch, const Done& done) {
  if (batch.empty()) return;
  std::vector<double> seconds(batch.size(), 0.0);
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].pass->kind != PassKind::kDenoise) continue;
    Session& session = *batch[i].session;
    if (session.progress().step > 0) continue;
    const Stopwatch watch;
    if (session.TakeUpPrompt()) {
      const TransformerPass again = session.RecommitPass();
      model_.transformer().Forward({&again, 1}, scratch_->data());
      session.Recommitted();
    }
    session.StartBlock(ops_, batch[i].pass->level);
    seconds[i] = watch.seconds();
  }

  const Stopwatch watch;
  std::vector<TransformerPass> passes;
  std::vector<int64_t> tokens(batch.size(), 0);
  int64_t all_tokens = 0;
  const auto add = [&](size_t i, TransformerPass pass) {
    tokens[i] += model_.transformer().Tokens(pass.frames, pass.height, pass.width);
    all_tokens += model_.transformer().Tokens(pass.frames, pass.height, pass.width);
    passes.push_back(std::move(pass));
  };
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
    if (p.pass->kind == PassKind::kDenoise) {
      p.session->Denoised(ops_);
    } else {
      p.session->Committed();
    }
  }
  // Once a device has failed, its sessions are lost: they end with this status.
  const absl::Status status = ops_.Finish();
  const double shared = watch.seconds();
  for (size_t i = 0; i < batch.size(); ++i) {
    const double share = all_tokens == 0 ? 0.0 : static_cast<double>(tokens[i]) / static_cast<double>(all_tokens);
    done(batch[i].index, {.status = status, .device_seconds = seconds[i] + shared * share});
  }
}

}  // namespace longtake
