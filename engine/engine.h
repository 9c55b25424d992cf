// The engine: a model on a device, sessions (videos being made) with their memory, and passes over them.
//
// This is the only header of engine/ that other folders include. It names no tensor type: frames leave as 8-bit 4:2:0.
//
// Threads: every method may be called from any thread. Completions run on the engine's own threads, one at a time, and
// must return quickly; they may call Submit.
#ifndef LONGTAKE_ENGINE_ENGINE_H_
#define LONGTAKE_ENGINE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace longtake {

struct EngineOptions {
  std::string model_dir;
  std::string backend = "cpu";  // "reference" | "cpu" | "cuda"
  std::string dtype = "auto";   // "auto" | "float32" | "bfloat16": auto takes bfloat16 where the processor has it; of
                                // cuda "auto" | "bfloat16" | "float8" | "nvfp4". The last two on the cpu backend are
                                // what a device would compute, for measuring its quality: they are slower
  std::string isa = "auto";     // "auto" | "avx2" | "avx512" | "avx512_bf16" | "amx_bf16": a cap, refused where absent
  int threads = 0;              // 0: one for each core
  std::vector<int> devices = {0};  // of cuda, as the driver counts: each gets the model, and slots alike
  int max_sessions = 4;            // slots of session memory, each of the largest size; on several devices rounded up
                                   // to equally many on each
  // Sessions whose decoder caches are on the device at once; 0: all. With fewer, others' wait in host memory, and a
  // device holds as many sessions as their states let it. On several devices: on each.
  int decoder_places = 0;
  // Decodes run beside the other passes where the backend can, on a device; else in turn with them. Bytes are the same.
  bool decode_beside = true;
  // Of cuda: transformer passes that come again are launched as one graph. Bytes are the same. Whether it gains is
  // measured on each device (scripts/gpu.sh), and nobody has yet.
  bool cuda_graphs = false;
  // Called while loading, from the loading thread: what, bytes done, bytes in all.
  std::function<void(const std::string& what, uint64_t done, uint64_t total)> progress;
};

struct Size {
  int width = 0, height = 0;  // pixels
  friend bool operator==(const Size&, const Size&) = default;
};

// What the folder's model is and can do. Fixed after loading.
struct ModelInfo {
  std::string name;         // the folder's last path component
  std::string numerics_id;  // build, backend, type, instruction set: bytes are equal where it is equal
  std::string sampler;      // "few_step" | "flow_dpm_solver"
  double fps = 16;
  std::vector<Size> sizes;        // the first is the default
  std::vector<int> frame_tokens;  // of the transformer in one latent frame, by size
  int block_latent_frames = 0;    // 0: bidirectional, the whole clip is one block
  int denoise_steps = 0;          // passes a block before the commit
  std::vector<int> step_ladder;   // how few a block may have: descending from denoise_steps; empty: no fewer
  int max_latent_frames = 0;
  int frames_per_latent = 4;  // the VAE's temporal stride
  bool accepts_first_image = false;
  bool accepts_negative_prompt = false;
  bool switches_prompt = false;
};

// One region of memory, each budgeted apart: "weights", "scratch", "state", "state_spare", "latents", "decoder_cache",
// "prompt"; and of the machine that drives a device "frames", decoded and not yet handed out, and, where they are used,
// "decoder_cache_parked" and "moving_session". Planned bytes are known after loading and never exceeded.
struct MemoryRegion {
  std::string name;
  uint64_t planned_bytes = 0;
  uint64_t used_bytes = 0;
  int slots = 0, slots_used = 0;  // of session regions
};

// Sessions that went from one device to another, so far; seconds from the decision until the next pass could run.
struct SessionMoves {
  uint64_t count = 0, bytes = 0;
  double seconds = 0;
};

struct SessionSpec {
  Size size;              // one of ModelInfo::sizes
  int latent_frames = 0;  // 1 ... max_latent_frames; frames = 1 + frames_per_latent * (latent_frames - 1)
  uint64_t seed = 0;
};

using SessionId = uint64_t;  // never reused

enum class PassKind {
  kEncodePrompt,  // sets the prompt; from the next block's first step on
  kDenoise,       // the current block, one step
  kCommit,        // the finished block into the state; latents become decodable
  kDecode,        // the next latent frame to video frames
};

struct Pass {
  PassKind kind = PassKind::kDenoise;
  SessionId session = 0;
  std::string prompt;           // of kEncodePrompt
  std::string negative_prompt;  // of kEncodePrompt, where the model takes one
  int level = 0;                // of a block's first kDenoise: index into step_ladder
};

// 8-bit 4:2:0 BT.709 limited range; planes one after the other (y, then u, then v), frames one after the other.
struct DecodedFrames {
  Size size;
  int count = 0;
  int64_t first_frame = 0;  // index in the video
  std::vector<uint8_t> bytes;
};

struct PassResult {
  absl::Status status;
  double device_seconds = 0;  // this pass's share of its batch; lanes that overlap count the same seconds each
  DecodedFrames frames;       // of kDecode
};

// Where a session stands. The order of passes: EncodePrompt, then for each block as many Denoise as its steps, Commit;
// Decode may run for each latent frame of committed blocks, and must have run for all of a block's before the next
// Commit.
struct SessionProgress {
  SessionSpec spec;
  int blocks = 0;            // in all
  int block = 0;             // being made; == blocks when all are committed
  int block_frames = 0;      // latent frames of that block
  int step = 0;              // denoising steps done in it
  int steps = 0;             // of them in all; settled by its first
  int committed_frames = 0;  // latent frames
  int decoded_latents = 0;   // latent frames decoded
  bool has_prompt = false;
};

class Engine {
 public:
  // Loads and warms everything; sessions' memory is allocated here, once. Errors name the file and field at fault.
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const ModelInfo& model() const = 0;
  virtual std::vector<MemoryRegion> memory() const = 0;
  // Whether decodes run beside the other passes rather than after them.
  virtual bool lanes_overlap() const { return false; }
  virtual SessionMoves moves() const { return {}; }  // of several devices

  // Block lengths of a video of `latent_frames` (specification section 4: the first block takes the remainder).
  virtual std::vector<int> BlockLengths(int latent_frames) const = 0;

  // InvalidArgument names the field; ResourceExhausted: no free slot.
  virtual absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) = 0;
  // Frees the slot once passes under way are done; they complete as they would have. Unknown ids are ignored.
  virtual void CloseSession(SessionId id) = 0;
  virtual absl::StatusOr<SessionProgress> progress(SessionId id) const = 0;

  // Runs the passes as one batch, behind all submitted before; where lanes overlap, behind those of its own lane and of
  // its own session. `done(i, result)` is called once for each. A pass that is out of order, or whose
  // session already has one under way in the same lane, completes with FailedPrecondition and changes nothing.
  virtual void Submit(std::vector<Pass> passes, std::function<void(size_t index, PassResult result)> done) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_ENGINE_H_
