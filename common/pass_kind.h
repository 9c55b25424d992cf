// The kinds of work that a device does for a session: one vocabulary for engine, scheduler and server.
#ifndef LONGTAKE_COMMON_PASS_KIND_H_
#define LONGTAKE_COMMON_PASS_KIND_H_

#include <array>

namespace longtake {

enum class PassKind {
  kEncodePrompt,  // sets the prompt, from the next block's first step on
  kDenoise,       // the current block, one step
  kCommit,        // writes the denoised block into the state; its latents can be decoded then
  kDecode,        // the next latent frame to video frames
  // Copies out what the session was when its last block was committed, with what has been decoded since and the prompts
  // encoded since. It goes on meanwhile: steps of the next block are not part of it and do not disturb it.
  kSave,
  // Makes the session what the checkpoint says, whatever it was: one just opened, or its own later self. The decoder's
  // caches are built again by decoding the last latent frames once more (Wan 2.1: up to 38).
  kRestore,
};

// The kinds that make a video, which are the ones that the scheduler plans; their values are their places here.
inline constexpr std::array kPassKinds = {PassKind::kEncodePrompt, PassKind::kDenoise, PassKind::kCommit,
                                          PassKind::kDecode};

// As in metrics and logs.
constexpr const char* Name(PassKind kind) {
  switch (kind) {
    case PassKind::kEncodePrompt:
      return "encode_prompt";
    case PassKind::kDenoise:
      return "denoise";
    case PassKind::kCommit:
      return "commit";
    case PassKind::kDecode:
      return "decode";
    case PassKind::kSave:
      return "save";
    case PassKind::kRestore:
      return "restore";
  }
  return "unknown";
}

}  // namespace longtake

#endif  // LONGTAKE_COMMON_PASS_KIND_H_
