// The engine: a model on one device or several, sessions (the memory of videos being made), and passes over them.
//
// This is the only header of engine/ that other folders include. It names no tensor type: frames leave as 8-bit 4:2:0.
//
// Threads: every method may be called from any thread. Completions run on the engine's own threads, one at a time, and
// must return quickly; they may call any method.
#ifndef LONGTAKE_ENGINE_ENGINE_H_
#define LONGTAKE_ENGINE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/pass_kind.h"

namespace longtake {

struct EngineOptions {
  std::string model_dir;
  std::string backend = "cpu";  // "reference" | "cpu" | "cuda"
  // "auto" | "float32" | "bfloat16": auto is bfloat16 where the processor multiplies it. CUDA has "auto" | "bfloat16" |
  // "float8" | "nvfp4". On the cpu backend the last two compute what a device would, to measure its quality; they are
  // slower than bfloat16.
  std::string dtype = "auto";
  // Of the text encoder and of the VAE: "auto" | "float32" | "bfloat16"; auto is the type of `dtype`'s activations.
  // CUDA computes both in bfloat16.
  std::string text_dtype = "auto", vae_dtype = "auto";
  // The highest instruction set of the cpu backend: "auto" | "avx2" | "avx512" | "avx512_bf16" | "amx_bf16". One that
  // the processor lacks is refused.
  std::string isa = "auto";
  // Of the cpu backend. 0: one for each physical core that the process may use, within the cgroup's quota.
  int threads = 0;
  // CUDA devices, as the driver counts them. Each holds the model, and equally many sessions.
  std::vector<int> devices = {0};
  // Slots: each holds a session of the largest size. On several devices rounded up to equally many on each.
  int max_sessions = 4;
  // Sessions of one device whose decoder caches are in device memory at once; 0: all. The others' caches wait in host
  // memory, so that a device can hold more sessions than caches.
  int decoder_cache_slots = 0;
  // Decodes run beside the transformer's passes where the device can do both. Bytes are the same.
  bool overlap_decoding = true;
  // CUDA only: repeated transformer passes are captured and launched as one CUDA graph. Bytes are the same.
  // scripts/gpu.sh measures on each device whether this is faster.
  bool cuda_graphs = false;
  // Called while loading, on the loading thread: the part of the model, bytes done, bytes in all.
  std::function<void(const std::string& what, uint64_t done, uint64_t total)> progress;
  // Called while loading, on the loading thread: one line about a choice that was made and the reason, for a log.
  std::function<void(const std::string& line)> log;
};

struct Size {
  int width = 0, height = 0;  // pixels
  friend bool operator==(const Size&, const Size&) = default;
};

// What the folder's model is and can do. It does not change after loading.
struct ModelInfo {
  std::string name;  // the folder's last path component
  // Backend, instruction set, type, and a digest of the bytes that the warm-up's passes gave: engines of one id and one
  // model_digest give equal bytes.
  std::string numerics_id;
  std::string model_digest;  // of the folder's files; the folder's place and name do not count
  std::string sampler;       // "few_step" | "flow_dpm_solver" | "flow_euler" | "flow_unipc"
  double fps = 16;
  std::vector<Size> sizes;        // the first is the default
  std::vector<int> frame_tokens;  // of the transformer in one latent frame, by size
  int block_latent_frames = 0;    // 0: bidirectional, the whole clip is one block
  int denoise_steps = 0;          // of a block, before its commit
  // Numbers of steps that a block may have, descending from denoise_steps; empty: denoise_steps only.
  std::vector<int> step_ladder;
  int max_latent_frames = 0;
  int frames_per_latent = 4;  // video frames that a latent frame decodes to; the first one of a video decodes to 1
  bool accepts_first_image = false;
  bool accepts_negative_prompt = false;
  bool switches_prompt = false;
  uint64_t max_checkpoint_bytes = 0;  // of a saved session (PassKind::kSave)
};

// A region of memory, planned before the first session is opened. Of a device: "weights", "scratch" (passes and
// operations), "state", "state_spare", "latents", "decoder_cache", "prompt". Of the host that drives it: "frames"
// (decoded, not yet handed out) and, where they are used, "checkpoint" (of a session that is being saved),
// "decoder_cache_host" and "moving_session".
struct MemoryRegion {
  std::string name;
  uint64_t planned_bytes = 0;  // fixed after loading, never exceeded
  uint64_t used_bytes = 0;
  int slots = 0, slots_used = 0;  // of regions that are divided among sessions
};

// Sessions that went from one device to another so far. Seconds count from the decision until the next pass could run.
struct SessionMoves {
  uint64_t count = 0, bytes = 0;
  double seconds = 0;
};

struct SessionSpec {
  Size size;              // one of ModelInfo::sizes
  int latent_frames = 0;  // 1 ... max_latent_frames; video frames = 1 + frames_per_latent * (latent_frames - 1)
  uint64_t seed = 0;
  friend bool operator==(const SessionSpec&, const SessionSpec&) = default;
};

using SessionId = uint64_t;  // never reused

// An ordered queue of passes on a device. Every device has these two.
enum class Lane {
  kTransformer,  // with the text encoder
  kDecoder,
};

constexpr Lane LaneOf(PassKind kind) {
  return kind == PassKind::kDecode || kind == PassKind::kSave || kind == PassKind::kRestore ? Lane::kDecoder
                                                                                            : Lane::kTransformer;
}

struct Pass {
  PassKind kind = PassKind::kDenoise;
  SessionId session = 0;
  // kEncodePrompt. The negative one counts where ModelInfo::accepts_negative_prompt; empty: the model's own.
  std::string prompt, negative_prompt;
  int level = 0;                      // a block's first kDenoise: index into step_ladder
  std::vector<std::byte> checkpoint;  // kRestore: what a kSave gave
};

// 8-bit 4:2:0, BT.709 limited range: planes one after the other (y, u, v), frames one after the other.
struct DecodedFrames {
  Size size;
  int count = 0;
  int64_t first_frame = 0;  // index in the video
  std::vector<uint8_t> bytes;
};

struct PassResult {
  absl::Status status;
  double device_seconds = 0;  // this pass's share of its batch; lanes that overlap count the same seconds each
  DecodedFrames frames;       // kDecode
  // kEncodePrompt: tokens of the prompt, a motion score that the model appends included; how many of them fit into what
  // the model reads. Where these are fewer, the prompt's end has no effect.
  int64_t prompt_tokens = 0, prompt_tokens_used = 0;
  // kSave. Versioned and with a checksum; for engines of the same numerics_id and model_digest, on any machine.
  std::vector<std::byte> checkpoint;
};

// Where a session stands. Its passes come in this order: kEncodePrompt, then for each block `steps` times kDenoise and
// one kCommit. kDecode may run for each latent frame of committed blocks, and all of a block's must have run before the
// next block's kCommit. kSave may run at any time once a block is committed, kRestore at any time.
struct SessionProgress {
  SessionSpec spec;
  int blocks = 0;            // in all
  int block = 0;             // being made; == blocks when all are committed
  int block_frames = 0;      // latent frames of that block
  int step = 0;              // denoising steps done in it
  int steps = 0;             // denoising steps of it in all, settled by its first
  int committed_frames = 0;  // latent frames
  int decoded_latents = 0;   // latent frames decoded
  bool has_prompt = false;
};

class Engine {
 public:
  // Loads the model, allocates all memory of sessions, and runs every kind of pass once, so that a shortage shows here.
  // Errors name the option, or the file and field at fault.
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const ModelInfo& model() const = 0;
  virtual std::vector<MemoryRegion> memory() const = 0;
  // Whether the two lanes of a device run at the same time, rather than in turn.
  virtual bool lanes_overlap() const { return false; }
  virtual SessionMoves moves() const { return {}; }  // of several devices

