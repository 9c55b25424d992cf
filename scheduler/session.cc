#include "scheduler/session.h"

#include <utility>

namespace longtake::scheduler {

Session::Session(Request request) : request_(std::move(request)) {
  passes_ = 1;  // the prompt
  for (int latents : request_.block_latents) passes_ += request_.denoise_steps + 1 + latents;
}

std::optional<PassKind> Session::Next(Lane lane, const Options& options) const {
  if (state != State::kRunning || end_why.has_value()) return std::nullopt;
  const bool undecoded = decoded_blocks_ < committed_blocks_;
  if (lane == Lane::kDecoder) {
    if (decoder_busy_ || !undecoded) return std::nullopt;
    return PassKind::kDecode;
  }
  if (transformer_busy_) return std::nullopt;
  if (!has_prompt_) return PassKind::kEncodePrompt;
  if (committed_blocks_ == blocks() || Parked(options)) return std::nullopt;
  // A chunk's decoding goes before the next block's denoising, so that the chunk leaves before that denoising ends.
  // Where the lanes overlap it need not wait, except that a commit needs the latents before it decoded.
  if (undecoded && (!options.lanes_overlap || step_ == request_.denoise_steps)) return std::nullopt;
  return step_ < request_.denoise_steps ? PassKind::kDenoise : PassKind::kCommit;
}

void Session::Start(PassKind kind) { busy(kind) = true; }

PassReport Session::Finish(PassKind kind) {
  busy(kind) = false;
  ++passes_done_;
  PassReport report;
  report.kind = kind;
  report.passes_done = passes_done_;
  report.passes = passes_;
  report.block = committed_blocks_;
  report.step = report.steps = 1;
  switch (kind) {
    case PassKind::kEncodePrompt:
      has_prompt_ = true;
      break;
    case PassKind::kDenoise:
      report.step = ++step_;
      report.steps = request_.denoise_steps;
      break;
    case PassKind::kCommit:
      ++committed_blocks_;
      step_ = 0;
      break;
    case PassKind::kDecode:
      report.block = decoded_blocks_;
      report.step = ++decoded_latents_;
      report.steps = request_.block_latents[decoded_blocks_];
      if (decoded_latents_ == report.steps) {
        ++decoded_blocks_;
        decoded_latents_ = 0;
      }
      break;
  }
  return report;
}

}  // namespace longtake::scheduler
