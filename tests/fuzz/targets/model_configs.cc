// The config.json of a model folder's parts, and the scheduler's. The first line says which.
#include <cstdint>
#include <string>
#include <utility>

#include "engine/core/json_config.h"
#include "engine/models/folder/scheduler_config.h"
#include "engine/models/folder/settings.h"
#include "engine/models/gemma2/config.h"
#include "engine/models/ltx2/config.h"
#include "engine/models/sana/config.h"
#include "engine/models/text/tokenizer_config.h"
#include "engine/models/wan/config.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/memory_file.h"

namespace longtake {
namespace {

using fuzz::Check;

void ReadTransformer(const std::string& path) {
  const absl::StatusOr<SanaConfig> config = SanaConfig::Load(path);
  if (!config.ok()) return;
  Check(config->width() > 0 && config->cross_width() > 0 && config->patch_elements() > 0 && config->ffn_width > 0,
        "a transformer without a width");
  if (!config->hybrid.has_value()) return;
  int softmax = 0;
  for (int i = 0; i < config->layers; ++i) softmax += config->hybrid->IsSoftmax(i, config->layers) ? 1 : 0;
  Check(softmax == config->hybrid->softmax_layers, "softmax layers that are no layers");
  Check(config->hybrid->Blocks(config->layers) > 0, "layers in no block");
}

void ReadVae(const std::string& path) {
  absl::StatusOr<JsonConfig> json = JsonConfig::Load(path);
  if (!json.ok()) return;
  const absl::StatusOr<WanConfig> config = ReadWanConfig(*std::move(json));
  if (!config.ok()) return;
  Check(config->spatial_factor() > 0 && config->temporal_factor() > 0 && config->pixel_channels() > 0,
        "a decoder without a size");
  Check(config->geometry().channels > 0, "latents without channels");
  Check(config->mean.size() == static_cast<size_t>(config->z_dim) && config->std.size() == config->mean.size(),
        "a channel has no mean or no deviation");
}

void ReadLtx2Vae(const std::string& path) {
  absl::StatusOr<JsonConfig> json = JsonConfig::Load(path);
  if (!json.ok()) return;
  const absl::StatusOr<Ltx2Config> config = ReadLtx2Config(*std::move(json));
  if (!config.ok()) return;
  for (const Ltx2Half* half : {&config->encoder, &config->decoder}) {
    Check(half->steps.size() + 1 == half->widths.size() && half->blocks.size() == half->widths.size(),
          "a stage without a width or blocks");
    for (const int64_t width : half->widths) Check(width > 0, "a stage without channels");
    for (const Ltx2Half::Step& step : half->steps) Check(step.conv_outputs > 0, "a step without channels");
  }
  const LatentGeometry geometry = config->geometry();
  Check(geometry.stride_h > 0 && geometry.frames > 0 && geometry.channels > 0, "a decoder without a size");
  Check(geometry.delay_frames >= 0 && geometry.rebuild_latents > 0, "a decoder that needs no latent frame");
}

void ReadTextEncoder(const std::string& path) {
  const absl::StatusOr<Gemma2Config> config = Gemma2Config::Load(path);
  if (!config.ok()) return;
  Check(config->q_width() > 0 && config->kv_width() > 0 && config->vocabulary > 0, "a text encoder without a width");
  Check(config->windows.size() == static_cast<size_t>(config->layers), "a layer has no window");
  Check(config->heads % config->kv_heads == 0, "heads cannot share keys");
}

void ReadScheduler(SamplerKind sampler, const std::string& path) {
  absl::StatusOr<JsonConfig> json = JsonConfig::Load(path);
  if (!json.ok()) return;
  ModelSettings settings{.sampler = sampler};
  if (!ReadSchedulerConfig(*std::move(json), &settings).ok()) return;
  Check(settings.shift > 0, "a schedule without a shift");
  Check(settings.unipc.order >= 1 && settings.unipc.order <= 3, "a solver of no order");
}

}  // namespace
}  // namespace longtake

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using longtake::SamplerKind;
  static longtake::fuzz::MemoryFile file;
  const longtake::fuzz::Input input = longtake::fuzz::SplitKind(longtake::fuzz::ToText(data, size));
  file.Write(input.rest);
  if (input.kind == "transformer") longtake::ReadTransformer(file.path());
  if (input.kind == "vae") longtake::ReadVae(file.path());
  if (input.kind == "ltx2_vae") longtake::ReadLtx2Vae(file.path());
  if (input.kind == "text_encoder") longtake::ReadTextEncoder(file.path());
  if (input.kind == "tokenizer") (void)longtake::LoadTokenizerConfig(file.path());
  if (input.kind == "dpm_solver") longtake::ReadScheduler(SamplerKind::kFlowDpmSolver, file.path());
  if (input.kind == "euler") longtake::ReadScheduler(SamplerKind::kFlowEuler, file.path());
  if (input.kind == "unipc") longtake::ReadScheduler(SamplerKind::kFlowUniPc, file.path());
  return 0;
}
