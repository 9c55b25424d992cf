// How a block may be made: as the model says, or with less, where it would be late otherwise.
#ifndef LONGTAKE_SERVER_VIDEO_BLOCK_FORM_H_
#define LONGTAKE_SERVER_VIDEO_BLOCK_FORM_H_

#include <vector>

#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/video/request.h"

namespace longtake::server {

struct BlockForm {
  int steps = 0;
  DecoderKind decoder = DecoderKind::kFull;
  friend bool operator==(const BlockForm&, const BlockForm&) = default;
};

// What the blocks of a video may be, by the scheduler's levels, the best first. Of an adaptive one: the model's steps
// and fewer of them; then, where the model has a tiny decoder, the fewest steps and that one. Else the first alone.
std::vector<BlockForm> BlockForms(const ModelInfo& model, const VideoPlan& plan);

// The forms as the scheduler reckons with them.
std::vector<scheduler::Rung> RungsOf(const ModelInfo& model, const std::vector<BlockForm>& forms);

// Index of the form's steps in ModelInfo::step_ladder.
int StepLevel(const ModelInfo& model, const BlockForm& form);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_BLOCK_FORM_H_
