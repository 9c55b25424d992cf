// The bytes of a saved session, up to where a session would take them.
#include "engine/runtime/checkpoint.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "common/crc32c.h"
#include "engine/runtime/session_position.h"
#include "tests/fuzz/check.h"

namespace longtake {
namespace {

using fuzz::Check;

// The places of checkpoint.h's table.
constexpr size_t kChecksum = 12, kSize = 16, kFields = 28;

// Where it stands must be a place in these blocks, with prompts that fit.
void Place(SessionPosition at) {
  constexpr std::array kLengths = {3, 2, 2};
  constexpr int64_t kCaptionTokens = 28;
  for (const bool guided : {false, true}) {
    SessionPosition placed = at;
    if (!CompletePosition({.lengths = kLengths, .caption_tokens = kCaptionTokens, .guided = guided}, &placed).ok())
      continue;
    Check(placed.block >= 1 && placed.block <= 3 && placed.prompt_from <= 3, "a place behind the last block");
    Check(placed.first_frame >= 3 && placed.first_frame <= 7, "a frame behind the last one");
    Check(placed.decoded >= 0 && placed.decoded <= placed.first_frame, "a frame is decoded before it is made");
    for (const PromptTokens& prompt : {placed.prompt, placed.next_prompt}) {
      Check(prompt.positive >= 0 && prompt.positive <= kCaptionTokens, "a prompt longer than its memory");
      Check(prompt.negative >= 0 && prompt.negative <= kCaptionTokens, "a negative prompt longer than its memory");
    }
  }
}

// What the header says is there must be inside, and sealing it again must give a header that says the same.
void Read(std::span<const std::byte> bytes) {
  std::span<const std::byte> memory;
  const absl::StatusOr<Checkpoint> checkpoint = ReadCheckpoint(bytes, &memory);
  if (!checkpoint.ok()) {
    Check(absl::IsDataLoss(checkpoint.status()), "wrong bytes are another error than DataLoss");
    return;
  }
  Check(memory.size() <= bytes.size() && (memory.empty() || memory.data() >= bytes.data()), "memory lies outside");
  const ModelInfo model{.numerics_id = "cpu/avx2/float32/0", .model_digest = "0123456789abcdef"};
  (void)CheckSameSession(*checkpoint, model, {.size = {32, 32}, .latent_frames = 3, .seed = 7});

  Place(checkpoint->position);

  std::vector<std::byte> sealed(CheckpointHeaderBytes(*checkpoint) + memory.size());
  SealCheckpoint(*checkpoint, sealed);
  const absl::StatusOr<Checkpoint> again = ReadCheckpoint(sealed, nullptr);
  Check(again.ok(), "a sealed checkpoint is refused");
  const ModelInfo own{.numerics_id = checkpoint->numerics_id, .model_digest = checkpoint->model_digest};
  // A checkpoint has its image's digest, from which no image can be made.
  Check(again->first_image == checkpoint->first_image, "sealing changes the first image");
  const bool same = CheckSameSession(*again, own, checkpoint->spec).ok();
  Check(same == checkpoint->first_image.empty(), "sealing changes the session");
  Check(again->position.block == checkpoint->position.block && again->position.decoded == checkpoint->position.decoded,
        "sealing changes the position");
}

}  // namespace
}  // namespace longtake

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), data, size);
  longtake::Read(bytes);
  // A checksum that holds is beyond what mutations find, so it is made to hold, and the size as well.
  if (size < longtake::kFields) return 0;
  const uint64_t whole = size;
  std::memcpy(bytes.data() + longtake::kSize, &whole, sizeof whole);
  const uint32_t sum = longtake::Crc32c(std::span(bytes).subspan(longtake::kSize));
  std::memcpy(bytes.data() + longtake::kChecksum, &sum, sizeof sum);
  longtake::Read(bytes);
  return 0;
}
