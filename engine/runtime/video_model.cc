#include "engine/runtime/video_model.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/folder/model_digest.h"
#include "engine/models/sana/causal_state.h"
#include "engine/models/taehv/load.h"
#include "engine/models/video/clip_decoder.h"
#include "engine/models/video/video_frame.h"
#include "engine/ops/arena.h"
#include "engine/runtime/checkpoint.h"

namespace longtake {
namespace {

// Limit on the latent positions of one block, so that sizes in bytes stay within 64 bits. It is about 150 times a
// one-minute block of 1280x720.
constexpr int64_t kMaxBlockPositions = int64_t{1} << 32;

// Device name and activation type, and the types of text encoder and VAE where they differ from it.
std::string NumericsOf(const PartOps& parts) {
  const DType type = parts.transformer().activation_type();
  std::string numerics = absl::StrCat(parts.transformer().device().name(), "/", std::string(Name(type)));
  const DType text = parts.text().activation_type(), vae = parts.decoder().activation_type();
  if (parts.text_int8()) absl::StrAppend(&numerics, "/text-int8");
  if (text != type) absl::StrAppend(&numerics, "/text-", std::string(Name(text)));
  if (vae != type) absl::StrAppend(&numerics, "/vae-", std::string(Name(vae)));
  return numerics;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VideoModel>> VideoModel::Load(const PartOps& parts, const std::string& folder,
                                                             const Progress& progress) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return absl::NotFoundError(absl::StrCat(folder, ": is not a model folder"));
  }
  std::unique_ptr<VideoModel> model(new VideoModel);
  ASSIGN_OR_RETURN(model->settings_, ModelSettings::Load(folder));
  ASSIGN_OR_RETURN(const LatentGeometry latents, ReadVideoGeometry(folder + "/vae"));
  // A block's frames would be due long before the decoder could give them: LTX-2's needs 22 latent frames more.
  if (latents.delay_frames > 0 && model->settings_.causal) {
    return absl::UnimplementedError(absl::StrCat(
        folder, "/vae/config.json: field 'decoder_causal' is false, and a decoder that holds ", latents.delay_frames,
        " video frames back cannot show a video while it is made, block by block; AutoencoderKLCausalLTX2Video can"));
  }
  const auto part = [&](const std::string& what) -> LoadProgress {
    if (!progress) return nullptr;
    return [what, progress](uint64_t done, uint64_t total) { progress(what, done, total); };
  };
  ASSIGN_OR_RETURN(model->caption_, CaptionEncoder::Load(parts.text(), folder, model->settings_, part("text_encoder"),
                                                         /*low_precision=*/parts.text_int8()));
  ASSIGN_OR_RETURN(model->transformer_,
                   SanaTransformer::Load(parts.transformer(), folder + "/transformer", part("transformer")));
  // A held frame is one row of timesteps and a finished block; a patch over several frames would mix it with noise.
  ModelSettings& settings = model->settings_;
  if (model->transformer_->config().patch[0] != 1 && settings.first_image != FirstImageUse::kNone) {
    if (settings.overlaid.contains("first_image")) {
      return absl::InvalidArgumentError(absl::StrCat(settings.SourceOf(folder, "first_image"), ": is \"",
                                                     FirstImageUseName(settings.first_image),
                                                     "\", which needs a temporal patch of 1"));
    }
    settings.first_image = FirstImageUse::kNone;
  }
  ASSIGN_OR_RETURN(model->vae_, LoadVideoVae(folder + "/vae",
                                             {.decoder = true, .encoder = settings.first_image != FirstImageUse::kNone},
                                             &parts.decoder(), part("vae")));
  if (latents.delay_frames > 0) {
    model->vae_.decoder = DecodeWholeClips(std::move(model->vae_.decoder), &parts.decoder());
  }
  // The first makes one frame. A decoder that looks ahead decodes much of the clip for that: of 11 latent frames by
  // LTX-2's a sixth of all the time.
  model->info_.first_decode_cost = latents.delay_frames > 0 ? 2.0 : 1.0 / latents.frames;
  ASSIGN_OR_RETURN(const std::string tiny, FindTinyDecoder(folder));
  if (!tiny.empty()) {
    ASSIGN_OR_RETURN(model->tiny_decoder_,
                     LoadTinyDecoder(tiny, &model->geometry(), &parts.decoder(), part("tiny_decoder")));
  }
  RETURN_IF_ERROR(model->Describe(parts, folder));
  return model;
}

absl::Status VideoModel::AddSizes(const std::string& folder) {
  const SanaConfig& c = transformer_->config();
  const LatentGeometry& latents = geometry();
  for (const auto& [width, height] : settings_.sizes) {
    const int unit_x = latents.stride_w * c.patch[2], unit_y = latents.stride_h * c.patch[1];
    if (width % unit_x != 0 || height % unit_y != 0 || width / unit_x > c.rope_max_positions ||
        height / unit_y > c.rope_max_positions) {
      return absl::InvalidArgumentError(absl::StrCat(settings_.SourceOf(folder, "sizes"), ": ", width, "x", height,
                                                     " is no multiple of ", unit_x, "x", unit_y,
                                                     " within the rotary positions"));
    }
    if (width % 2 != 0 || height % 2 != 0) {
      return absl::InvalidArgumentError(absl::StrCat(settings_.SourceOf(folder, "sizes"), ": ", width, "x", height,
                                                     " is odd; 4:2:0 frames are even"));
    }
    const int rows = height / latents.stride_h, columns = width / latents.stride_w;
    SizeShape& shape = sizes_.emplace_back();
    shape.size = {width, height};
    shape.height = rows;
    shape.width = columns;
    shape.decoder = vae_.decoder->ForLatents(rows, columns);
    if (has_tiny_decoder()) shape.tiny_decoder = tiny_decoder_->ForLatents(rows, columns);
    if (vae_.encoder != nullptr) {
      ASSIGN_OR_RETURN(shape.encoder, vae_.encoder->ForFrames(height, width));
    }
  }
  return absl::OkStatus();
}

// Checks that the parts fit together, and fills info_, sizes_ and samplers_.
absl::Status VideoModel::Describe(const PartOps& parts, const std::string& folder) {
  const SanaConfig& c = transformer_->config();
  const LatentGeometry& latents = geometry();
  if (caption_->width() != c.caption_channels) {
    return absl::InvalidArgumentError(absl::StrCat(folder, "/transformer/config.json: caption_channels ",
                                                   c.caption_channels, " is not the text encoder's width ",
                                                   caption_->width()));
  }
  if (latents.channels != c.in_channels || latents.channels != c.out_channels) {
    return absl::InvalidArgumentError(absl::StrCat(folder, "/transformer/config.json: in_channels ", c.in_channels,
                                                   " and out_channels ", c.out_channels, " are not the VAE's ",
                                                   latents.channels));
  }
  RETURN_IF_ERROR(AddSizes(folder));
  const int positions = c.rope_max_positions * c.patch[0];
  if (settings_.max_latent_frames == 0) settings_.max_latent_frames = positions;
  if (settings_.max_latent_frames > positions) {
    return absl::InvalidArgumentError(absl::StrCat(settings_.SourceOf(folder, "max_latent_frames"), ": ",
                                                   settings_.max_latent_frames, " exceeds the rotary positions ",
                                                   positions));
  }
  if (settings_.causal) {
    if (settings_.block_latent_frames % c.patch[0] != 0) {
      return absl::InvalidArgumentError(absl::StrCat(settings_.SourceOf(folder, "block_latent_frames"),
                                                     " is no multiple of the temporal patch ", c.patch[0]));
    }
  }
  samplers_ = MakeSamplers(settings_);
  for (const SizeShape& s : sizes_) {
    const int64_t block_positions = int64_t{s.height} * s.width * max_block_frames();
    if (block_positions <= kMaxBlockPositions) continue;
    return absl::InvalidArgumentError(absl::StrCat(settings_.SourceOf(folder, "max_latent_frames"), ": a block of ",
                                                   max_block_frames(), " latent frames of ", s.size.width, "x",
                                                   s.size.height, " is too large"));
  }

  info_.name = std::filesystem::path(folder).lexically_normal().filename();
  if (info_.name.empty()) info_.name = std::filesystem::path(folder).parent_path().filename();
  SetNumericsId(parts, 0);
  ASSIGN_OR_RETURN(info_.model_digest, ModelDigest(folder));
  info_.sampler = SamplerName(settings_.sampler);
  info_.fps = settings_.fps;
  const int patch = transformer_->config().patch[0];
  for (const SizeShape& s : sizes_) {
    info_.sizes.push_back(s.size);
    info_.frame_tokens.push_back(static_cast<int>(transformer_->Tokens(patch, s.height, s.width) / patch));
  }
  info_.block_latent_frames = settings_.causal ? settings_.block_latent_frames : 0;
  info_.denoise_steps = samplers_[0]->steps();
  if (samplers_.size() > 1) {
    for (const std::unique_ptr<Sampler>& sampler : samplers_) info_.step_ladder.push_back(sampler->steps());
  }
  info_.max_latent_frames = settings_.max_latent_frames;
  info_.frames_per_latent = latents.frames;
  info_.accepts_first_image = vae_.encoder != nullptr;
  info_.accepts_negative_prompt = guided();
  info_.switches_prompt = settings_.causal;
  info_.has_tiny_decoder = has_tiny_decoder();
  info_.rebuild_latents = static_cast<int>(latents.rebuild_latents);
  if (has_tiny_decoder()) info_.tiny_rebuild_latents = static_cast<int>(tiny_decoder_->geometry().rebuild_latents);
  info_.max_checkpoint_bytes = MaxCheckpointBytes();
  info_.about = settings_.about;
  info_.examples = settings_.examples;
  return absl::OkStatus();
}

void VideoModel::SetNumericsId(const PartOps& parts, uint32_t golden_sum) {
  info_.numerics_id = absl::StrCat(NumericsOf(parts), "/", absl::Hex(golden_sum, absl::kZeroPad8));
}

absl::StatusOr<const SizeShape*> VideoModel::CheckSpec(const SessionSpec& spec) const {
  const auto shape =
      std::find_if(sizes_.begin(), sizes_.end(), [&](const SizeShape& s) { return s.size == spec.size; });
  if (shape == sizes_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("size: the model does not offer ", spec.size.width, "x", spec.size.height));
  }
  if (spec.latent_frames < 1 || spec.latent_frames > info_.max_latent_frames) {
    return absl::InvalidArgumentError(
        absl::StrCat("latent_frames: ", spec.latent_frames, " is not within 1 ... ", info_.max_latent_frames));
  }
  const int patch = transformer_->config().patch[0];
  if (spec.latent_frames % patch != 0) {
    return absl::InvalidArgumentError(absl::StrCat("latent_frames: is no multiple of ", patch));
  }
  RETURN_IF_ERROR(CheckFirstImage(spec));
  if (spec.decoder == DecoderKind::kTiny && !has_tiny_decoder()) {
    return absl::InvalidArgumentError("decoder: the model has no tiny decoder");
  }
  RETURN_IF_ERROR(CheckAdapters(spec));
  return &*shape;
}

