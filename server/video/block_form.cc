#include "server/video/block_form.h"

#include <algorithm>

namespace longtake::server {

std::vector<BlockForm> BlockForms(const ModelInfo& model, const VideoPlan& plan) {
  const DecoderKind decoder = plan.session.decoder;
  std::vector<BlockForm> forms = {{model.denoise_steps, decoder}};
  if (plan.options.fidelity != Fidelity::kAdaptive) return forms;
  for (const int steps : model.step_ladder) {
    if (steps < forms.back().steps) forms.push_back({steps, decoder});
  }
  if (model.has_tiny_decoder && decoder == DecoderKind::kFull) {
    forms.push_back({forms.back().steps, DecoderKind::kTiny});
  }
  return forms;
}

std::vector<scheduler::Rung> RungsOf(const ModelInfo& model, const std::vector<BlockForm>& forms) {
  std::vector<scheduler::Rung> rungs;
  for (const BlockForm& form : forms) {
    const bool tiny = form.decoder == DecoderKind::kTiny;
    rungs.push_back({.steps = form.steps,
                     .decode_cost = tiny ? model.tiny_decode_cost : 1.0,
                     // The tiny decoder leaves out little for the first latent frame.
                     .first_decode = tiny ? 1.0 : model.first_decode_cost,
                     .rebuild_latents = tiny ? model.tiny_rebuild_latents : model.rebuild_latents});
  }
  return rungs;
}

int StepLevel(const ModelInfo& model, const BlockForm& form) {
  const auto found = std::find(model.step_ladder.begin(), model.step_ladder.end(), form.steps);
  return found == model.step_ladder.end() ? 0 : static_cast<int>(found - model.step_ladder.begin());
}

}  // namespace longtake::server
