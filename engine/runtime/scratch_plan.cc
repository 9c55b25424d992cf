#include "engine/runtime/scratch_plan.h"

#include <algorithm>
#include <vector>

#include "engine/models/video/video_frame.h"

namespace longtake {
namespace {

// The largest batch. `passes` is the number of its rows of timesteps, at most one for each patched frame of the
// smallest size, since no pass has fewer tokens than such a frame.
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

// A placeholder address for views while operations are only planned; it is never dereferenced.
std::byte* NoMemory() { return reinterpret_cast<std::byte*>(uintptr_t{1} << 20); }

Mat CaptionRows(const VideoModel& model) {
  return MakeMat(NoMemory(), DType::kF32, model.caption().caption_tokens(), model.caption().width());
}

// The last frame of the longest video, after patching, because tables of rotary positions grow with the highest
// position.
TransformerPass LastFrame(const VideoModel& model, const SizeShape& s) {
  const int patch = model.transformer().config().patch[0];
  return {.latents = reinterpret_cast<const float*>(NoMemory()),
          .frames = patch,
          .height = s.height,
          .width = s.width,
          .first_frame = model.info().max_latent_frames / patch - 1,
          .timesteps = {0.f},
          .prompt = {NoMemory(), model.caption().caption_tokens()},
          .adapters = model.largest_adapters(),
          .velocity = reinterpret_cast<float*>(NoMemory())};
}

// Plans a batch of at least most.tokens tokens in as many passes as possible, one pass of each size, and the encoding
// of the longest prompt.
void CountTransformer(const VideoModel& model, const BatchLimit& most) {
  const int64_t frame = std::max<int64_t>(FrameTokens(model, *most.smallest), 1);
  const std::vector<TransformerPass> passes((most.tokens + frame - 1) / frame, LastFrame(model, *most.smallest));
  model.transformer().Forward(passes, NoMemory());
  for (const SizeShape& s : model.sizes()) {
    const TransformerPass pass = LastFrame(model, s);
    model.transformer().Forward({&pass, 1}, NoMemory());
  }
  model.transformer().EncodePrompt(CaptionRows(model), model.largest_adapters(), NoMemory(), NoMemory());
}

void CountText(const VideoModel& model) {
  (void)model.caption().Encode(model.caption().Longest(), NoMemory(), CaptionRows(model));
}

// Plans a stream's first latent frame and a later one, and a first image, at each size.
void CountDecoder(Ops& ops, const VideoModel& model) {
  const auto emit = [&](const VideoFrame& frame) { ToI420(ops, frame, reinterpret_cast<uint8_t*>(NoMemory())); };
  for (const SizeShape& s : model.sizes()) {
    for (const SizedVideoDecoder* decoder : s.decoders()) {
      for (const int64_t before : {0, 2}) {
        VideoStream stream{.caches = NoMemory(), .frames = before};
        decoder->Decode(reinterpret_cast<const float*>(NoMemory()), 1, 0, &stream, NoMemory(), emit);
      }
    }
    if (s.encoder == nullptr) continue;
    VideoStream image;
    s.encoder->Encode(reinterpret_cast<const float*>(NoMemory()), &image, NoMemory(), 1, 0,
                      reinterpret_cast<float*>(NoMemory()));
  }
}

}  // namespace

ScratchPlan PlanScratch(const PartOps& parts, const VideoModel& model, int64_t batch_tokens) {
  const BatchLimit most = LimitOf(model, batch_tokens);
  parts.transformer().scratch().Plan([&] { CountTransformer(model, most); });
  parts.text().scratch().Plan([&] { CountText(model); });
  parts.decoder().scratch().Plan([&] { CountDecoder(parts.decoder(), model); });
  ScratchPlan plan{.batch_tokens = most.tokens,
                   .transformer = model.ScratchBytes(most.tokens, most.passes),
                   .decoder = model.DecoderScratchBytes()};
  for (Ops* ops : parts.distinct()) plan.operations += ops->scratch().use().planned;
  if (!parts.lanes_overlap()) plan.transformer = std::max(plan.transformer, std::exchange(plan.decoder, 0));
  return plan;
}

}  // namespace longtake
