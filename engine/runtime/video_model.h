// The text encoder, transformer and VAE of a model folder, and the memory that one session of them needs.
#ifndef LONGTAKE_ENGINE_RUNTIME_VIDEO_MODEL_H_
#define LONGTAKE_ENGINE_RUNTIME_VIDEO_MODEL_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/models/folder/settings.h"
#include "engine/models/lora/adapter.h"
#include "engine/models/sana/samplers.h"
#include "engine/models/sana/transformer.h"
#include "engine/models/text/caption.h"
#include "engine/models/video/load.h"
#include "engine/ops/ops.h"
#include "engine/runtime/memory_plan.h"
#include "engine/runtime/part_ops.h"

namespace longtake {

// A size that the model offers and the size of its latents.
struct SizeShape {
  Size size;
  int height = 0, width = 0;                                 // of the latents
  std::unique_ptr<SizedVideoDecoder> decoder, tiny_decoder;  // the second is null where the model has none
  std::unique_ptr<SizedVideoEncoder> encoder;                // of first images; null if the model takes none

  const SizedVideoDecoder& Decoder(DecoderKind kind) const {
    return kind == DecoderKind::kTiny ? *tiny_decoder : *decoder;
  }
  std::vector<const SizedVideoDecoder*> decoders() const {
    if (tiny_decoder == nullptr) return {decoder.get()};
    return {decoder.get(), tiny_decoder.get()};
  }
};

// Of a frame, f32 [3, height, width].
inline size_t PixelBytes(const Size& size) { return size_t{3} * sizeof(float) * size.width * size.height; }

// Immutable after loading and the warm-up.
class VideoModel {
 public:
  using Progress = std::function<void(const std::string& what, uint64_t done, uint64_t total)>;
  // Refers to the operations of `parts`, not to `parts` itself. Errors name file, field or tensor.
  static absl::StatusOr<std::unique_ptr<VideoModel>> Load(const PartOps& parts, const std::string& folder,
                                                          const Progress& progress);

  // Loads the adapters of a folder; once, before the model is used. Errors name file and tensor.
  absl::Status LoadAdapters(const PartOps& parts, const std::string& folder, const Progress& progress);

  const ModelInfo& info() const { return info_; }
  // Makes the numerics id, of `parts` as they are after the warm-up, when a backend has chosen all of its algorithms,
  // and of the checksum of the warm-up's bytes.
  void SetNumericsId(const PartOps& parts, uint32_t golden_sum);
  const ModelSettings& settings() const { return settings_; }
  const CaptionEncoder& caption() const { return *caption_; }
  const SanaTransformer& transformer() const { return *transformer_; }
  const LatentGeometry& geometry() const { return vae_.decoder->geometry(); }
  // The same but for `rebuild_latents`.
  const LatentGeometry& geometry(DecoderKind kind) const {
    return kind == DecoderKind::kTiny ? tiny_decoder_->geometry() : geometry();
  }
  bool has_tiny_decoder() const { return tiny_decoder_ != nullptr; }
  // After the warm-up: ModelInfo::tiny_decode_cost.
  void SetTinyDecodeCost(double cost) { info_.tiny_decode_cost = cost; }
  // Level 0 is the model's own sampler; the others are those of its step ladder.
  const Sampler& sampler(int level) const { return *samplers_[level]; }
  int levels() const { return static_cast<int>(samplers_.size()); }
  int steps(int level) const { return samplers_[level]->steps(); }
  float timestep(int level, int step) const { return samplers_[level]->timestep(step); }
  // Number of latent buffers of a session: working and finished, one velocity for each prompt, then the sampler's from
  // first_sampler_buffer() on.
  int latent_buffers() const;
  int first_sampler_buffer() const { return guided() ? 4 : 3; }

  bool guided() const { return settings_.guided(); }
  // What a session's first image is, if it has one.
  FirstImageUse first_image() const { return settings_.first_image; }
  std::vector<int> BlockLengths(int latent_frames, bool first_image) const;
  int max_block_frames() const;
  const std::vector<SizeShape>& sizes() const { return sizes_; }
  // Returns the size that the session uses. InvalidArgument names the field at fault.
  absl::StatusOr<const SizeShape*> CheckSpec(const SessionSpec& spec) const;
  // The adapters of a spec that has been checked; sets their digests in it.
  std::vector<AppliedAdapter> Apply(SessionSpec* spec) const;
  // What a session needs the most workspace with, for planning.
  std::span<const AppliedAdapter> largest_adapters() const { return largest_applied_; }
  // Latent elements of the longest block at the largest size.
  int64_t max_block_elements() const { return max_frame_elements() * max_block_frames(); }
  int64_t max_pass_tokens() const;  // of one session's denoising step, both guidance passes included
  size_t prompt_kv_bytes() const;   // K/V of one prompt of the maximum length
  // Latent frames that a session keeps in a ring behind its latent buffers, for rebuilding the decoder's caches. 0 for
  // bidirectional models, whose sessions hold all latents anyway.
  int kept_latents() const;
  size_t latent_buffer_bytes() const;  // of all latent buffers of one session
  size_t kept_latent_bytes() const;    // of the ring
  size_t image_latent_bytes() const;   // behind the ring: the first image's latent frame; 0 if the model takes none
  SlotPlan slot() const;
  size_t weight_bytes() const;
  size_t adapter_bytes() const;
  // Scratch for transformer batches of up to `tokens` tokens and `passes` rows of timesteps; it also fits the encoding
  // of a prompt.
  size_t ScratchBytes(int64_t tokens, int64_t passes) const;
  // Scratch for decoding a latent frame, behind room for one 4:2:0 frame; or for encoding a first image, behind room
  // for its pixels.
  size_t DecoderScratchBytes() const;
  // f32 [3, height, width] of the largest first image; 0 if the model takes none.
  size_t ImagePixelBytes() const;

 private:
  VideoModel() = default;
  absl::Status Describe(const PartOps& parts, const std::string& folder);
  absl::Status AddSizes(const std::string& folder);
  absl::Status CheckAdapters(const SessionSpec& spec) const;
  absl::Status CheckFirstImage(const SessionSpec& spec) const;
  const Adapter* FindAdapter(const std::string& name) const;  // null: there is none
  int64_t max_frame_elements() const;                         // elements of one latent frame at the largest size
  size_t MaxCheckpointBytes() const;

  ModelSettings settings_;
  ModelInfo info_;
  std::unique_ptr<CaptionEncoder> caption_;
  std::unique_ptr<SanaTransformer> transformer_;
  VideoVae vae_;
  std::unique_ptr<VideoDecoder> tiny_decoder_;  // null: the folder has none
  std::vector<std::unique_ptr<Sampler>> samplers_;
  std::vector<SizeShape> sizes_;
  std::vector<std::shared_ptr<const Adapter>> adapters_;  // sorted by name
  std::vector<Adapter> largest_adapters_;
  std::vector<AppliedAdapter> largest_applied_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_VIDEO_MODEL_H_
