#include "engine/runtime/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/ops/arena.h"

namespace longtake {
namespace {

// Order of the latent buffers: working and finished, velocity, the negative prompt's velocity if the model is guided,
// then the sampler's (VideoModel::latent_buffers).
constexpr int kVelocity = 2, kNegativeVelocity = 3;

}  // namespace

Session::Session(const VideoModel& model, const SizeShape& shape, std::vector<int> blocks, const SessionSpec& spec,
                 const SlotMemory& memory, const SessionPosition& at)
    : model_(model),
      shape_(shape),
      spec_(spec),
      adapters_(model.Apply(&spec_)),
      memory_(memory),
      lengths_(std::move(blocks)),
      plane_elements_(model.geometry().channels * shape.height * shape.width) {
  StandAt(at);
}

void Session::StandAt(const SessionPosition& at) {
  at_ = at;
  stream_ = {.frames = at.decoded, .first = at.caches_from};
  if (model_.settings().causal) {
    // An image that is a block of its own is the first that the state contains.
    const int committed = at.block == 0 ? 0 : at.block + prefix_frames(0);
    state_.emplace(model_.transformer(), model_.settings().state_window_blocks, shape_.height, shape_.width,
                   memory_.state, committed);
  }
}

SessionPosition Session::BlockStart() const {
  SessionPosition at = at_;
  at.step = at.level = 0;
  return at;
}

absl::Status Session::CompletePosition(SessionPosition* at) const {
  return longtake::CompletePosition(
      {.lengths = lengths_, .caption_tokens = model_.caption().caption_tokens(), .guided = model_.guided()}, at);
}

std::vector<std::span<std::byte>> Session::Memory() const {
  std::vector<std::span<std::byte>> pieces;
  const auto prompt = [&](int slot) {
    const size_t bytes = (model_.guided() ? 2 : 1) * model_.prompt_kv_bytes();
    pieces.emplace_back(memory_.prompt + slot * bytes, bytes);
  };
  if (ReadsPrompt(at_)) prompt(at_.prompt_slot);
  if (at_.prompt_waits) prompt(1 - at_.prompt_slot);
  const std::span<std::byte> image(reinterpret_cast<std::byte*>(ImageLatent()), plane_elements_ * sizeof(float));
  if (at_.block == 0 && at_.has_prompt && spec_.first_image != nullptr) pieces.push_back(image);
  if (at_.block > 0) {
    if (state_.has_value()) {
      pieces.emplace_back(memory_.state, CausalState::Bytes(model_.transformer(), model_.settings().state_window_blocks,
                                                            shape_.height, shape_.width));
    }
    // The finished block is needed for decoding, and for committing it again under another prompt.
    pieces.push_back(FinishedLatents());
    // Latent frames before the finished block, for rebuilding the decoder's caches.
    for (int64_t frame = std::max<int64_t>(0, at_.decoded - model_.kept_latents()); frame < finished_begin(); ++frame) {
      if (frame < prefix_frames(0)) {
        pieces.push_back(image);
        continue;
      }
      pieces.emplace_back(reinterpret_cast<std::byte*>(KeptLatents(frame)), plane_elements_ * sizeof(float));
    }
  }
  return pieces;
}

float* Session::Latents(int index) const {
  return reinterpret_cast<float*>(memory_.latents + index * Aligned(model_.max_block_elements() * sizeof(float)));
}

std::span<std::byte> Session::FinishedLatents() const {
  return {reinterpret_cast<std::byte*>(Latents(at_.finished)),
          static_cast<size_t>(plane_elements_ * made_frames(at_.block - 1)) * sizeof(float)};
}

// The kept latents are a ring behind the latent buffers.
float* Session::KeptLatents(int64_t frame) const {
  return reinterpret_cast<float*>(memory_.latents + model_.latent_buffer_bytes() +
                                  frame % model_.kept_latents() * Aligned(plane_elements_ * sizeof(float)));
}

float* Session::ImageLatent() const {
  return reinterpret_cast<float*>(memory_.latents + model_.latent_buffer_bytes() + model_.kept_latent_bytes());
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
      if (at_.decoded == at_.first_frame)
        why = "no committed latent frame is left";
      else if (pass.decoder == DecoderKind::kTiny && !model_.has_tiny_decoder())
        why = "the model has no tiny decoder";
      else if (!begins_decoding() && pass.decoder.value_or(spec_.decoder) != spec_.decoder && !model_.settings().causal)
        why = "a bidirectional clip keeps its decoder";
      break;
    case PassKind::kSave:
      if (at_.block == 0) why = "no block is committed";
      break;
    case PassKind::kRestore:
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
  at_.prompt_from = at_.step > 0 ? at_.block + 1 : at_.block;
}

PromptKv Session::Prompt(bool negative) const {
  const int in_slot = model_.guided() ? 2 : 1;
  return {memory_.prompt + (at_.prompt_slot * in_slot + (negative ? 1 : 0)) * model_.prompt_kv_bytes(),
          negative ? at_.prompt.negative : at_.prompt.positive};
}

bool Session::TakeUpPrompt() {
  if (!at_.prompt_waits || at_.step > 0 || at_.block < at_.prompt_from) return false;
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
  pass.adapters = adapters_;
  return pass;
}

void Session::AddRecommitPass(PassList& passes) {
  state_->TakeBack();
  const int frames = made_frames(at_.block - 1);
  state_->Write(&AddPass(passes, Latents(at_.finished), frames, at_.first_frame - frames, 0.f));
}

void Session::AddImagePass(PassList& passes) { state_->Write(&AddPass(passes, ImageLatent(), 1, 0, 0.f)); }

void Session::HoldImage(Ops& ops) {
  held_.clear();
  const int64_t channels = model_.geometry().channels, positions = plane_elements_ / channels;
  for (int64_t c = 0; c < channels; ++c) {
    held_.push_back({.from = ImageLatent() + c * positions,
                     .to = Latents(at_.working) + c * block_frames() * positions,
                     .bytes = positions * sizeof(float)});
  }
  ops.device().CopyEach(held_);
}

void Session::StartBlock(Ops& ops, Ops& decoder_ops, int level) {
  at_.level = level;
  ops.device().WaitFor(decoder_ops.device(), read_[at_.working]);
  ops.sampler().FillNormal({.seed = spec_.seed, .block = static_cast<uint32_t>(at_.block)}, elements(),
                           Latents(at_.working));
  if (HoldsImage()) HoldImage(ops);
}

void Session::AddDenoisePasses(PassList& passes) const {
  const auto add = [&](bool negative, int velocity) {
    TransformerPass& pass =
        AddPass(passes, Latents(at_.working), block_frames(), block_begin(), model_.timestep(at_.level, at_.step));
    if (HoldsImage()) {
      pass.timesteps.resize(block_frames(), pass.timesteps[0]);
      pass.timesteps[0] = 0.f;
    }
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
  // The step computes every element from its own ones alone, so that stepping all frames and putting the held one back
  // gives the others what stepping them alone would.
  if (HoldsImage()) HoldImage(ops);
  ++at_.step;
}

void Session::AddCommitPass(PassList& passes) const {
  if (!state_.has_value()) return;
  state_->Write(&AddPass(passes, Latents(at_.working), block_frames(), block_begin(), 0.f));
}

void Session::Committed() {
  if (state_.has_value()) state_->Committed();
  std::swap(at_.working, at_.finished);
  at_.first_frame += lengths_[at_.block];
  ++at_.block;
  at_.step = at_.level = 0;
}

Session::DecodeInput Session::Input(int64_t frame) {
  const LatentGeometry& geometry = model_.geometry(spec_.decoder);
  DecodeInput in{.latents = Latents(at_.finished),
                 .frames = made_frames(at_.block - 1),
                 .t = frame - finished_begin(),
                 .frame = frame,
                 .stream = &stream_,
                 .first_video_frame = geometry.Emitted(frame),
                 .video_frames = static_cast<int>(geometry.Emitted(frame + 1) - geometry.Emitted(frame))};
  if (in.t < 0) {
    in.latents = frame < prefix_frames(0) ? ImageLatent() : KeptLatents(frame);
    in.frames = 1;
    in.t = 0;
  }
  return in;
}

Session::DecodeInput Session::NextDecode() { return Input(at_.decoded++); }

void Session::KeepLatents(int64_t frame, std::vector<CopyPart>* copies) const {
  copies->clear();
  const int64_t t = frame - finished_begin(), frames = made_frames(at_.block - 1);
  if (model_.kept_latents() == 0 || t < 0) return;
  const int64_t channels = model_.geometry().channels, positions = plane_elements_ / channels;
  for (int64_t c = 0; c < channels; ++c) {
    copies->push_back({.from = Latents(at_.finished) + (c * frames + t) * positions,
                       .to = KeptLatents(frame) + c * positions,
                       .bytes = positions * sizeof(float)});
  }
}

void Session::BeginRebuild(std::byte* caches) {
  stream_ = VideoStream::Rebuild(model_.geometry(spec_.decoder), at_.decoded, caches);
  at_.caches_from = static_cast<int>(stream_.first);
}

std::optional<Session::DecodeInput> Session::NextRebuild() {
  if (stream_.frames == at_.decoded) return std::nullopt;
  return Input(stream_.frames);
}

}  // namespace longtake
