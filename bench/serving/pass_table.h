// What passes and encoding take on some machine: measured by longtake-pass-times, or computed for one that was not at
// hand.
#ifndef LONGTAKE_BENCH_SERVING_PASS_TABLE_H_
#define LONGTAKE_BENCH_SERVING_PASS_TABLE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake::bench {

// Times in seconds. Latent frames are those of a picture of scale 1; a picture of other size counts by its pixels.
struct PassTable {
  std::string name, source;
  int places = 1;  // sessions of the largest size that the device holds
  int steps = 1, block_latents = 1, frames_per_latent = 1;
  double fps = 1;
  double text = 0;                                     // of a prompt
  std::vector<std::pair<double, double>> transformer;  // of one batch: (latent frames, seconds), ascending
  double decode = 0;                                   // of a latent frame; nothing is shared
  double encode = 0;                                   // of a latent frame, on one core
  double encode_begin = 0;                             // of a block, besides: its encoder is opened, a key frame made
  // Of 1: how fast the engine runs beside 0, 1, 2, ... encoders at work, and an encoder while the engine works. More
  // encoders than the table has count as its last.
  std::vector<double> engine_speed = {1};
  double encoder_speed = 1;
  // Of 1: how fast each lane of a device runs while both do.
  double overlap_speed = 1;
  // Actual over typical seconds of consecutive batches, played round and round from a place that the seed chooses.
  std::vector<double> noise = {1};

  // Between the points a straight line; beyond them the nearest line goes on.
  double TransformerSeconds(double latents) const;
  double latent_seconds() const { return frames_per_latent / fps; }
  double block_seconds() const { return block_latents * latent_seconds(); }
  // Device seconds of a typical block whose passes share batches with so many others like it that sharing saves no
  // more; encoders at rest.
  double BlockCost(double scale) const;
  // Latent frames of each block of a video of about so many seconds, as the engine cuts them: the first block takes
  // what does not fill one.
  std::vector<int> Blocks(double seconds) const;
};

// Reads JSON with these names. InvalidArgument names the file and the field at fault.
absl::StatusOr<PassTable> LoadTable(const std::string& path);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_PASS_TABLE_H_
