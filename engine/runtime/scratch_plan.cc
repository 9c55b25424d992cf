#include "engine/runtime/scratch_plan.h"

#include <algorithm>
#include <vector>

#include "engine/runtime/frame_output.h"

namespace longtake {
namespace {

// The largest batch: tokens, and passes, each with a row of timesteps. No pass has fewer tokens than one patched frame.
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

// Where views point while operations are only counted.
std::byte* NoMemory() { return reinterpret_cast<std::byte*>(uintptr_t{1} << 20); }

// The last frame of the longest video, after patching: tables of rotary positions reach as far as the passes do.
TransformerPass LastFrame(const VideoModel& model, const SizeShape& s) {
  const int patch = model.transformer().config().patch[0];
  return {.latents = reinterpret_cast<const float*>(NoMemory()),
          .frames = patch,
          .height = s.height,
          .width = s.width,
          .first_frame = model.info().max_latent_frames / patch - 1,
          .timesteps = {0.f},
          .prompt = {NoMemory(), model.caption().caption_tokens()},
          .velocity = reinterpret_cast<float*>(NoMemory())};
}

// A batch of at least so many tokens in as many passes, each size by itself, and the longest prompt.
void CountTransformer(const VideoModel& model, const BatchLimit& most) {
  const int64_t frame = std::max<int64_t>(FrameTokens(model, *most.smallest), 1);
  const std::vector<TransformerPass> passes((most.tokens + frame - 1) / frame, LastFrame(model, *most.smallest));
  model.transformer().Forward(passes, NoMemory());
  for (const SizeShape& s : model.sizes()) {
    const TransformerPass pass = LastFrame(model, s);
    model.transformer().Forward({&pass, 1}, NoMemory());
  }

  const CaptionEncoder& caption = model.caption();
  const Mat out = MakeMat(NoMemory(), DType::kF32, caption.caption_tokens(), caption.width());
  (void)caption.Encode(caption.Longest(), NoMemory(), out);
  model.transformer().EncodePrompt(out, NoMemory(), NoMemory());
}

// A stream's first latent frame and a later one, of each size.
void CountDecoder(Ops& ops, const VideoModel& model) {
  for (const SizeShape& s : model.sizes()) {
    for (const int64_t before : {0, 2}) {
      WanStream stream{.caches = NoMemory(), .frames = before};
      const auto emit = [&](ConstMat frame) {
        ToI420(ops, model.vae_config(), s.size, frame, reinterpret_cast<uint8_t*>(NoMemory()));
      };
      model.decoder().Decode(s.decoder, reinterpret_cast<const float*>(NoMemory()), 1, 0, &stream, NoMemory(), emit);
    }
  }
}

}  // namespace

ScratchPlan PlanScratch(Ops& ops, Ops& decoder_ops, const VideoModel& model, int64_t batch_tokens) {
  const BatchLimit most = LimitOf(model, batch_tokens);
  ops.scratch().Plan([&] { CountTransformer(model, most); });
  decoder_ops.scratch().Plan([&] { CountDecoder(decoder_ops, model); });
  ScratchPlan plan{.batch_tokens = most.tokens,
                   .transformer = model.ScratchBytes(most.tokens, most.passes),
                   .decoder = model.DecoderScratchBytes(),
                   .operations = ops.scratch().use().planned};
  if (&ops != &decoder_ops) {
    plan.operations += decoder_ops.scratch().use().planned;
  } else {
    plan.transformer = std::max(plan.transformer, std::exchange(plan.decoder, 0));
  }
  return plan;
}

}  // namespace longtake