absl::Status VideoModel::CheckFirstImage(const SessionSpec& spec) const {
  if (spec.first_image == nullptr) return absl::OkStatus();
  if (!info_.accepts_first_image) {
    return absl::InvalidArgumentError("first_image: the model makes videos from text alone");
  }
  if (spec.latent_frames < 2) {
    return absl::InvalidArgumentError("latent_frames: 1 leaves nothing to make after the first image");
  }
  const size_t bytes = size_t{3} * spec.size.width * spec.size.height;
  if (spec.first_image->rgb.size() != bytes) {
    return absl::InvalidArgumentError(absl::StrCat("first_image: has ", spec.first_image->rgb.size(), " bytes, and ",
                                                   spec.size.width, "x", spec.size.height, " has ", bytes));
  }
  return absl::OkStatus();
}

std::vector<int> VideoModel::BlockLengths(int latent_frames, bool first_image) const {
  if (!first_image || settings_.first_image != FirstImageUse::kPrefix) {
    return longtake::BlockLengths(latent_frames, info_.block_latent_frames);
  }
  std::vector<int> lengths = longtake::BlockLengths(latent_frames - 1, info_.block_latent_frames);
  ++lengths[0];
  return lengths;
}

int VideoModel::max_block_frames() const {
  // The first block takes the remainder and has up to 2F - 1 frames, with F = block_latent_frames.
  return settings_.causal ? std::min(2 * settings_.block_latent_frames - 1, settings_.max_latent_frames)
                          : settings_.max_latent_frames;
}

