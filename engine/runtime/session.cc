#include "engine/runtime/session.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake {
namespace {

// Order of the latent buffers: working and finished, velocity, then noise (few steps) or two predictions (solver); the
// negative prompt's velocity, where there is one, comes last.
constexpr int kVelocity = 2, kNoise = 3;

}  // namespace

Session::Session(const VideoModel& model, const SizeShape& shape, const SessionSpec& spec, const SlotMemory& memory)
    : model_(model),
      shape_(shape),
      spec_(spec),
      memory_(memory),
      lengths_(BlockLengths(spec.latent_frames, model.info().block_latent_frames)),
      plane_elements_(model.vae_config().z_dim * shape.height * shape.width) {
  if (model.settings().causal) {
    state_.emplace(model.transformer(), model.settings().state_window_blocks, shape.height, shape.width, memory.state);
  }
}

float* Session::Latents(int index) const {
  return reinterpret_cast<float*>(memory_.latents + index * Aligned(model_.max_block_elements() * sizeof(float)));
}

SessionProgress Session::progress() const {
  const int blocks = static_cast<int>(lengths_.size());
  return {.spec = spec_,
          .blocks = blocks,
          .block = block_,
          .block_frames = block_ < blocks ? lengths_[block_] : 0,
          .step = step_,
          .steps = model_.steps(level_),
          .committed_frames = first_frame_,
          .decoded_latents = decoded_,
          .has_prompt = has_prompt_};
}

absl::Status Session::Check(const Pass& pass) const {
  const bool made = block_ == static_cast<int>(lengths_.size());
  const int steps = model_.steps(level_);
  const char* why = nullptr;
  switch (pass.kind) {
    case PassKind::kEncodePrompt:
      if (!model_.info().switches_prompt && step_ > 0) why = "this model cannot switch its prompt";
      break;
    case PassKind::kDenoise:
      if (made)
        why = "all blocks are committed";
      else if (!has_prompt_)
        why = "the session has no prompt";
      else if (step_ == steps)
        why = "the block awaits its commit";
      else if (step_ == 0 && (pass.level < 0 || pass.level >= model_.levels()))
        why = "the model has no such level";
      break;
    case PassKind::kCommit:
      if (made)
        why = "all blocks are committed";
      else if (step_ < steps)
        why = "the block is not denoised";
      else if (decoded_ < first_frame_)
        why = "the block before is not decoded";
      break;
    case PassKind::kDecode:
      if (decoded_ == first_frame_) why = "no committed latent frame is left";
      break;
  }
  return why == nullptr ? absl::OkStatus() : absl::FailedPreconditionError(absl::StrCat("pass: ", why));
}

void* Session::NextPrompt(bool negative) {
  const int in_slot = model_.guided() ? 2 : 1;
  return memory_.prompt + ((1 - prompt_slot_) * in_slot + (negative ? 1 : 0)) * model_.prompt_kv_bytes();
}

void Session::PromptEncoded(int64_t tokens, int64_t negative_tokens) {
  next_prompt_ = {tokens, negative_tokens};
  prompt_waits_ = has_prompt_ = true;
}

PromptKv Session::Prompt(bool negative) const {
  const int in_slot = model_.guided() ? 2 : 1;
  return {memory_.prompt + (prompt_slot_ * in_slot + (negative ? 1 : 0)) * model_.prompt_kv_bytes(),
          negative ? prompt_.negative : prompt_.positive};
}

bool Session::TakeUpPrompt() {
  if (!prompt_waits_ || step_ > 0) return false;
  prompt_slot_ = 1 - prompt_slot_;
  prompt_ = next_prompt_;
  prompt_waits_ = false;
  return block_ > 0 && model_.settings().recompute_last_on_switch;
}

TransformerPass Session::MakePass(const float* latents, int frames, int first_frame, float timestep) const {
  return {.latents = latents,
          .frames = frames,
          .height = shape_.height,
          .width = shape_.width,
          .first_frame = first_frame / model_.transformer().config().patch[0],
          .timesteps = {timestep},
          .prompt = Prompt(false)};
}

TransformerPass Session::RecommitPass() {
  state_->TakeBack();
  const int frames = lengths_[block_ - 1];
  TransformerPass pass = MakePass(Latents(finished_), frames, first_frame_ - frames, 0.f);
  state_->Write(&pass);
  return pass;
}

void Session::StartBlock(Ops& ops, Ops& decoder_ops, int level) {
  level_ = level;
  ops.WaitFor(decoder_ops, read_[working_]);
  ops.FillNormal(spec_.seed, static_cast<uint32_t>(block_), 0, elements(), Latents(working_));
}

std::vector<TransformerPass> Session::DenoisePasses() const {
  TransformerPass pass = MakePass(Latents(working_), block_frames(), first_frame_, model_.timestep(level_, step_));
  if (state_.has_value()) state_->Read(&pass);
  pass.velocity = Latents(kVelocity);
  std::vector<TransformerPass> passes = {pass};
  if (model_.guided()) {
    pass.prompt = Prompt(true);
    pass.velocity = Latents(model_.settings().causal ? 4 : 5);
    passes.push_back(std::move(pass));
  }
  return passes;
}

void Session::Denoised(Ops& ops) {
  float* velocity = Latents(kVelocity);
  if (model_.guided()) {
    Guide(ops, model_.settings().guidance, Latents(model_.settings().causal ? 4 : 5), elements(), velocity);
  }
  if (!model_.few_step().empty()) {
    const FewStepSampler& few_step = model_.few_step()[level_];
    if (few_step.needs_noise(step_)) {
      ops.FillNormal(spec_.seed, static_cast<uint32_t>(block_), static_cast<uint32_t>(step_ + 1), elements(),
                     Latents(kNoise));
    }
    few_step.Step(ops, step_, velocity, Latents(kNoise), elements(), Latents(working_));
  } else {
    model_.flow_dpm()->Step(ops, step_, velocity, elements(), Latents(working_), Latents(prediction_),
                            Latents(prediction_before_));
    std::swap(prediction_, prediction_before_);
  }
  ++step_;
}

std::optional<TransformerPass> Session::CommitPass() const {
  if (!state_.has_value()) return std::nullopt;
  TransformerPass pass = MakePass(Latents(working_), block_frames(), first_frame_, 0.f);
  state_->Write(&pass);
  return pass;
}

void Session::Committed() {
  if (state_.has_value()) state_->Committed();
  std::swap(working_, finished_);
  first_frame_ += block_frames();
  ++block_;
  step_ = level_ = 0;
}

Session::DecodeInput Session::NextDecode() {
  const int frames = lengths_[block_ - 1], frame = decoded_++;
  return {.latents = Latents(finished_),
          .written = written_[finished_],
          .buffer = finished_,
          .frames = frames,
          .t = frame - (first_frame_ - frames),
          .stream = &stream_,
          .begins = stream_.frames == 0,
          .first_video_frame = model_.vae_config().Frames(frame)};
}

}  // namespace longtake