  // Latent frames of each block of a video (specification section 4: the first block takes the remainder).
  virtual std::vector<int> BlockLengths(int latent_frames) const = 0;

  // InvalidArgument names the field. ResourceExhausted: no slot is free. Unavailable: the device has failed.
  virtual absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) = 0;
  // Frees the slot once the session's passes have completed. Unknown ids are ignored.
  virtual void CloseSession(SessionId id) = 0;
  virtual absl::StatusOr<SessionProgress> progress(SessionId id) const = 0;

  // Appends the passes to the lane as one batch and returns. Batches of one lane run in the order of their submission,
  // and so do the passes of one session in both lanes. Where lanes do not overlap, a decoder batch goes before
  // transformer batches that have not begun.
  //
  // A session may have one kEncodePrompt, one kDenoise or kCommit, and one kDecode or kSave under way at a time, and
  // beside a kRestore none; in one batch its prompt goes first.
  //
  // `done(i, result)` is called once for each pass. A pass is refused, and changes nothing, with InvalidArgument where
  // it belongs to the other lane or its prompt is no text; NotFound: the session is unknown; FailedPrecondition: it is
  // out of order, another one is under way in its place, or the checkpoint is of another numerics id, model or spec;
  // DataLoss: the checkpoint is torn or has changed. With ResourceExhausted or Internal the session has ended, unless
  // the pass was a kSave: its later passes complete with the same status. The other sessions go on unless the device
  // has failed, which OpenSession says.
  virtual void Submit(Lane lane, std::vector<Pass> passes,
                      std::function<void(size_t index, PassResult result)> done) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_ENGINE_H_