int VideoModel::latent_buffers() const {
  int most = 0;
  for (const std::unique_ptr<Sampler>& sampler : samplers_) most = std::max(most, sampler->buffers());
  return first_sampler_buffer() + most;
}

int64_t VideoModel::max_frame_elements() const {
  int64_t most = 0;
  for (const SizeShape& s : sizes_) most = std::max(most, int64_t{s.height} * s.width);
  return most * geometry().channels;
}

int VideoModel::kept_latents() const {
  if (!settings_.causal) return 0;
  int64_t most = geometry().rebuild_latents;
  if (has_tiny_decoder()) most = std::max(most, tiny_decoder_->geometry().rebuild_latents);
  return static_cast<int>(std::min<int64_t>(most, info_.max_latent_frames));
}

size_t VideoModel::latent_buffer_bytes() const {
  return static_cast<size_t>(latent_buffers()) * Aligned(max_block_elements() * sizeof(float));
}

size_t VideoModel::kept_latent_bytes() const {
  return static_cast<size_t>(kept_latents()) * Aligned(max_frame_elements() * sizeof(float));
}

size_t VideoModel::image_latent_bytes() const {
  return vae_.encoder == nullptr ? 0 : Aligned(max_frame_elements() * sizeof(float));
}

int64_t VideoModel::max_pass_tokens() const {
  int64_t most = 0;
  for (const SizeShape& s : sizes_) most = std::max(most, transformer_->Tokens(max_block_frames(), s.height, s.width));
  return most * (guided() ? 2 : 1);
}

