#include "engine/models/taehv/shape.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace longtake {
namespace {

// Far above any published file (256), so that sizes in bytes stay within 64 bits.
constexpr int64_t kMaxWidth = 8192;
constexpr int kMaxPatch = 16;
constexpr int kMaxTimes = 2;

absl::Status Refusal(const TensorStore& store, const std::string& tensor, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(store.name(), ": tensor '", tensor, "' ", why));
}

// Returns the shape of a convolution with `side` x `side` taps: {outputs, inputs}.
absl::StatusOr<std::array<int64_t, 2>> ConvShape(const TensorStore& store, const std::string& tensor, int64_t side) {
  const std::vector<int64_t>* shape = store.shape(tensor);
  if (shape == nullptr) return absl::NotFoundError(absl::StrCat(store.name(), ": tensor '", tensor, "' is missing"));
  const bool fits = shape->size() == 4 && (*shape)[2] == side && (*shape)[3] == side &&
                    std::all_of(shape->begin(), shape->end(), [](int64_t d) { return d >= 1 && d <= kMaxWidth; });
  if (!fits) {
    return Refusal(store, tensor,
                   absl::StrCat("has the shape [", absl::StrJoin(*shape, ","), "], which is no convolution with ", side,
                                "x", side, " taps of at most ", kMaxWidth, " channels"));
  }
  return std::array<int64_t, 2>{(*shape)[0], (*shape)[1]};
}

// Returns how many latent frames before its own a video frame depends on. A memory block reads one frame before its
// own; three of them precede each stage's new frames.
int64_t RebuildLatents(const TaehvShape& s) {
  constexpr int64_t kLatentFrame = 1 << 20;  // far from the beginning of the stream
  int64_t frame = kLatentFrame * s.frames();
  for (int stage = kTaehvStages - 1; stage >= 0; --stage) frame = frame / s.times[stage] - kTaehvBlocks;
  return kLatentFrame - frame;
}

}  // namespace

LatentGeometry TaehvShape::geometry() const {
  return {.channels = channels,
          .stride_h = stride(),
          .stride_w = stride(),
          .first_frames = 1,
          .frames = frames(),
          .rebuild_latents = RebuildLatents(*this)};
}

absl::StatusOr<TaehvShape> ReadTaehvShape(const TensorStore& store, const LatentGeometry* vae) {
  if (store.shape("decoder.0.weight") != nullptr) {
    return absl::UnimplementedError(
        absl::StrCat(store.name(),
                     ": tensor 'decoder.0.weight' is the wide (\"super\") architecture's, which is not "
                     "supported; taew2_1, taeltx_2 and taeltx2_3 are"));
  }
  TaehvShape s;
  ASSIGN_OR_RETURN(const auto first, ConvShape(store, absl::StrCat("decoder.", kTaehvFirstLayer, ".weight"), 3));
  s.widths[0] = first[0];
  s.channels = first[1];
  for (int stage = 0; stage < kTaehvStages; ++stage) {
    const int layer = TaehvLayer(stage) + kTaehvBlocks;
    const std::string grow = absl::StrCat("decoder.", layer + 1, ".conv.weight");
    ASSIGN_OR_RETURN(const auto rows, ConvShape(store, grow, 1));
    ASSIGN_OR_RETURN(const auto next, ConvShape(store, absl::StrCat("decoder.", layer + 2, ".weight"), 3));
    s.widths[stage + 1] = next[0];
    s.rows[stage] = rows[0];
    const int64_t times = rows[0] / s.widths[stage];
    if (rows[0] % s.widths[stage] != 0 || times < 1 || times > kMaxTimes) {
      return Refusal(store, grow,
                     absl::StrCat("has ", rows[0], " rows, which are not 1 or 2 frames of ", s.widths[stage]));
    }
    s.times[stage] = static_cast<int>(times);
  }
  if (vae != nullptr) {  // the latest stages double first, as in every published file
    int64_t left = vae->frames;
    for (int stage = kTaehvStages - 1; stage >= 0; --stage) {
      if (left % s.times[stage] == 0) {
        left /= s.times[stage];
      } else {
        s.times[stage] = 1;
      }
    }
    if (left != 1) {
      return absl::InvalidArgumentError(absl::StrCat(store.name(), ": makes ", s.frames(),
                                                     " video frames of a latent frame, the VAE makes ", vae->frames));
    }
  }
  const std::string last = absl::StrCat("decoder.", kTaehvLastLayer, ".weight");
  ASSIGN_OR_RETURN(const auto pixels, ConvShape(store, last, 3));
  while (s.patch < kMaxPatch && s.pixel_channels() < pixels[0]) ++s.patch;
  if (s.pixel_channels() != pixels[0]) {
    return Refusal(store, last, absl::StrCat("has ", pixels[0], " rows, which are not 3 colours of a square patch"));
  }
  for (int stage = 0; vae != nullptr && stage < kTaehvStages && s.stride() > vae->stride_h; ++stage) s.space[stage] = 1;
  return s;
}

}  // namespace longtake
