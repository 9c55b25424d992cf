#include "engine/runtime/session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/ops/arena.h"

namespace longtake {
namespace {

// Order of the latent buffers: working and finished, velocity, the negative prompt's velocity where there is guidance,
// then the sampler's (VideoModel::latent_buffers).
constexpr int kVelocity = 2, kNegativeVelocity = 3;

}  // namespace

Session::Session(const VideoModel& model, const SizeShape& shape, std::vector<int> blocks, const SessionSpec& spec,
                 const SlotMemory& memory, const SessionPosition& at)
    : model_(model),
      shape_(shape),
      spec_(spec),
      memory_(memory),
      lengths_(std::move(blocks)),
      plane_elements_(model.geometry().channels * shape.height * shape.width),
      at_(at) {
  stream_.frames = at.decoded;
  if (model.settings().causal) {
    state_.emplace(model.transformer(), model.settings().state_window_blocks, shape.height, shape.width, memory.state,
                   /*committed=*/at.block);
  }
}

std::vector<std::span<std::byte>> Session::Memory(std::byte* caches) const {
  std::vector<std::span<std::byte>> pieces;
  if (at_.has_prompt) {
    // One that waits is taken up by the next block, and nothing reads the other any more.
    const size_t bytes = (model_.guided() ? 2 : 1) * model_.prompt_kv_bytes();
    pieces.emplace_back(memory_.prompt + (at_.prompt_waits ? 1 - at_.prompt_slot : at_.prompt_slot) * bytes, bytes);
  }
  if (at_.block > 0) {
    if (state_.has_value()) {
      pieces.emplace_back(memory_.state, CausalState::Bytes(model_.transformer(), model_.settings().state_window_blocks,
                                                            shape_.height, shape_.width));
    }
    // To be decoded, or committed again under another prompt.
    pieces.emplace_back(reinterpret_cast<std::byte*>(Latents(at_.finished)),
                        plane_elements_ * lengths_[at_.block - 1] * sizeof(float));
  }
  if (!begins_decoding()) pieces.emplace_back(caches, shape_.decoder->cache_bytes());
  return pieces;
}

float* Session::Latents(int index) const {
  return reinterpret_cast<float*>(memory_.latents + index * Aligned(model_.max_block_elements() * sizeof(float)));
}

SessionProgress Session::progress() const {
  const int blocks = static_cast<int>(lengths_.size());
  return {.spec = spec_,
          .blocks = blocks,
          .block = at_.block,
          .block_frames = at_.block < blocks ? lengths_[at_.block] : 0,
          .step = at_.step,
          .steps = model_.steps(at_.level),
          .committed_frames = at_.first_frame,
          .decoded_latents = at_.decoded,
          .has_prompt = at_.has_prompt};
}

absl::Status Session::Check(const Pass& pass) const {
  if (!failed_.ok()) return failed_;
  const bool made = at_.block == static_cast<int>(lengths_.size());
  const int steps = model_.steps(at_.level);
  const char* why = nullptr;
  switch (pass.kind) {
    case PassKind::kEncodePrompt:
      if (!model_.info().switches_prompt && at_.step > 0) why = "this model cannot switch its prompt";
      break;
    case PassKind::kDenoise:
      if (made)
        why = "all blocks are committed";
      else if (!at_.has_prompt)
        why = "the session has no prompt";
      else if (at_.step == steps)
        why = "the block awaits its commit";
      else if (at_.step == 0 && (pass.level < 0 || pass.level >= model_.levels()))
        why = "the model has no such level";
      break;
    case PassKind::kCommit:
      if (made)
        why = "all blocks are committed";
      else if (at_.step < steps)
        why = "the block is not denoised";
      else if (at_.decoded < at_.first_frame)
        why = "the block before is not decoded";
      break;
    case PassKind::kDecode:
      if (at_.decoded == at_.first_frame) why = "no committed latent frame is left";
      break;
  }
  return why == nullptr ? absl::OkStatus() : absl::FailedPreconditionError(absl::StrCat("pass: ", why));
}

void* Session::NextPrompt(bool negative) {
  const int in_slot = model_.guided() ? 2 : 1;
  return memory_.prompt + ((1 - at_.prompt_slot) * in_slot + (negative ? 1 : 0)) * model_.prompt_kv_bytes();
}

void Session::PromptEncoded(int64_t tokens, int64_t negative_tokens) {
  at_.next_prompt = {tokens, negative_tokens};
  at_.prompt_waits = at_.has_prompt = true;
}

PromptKv Session::Prompt(bool negative) const {
  const int in_slot = model_.guided() ? 2 : 1;
  return {memory_.prompt + (at_.prompt_slot * in_slot + (negative ? 1 : 0)) * model_.prompt_kv_bytes(),
          negative ? at_.prompt.negative : at_.prompt.positive};
}

bool Session::TakeUpPrompt() {
  if (!at_.prompt_waits || at_.step > 0) return false;
  at_.prompt_slot = 1 - at_.prompt_slot;
  at_.prompt = at_.next_prompt;
  at_.prompt_waits = false;
  return at_.block > 0 && model_.settings().recompute_last_on_switch;
}

TransformerPass& Session::AddPass(PassList& passes, const float* latents, int frames, int first_frame,
                                  float timestep) const {
  TransformerPass& pass = passes.Add();
  pass.latents = latents;
  pass.frames = frames;
  pass.height = shape_.height;
  pass.width = shape_.width;
  pass.first_frame = first_frame / model_.transformer().config().patch[0];
  pass.timesteps.push_back(timestep);
  pass.prompt = Prompt(false);
  return pass;
}

void Session::AddRecommitPass(PassList& passes) {
  state_->TakeBack();
  const int frames = lengths_[at_.block - 1];
  state_->Write(&AddPass(passes, Latents(at_.finished), frames, at_.first_frame - frames, 0.f));
}

void Session::StartBlock(Ops& ops, Ops& decoder_ops, int level) {
  at_.level = level;
  ops.device().WaitFor(decoder_ops.device(), read_[at_.working]);
  ops.sampler().FillNormal({.seed = spec_.seed, .block = static_cast<uint32_t>(at_.block)}, elements(),
                           Latents(at_.working));
}

void Session::AddDenoisePasses(PassList& passes) const {
  const auto add = [&](bool negative, int velocity) {
    TransformerPass& pass =
        AddPass(passes, Latents(at_.working), block_frames(), at_.first_frame, model_.timestep(at_.level, at_.step));
    pass.prompt = Prompt(negative);
    if (state_.has_value()) state_->Read(&pass);
    pass.velocity = Latents(velocity);
  };
  add(false, kVelocity);
  if (model_.guided()) add(true, kNegativeVelocity);
}

void Session::Denoised(Ops& ops) {
  float* velocity = Latents(kVelocity);
  if (model_.guided()) {
    Guide(ops, model_.settings().guidance, Latents(kNegativeVelocity), elements(), velocity);
  }
  const Sampler& sampler = model_.sampler(at_.level);
  std::array<float*, Sampler::kMaxBuffers> buffers;
  for (int i = 0; i < sampler.buffers(); ++i) buffers[i] = Latents(model_.first_sampler_buffer() + i);
  if (sampler.needs_noise(at_.step)) {
    ops.sampler().FillNormal(
        {.seed = spec_.seed, .block = static_cast<uint32_t>(at_.block), .step = static_cast<uint32_t>(at_.step + 1)},
        elements(), buffers[0]);
  }
  sampler.Step(ops, {.step = at_.step,
                     .n = elements(),
                     .velocity = velocity,
                     .x = Latents(at_.working),
                     .buffers = {buffers.data(), static_cast<size_t>(sampler.buffers())}});
  ++at_.step;
}

void Session::AddCommitPass(PassList& passes) const {
  if (!state_.has_value()) return;
  state_->Write(&AddPass(passes, Latents(at_.working), block_frames(), at_.first_frame, 0.f));
}

void Session::Committed() {
  if (state_.has_value()) state_->Committed();
  std::swap(at_.working, at_.finished);
  at_.first_frame += block_frames();
  ++at_.block;
  at_.step = at_.level = 0;
}

Session::DecodeInput Session::NextDecode() {
  const int frames = lengths_[at_.block - 1], frame = at_.decoded++;
  const LatentGeometry& latents = model_.geometry();
  return {.latents = Latents(at_.finished),
          .written = written_[at_.finished],
          .buffer = at_.finished,
          .frames = frames,
          .t = frame - (at_.first_frame - frames),
          .stream = &stream_,
          .begins = frame == 0,
          .first_video_frame = latents.Emitted(frame),
          .video_frames = static_cast<int>(latents.Emitted(frame + 1) - latents.Emitted(frame))};
}

}  // namespace longtake