size_t VideoModel::prompt_kv_bytes() const { return Aligned(transformer_->PromptBytes(caption_->caption_tokens())); }

SlotPlan VideoModel::slot() const {
  SlotPlan plan;
  for (const SizeShape& s : sizes_) {
    if (settings_.causal) {
      plan.state = std::max<uint64_t>(
          plan.state, CausalState::StateBytes(*transformer_, settings_.state_window_blocks, s.height, s.width));
      plan.state_spare =
          std::max<uint64_t>(plan.state_spare, CausalState::SpareBytes(*transformer_, s.height, s.width));
    }
    for (const SizedVideoDecoder* decoder : s.decoders()) {
      plan.decoder_cache = std::max<uint64_t>(plan.decoder_cache, decoder->cache_bytes());
    }
  }
  plan.latents = latent_buffer_bytes() + kept_latent_bytes() + image_latent_bytes();
  plan.prompt = size_t{guided() ? 4u : 2u} * prompt_kv_bytes();  // the prompt in use and the next
  return plan;
}

// State and spare, both prompts, the longest finished block, the kept latents, and the first image's.
size_t VideoModel::MaxCheckpointBytes() const {
  const SlotPlan plan = slot();
  Checkpoint header{.numerics_id = info_.numerics_id, .model_digest = info_.model_digest};
  // The longest names that a session's adapters may have.
  std::vector<AdapterInfo> longest = info_.adapters;
  std::sort(longest.begin(), longest.end(), [](const auto& a, const auto& b) { return a.name.size() > b.name.size(); });
  longest.resize(std::min(longest.size(), kMaxSessionAdapters));
  for (const AdapterInfo& adapter : longest) {
    header.spec.adapters.push_back({.name = adapter.name, .strength = 1, .digest = adapter.digest});
  }
  if (info_.accepts_first_image) header.first_image = std::string(kDigestBytes, '0');
  return CheckpointHeaderBytes(header) + plan.state + plan.state_spare + plan.prompt + image_latent_bytes() +
         (max_block_elements() + kept_latents() * max_frame_elements()) * sizeof(float);
}

size_t VideoModel::weight_bytes() const {
  return caption_->text_encoder().weight_bytes() + transformer_->weight_bytes() + vae_.decoder->weight_bytes() +
         (has_tiny_decoder() ? tiny_decoder_->weight_bytes() : 0) +
         (vae_.encoder == nullptr ? 0 : vae_.encoder->weight_bytes());
}

size_t VideoModel::ScratchBytes(int64_t tokens, int64_t passes) const {
  const size_t caption_rows = Aligned(caption_->caption_tokens() * caption_->width() * sizeof(float));
  return std::max(
      transformer_->ScratchBytes(tokens, passes),
      caption_rows + std::max(caption_->ScratchBytes(), transformer_->PromptScratchBytes(caption_->caption_tokens())));
}

size_t VideoModel::DecoderScratchBytes() const {
  size_t most = 0;
  for (const SizeShape& s : sizes_) {
    for (const SizedVideoDecoder* decoder : s.decoders()) {
      most = std::max(most, decoder->scratch_bytes() + Aligned(I420Bytes(s.size.height, s.size.width)));
    }
    if (s.encoder != nullptr) most = std::max(most, s.encoder->scratch_bytes() + Aligned(PixelBytes(s.size)));
  }
  return most;
}

size_t VideoModel::ImagePixelBytes() const {
  size_t most = 0;
  for (const SizeShape& s : sizes_) most = std::max(most, s.encoder == nullptr ? 0 : PixelBytes(s.size));
  return most;
}

}  // namespace longtake
