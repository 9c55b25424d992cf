// The engine holds a model on one device or several, keeps the sessions (the memory of videos in the making), and runs
// passes over them.
//
// This is the only header of engine/ that other folders include. It names no tensor type: decoded frames are returned
// as 8-bit 4:2:0.
//
// Threads: every method may be called from any thread. Completions run on the engine's own threads, one at a time. They
// must return quickly, and may call any method.
#ifndef LONGTAKE_ENGINE_ENGINE_H_
#define LONGTAKE_ENGINE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/pass_kind.h"

namespace longtake {

struct ModelInfo;

struct EngineOptions {
  std::string model_dir;
  // Folder of low-rank adapters (LoRA) of the transformer; empty: there are none. Each is NAME.safetensors, or a folder
  // NAME as peft or diffusers writes it. All are loaded. Load refuses a folder in which one cannot be used, and a
  // backend or dtype that does not compute with adapters: cuda, float8 and nvfp4.
  std::string adapters_dir;
  // Folder where the cpu backend keeps packed weights, so that the next load of the same folder by the same type and
  // instruction set is fast, and processes share that memory; empty: nowhere. It takes as many bytes as the weights in
  // memory. Only this engine may change its files. What goes wrong with it is logged, and keeps no model from loading.
  std::string weight_cache_dir;
  std::string backend = "cpu";  // "reference" | "cpu" | "cuda"
  // "auto" | "float32" | "bfloat16" | "int8" | "float8" | "nvfp4". "auto" selects bfloat16 where the processor has
  // instructions for it, else float32. CUDA has neither "float32" nor "int8", and its "auto" is "bfloat16"; the
  // reference backend always computes in float32. "int8" is of the transformer's products over all tokens and of the
  // cpu backend, whose activations stay as "auto" has them. The cpu backend emulates what a device computes in "float8"
  // and "nvfp4", so that their quality can be measured; both are slower than bfloat16.
  std::string dtype = "auto";
  // Types of the text encoder and of the VAE: "auto" | "float32" | "bfloat16"; of the text encoder also "int8". "auto"
  // selects the activation type of `dtype`. CUDA computes both in bfloat16.
  std::string text_dtype = "auto", vae_dtype = "auto";
  // Highest instruction set that the cpu backend uses: "auto" | "avx2" | "avx512" | "avx512_vnni" | "avx512_bf16" |
  // "amx_bf16". Load refuses one that the processor lacks.
  std::string isa = "auto";
  // Worker threads of the cpu backend. 0: one for each physical core that the process may use, within the cgroup's
  // quota.
  int threads = 0;
  // CUDA device ordinals. Every device holds a copy of the model and the same number of sessions.
  std::vector<int> devices = {0};
  // Session slots in total; each slot fits a session of the largest size. With several devices the number is rounded up
  // to a multiple of the number of devices.
  int max_sessions = 4;
  // How many sessions of one device keep their decoder caches in device memory at once; 0: all. The caches of the
  // others are kept in host memory, so that a device can hold more sessions than caches.
  int decoder_cache_slots = 0;
  // Decodes run concurrently with the transformer's passes where the backend supports it. The output bytes are the
  // same.
  bool overlap_decoding = true;
  // CUDA only: repeated transformer passes are captured and launched as one CUDA graph. The output bytes are the same.
  // scripts/gpu.sh measures on each device whether this is faster.
  bool cuda_graphs = false;
  // Host memory, in bytes, that the process takes beside the engine while it makes max_sessions videos of the model.
  // Load refuses what leaves less. Called on the loading thread; null: none.
  std::function<uint64_t(const ModelInfo& model)> others_bytes;
  // Called on the loading thread with the name of the part being loaded, the bytes loaded so far and its total bytes.
  std::function<void(const std::string& what, uint64_t done, uint64_t total)> progress;
  // Called on the loading thread with one line for the log about each automatic choice and its reason.
  std::function<void(const std::string& line)> log;
};

struct Size {
  int width = 0, height = 0;  // pixels
  friend bool operator==(const Size&, const Size&) = default;
};

// An adapter that sessions may use.
struct AdapterInfo {
  std::string name;    // 1 to 64 letters, digits, '.', '_' and '-'
  std::string digest;  // 16 hexadecimal digits, of its files' bytes
  friend bool operator==(const AdapterInfo&, const AdapterInfo&) = default;
};

// Properties of the loaded model. They do not change after loading.
struct ModelInfo {
  std::string name;  // the folder's last path component
  // Backend, instruction set, type, and a checksum of the bytes that the warm-up's passes produced. Engines with equal
  // numerics_id and equal model_digest produce equal bytes.
  std::string numerics_id;
  std::string model_digest;  // of the files' contents; the folder's path does not count
  std::string sampler;       // "few_step" | "flow_dpm_solver" | "flow_euler" | "flow_unipc" | "flow_lcm"
  double fps = 16;
  std::vector<Size> sizes;        // the first is the default
  std::vector<int> frame_tokens;  // transformer tokens of one latent frame, for each of `sizes`
  int block_latent_frames = 0;    // 0: bidirectional, the whole clip is one block
  int denoise_steps = 0;          // of a block, before its commit
  // The step counts that a block may use, descending from denoise_steps. Empty: only denoise_steps.
  std::vector<int> step_ladder;
  int max_latent_frames = 0;
  // What decoding the video's first latent frame takes, as a share of any other's.
  double first_decode_cost = 0.25;
  int frames_per_latent = 4;         // video frames of a latent frame; the video's first latent frame decodes to 1
  bool accepts_first_image = false;  // SessionSpec::first_image may be given
  bool accepts_negative_prompt = false;
  bool switches_prompt = false;
  bool has_tiny_decoder = false;
  // What decoding a latent frame by the tiny decoder takes, as a share of the full one's time: measured while loading,
  // below 1; 1 without a tiny decoder.
  double tiny_decode_cost = 1;
  // Latent frames that are decoded once more where a session goes over to the full or to the tiny decoder.
  int rebuild_latents = 0, tiny_rebuild_latents = 0;
  std::vector<AdapterInfo> adapters;  // sorted by name
  uint64_t max_checkpoint_bytes = 0;  // largest possible result of a PassKind::kSave
  // For people: what the model knows, in a sentence or two, and prompts that it follows. Empty: the folder says
  // neither.
  std::string about;
  std::vector<std::string> examples;
};

// One region of memory. All regions are planned before the first session is opened.
// Device memory: "weights", "adapters" (where there are some), "scratch" (workspace of passes and operations), "state",
// "state_spare", "latents", "decoder_cache", "prompt". Host memory: "frames" (decoded, not yet handed out),
// "checkpoint" (a session being saved) and, where they are used, "decoder_cache_host" and "moving_session".
struct MemoryRegion {
  std::string name;
  uint64_t planned_bytes = 0;  // fixed after loading, never exceeded
  uint64_t used_bytes = 0;
  int slots = 0, slots_used = 0;  // of regions that are divided into one slot a session
};

// How many sessions have moved between devices so far, and what it took. `seconds` runs from the decision to move until
// the session's next pass could run.
struct SessionMoves {
  uint64_t count = 0, bytes = 0;
  double seconds = 0;
};

// An adapter as a session uses it: strength * alpha / rank * B A is added to the weights of each of its layers.
struct AdapterUse {
  std::string name;     // one of ModelInfo::adapters
  double strength = 1;  // within +-kMaxAdapterStrength
  // The adapter's digest; empty: whichever the engine has under that name. An engine that has another file under the
  // name refuses the session. SessionProgress::spec always has it.
  std::string digest;
  friend bool operator==(const AdapterUse&, const AdapterUse&) = default;
};
constexpr double kMaxAdapterStrength = 100;
constexpr size_t kMaxSessionAdapters = 8;

// A picture that a video begins with: 8-bit RGB, rows from the top, of the session's size.
struct FirstImage {
  std::vector<uint8_t> rgb;
};

// What makes video frames of latents.
enum class DecoderKind {
  kFull,  // the VAE's decoder
  kTiny,  // where ModelInfo::has_tiny_decoder: in a fraction of the time, with less detail
};

struct SessionSpec {
  Size size;              // one of ModelInfo::sizes
  int latent_frames = 0;  // 1 ... max_latent_frames; video frames = 1 + frames_per_latent * (latent_frames - 1)
  uint64_t seed = 0;
  std::vector<AdapterUse> adapters;  // at most kMaxSessionAdapters, none twice; their order may change a result's bytes
  // Null: the video is made from text alone. Only where ModelInfo::accepts_first_image, and with at least 2
  // latent_frames, of which the picture is the first.
  std::shared_ptr<const FirstImage> first_image;
  // What decodes until a kDecode says otherwise. A checkpoint does not depend on it: it holds latents, and the caches
  // of either decoder are rebuilt from them.
  DecoderKind decoder = DecoderKind::kFull;
};

using SessionId = uint64_t;  // never reused

// An ordered queue of passes on a device. Every device has both.
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
  // kEncodePrompt. `negative_prompt` is used only where ModelInfo::accepts_negative_prompt; empty selects the model's
  // own.
  std::string prompt, negative_prompt;
  int level = 0;  // kDenoise at step 0: index into step_ladder
  // kDecode: what decodes from this latent frame on; none: what decoded the one before. Where it is another, its caches
  // are built first, by decoding rebuild_latents again. Frames are those that it would have made, had it decoded all.
  std::optional<DecoderKind> decoder;
  std::vector<std::byte> checkpoint;  // kRestore: the bytes that a kSave returned
};

// 8-bit 4:2:0, BT.709 limited range. The planes y, u and v of a frame follow each other, and so do the frames.
struct DecodedFrames {
  Size size;
  int count = 0;
  int64_t first_frame = 0;  // index in the video
  std::vector<uint8_t> bytes;
};

struct PassResult {
  absl::Status status;
  double device_seconds = 0;  // this pass's share of its batch; lanes that overlap each count the shared seconds
  DecodedFrames frames;       // kDecode
  // kEncodePrompt: the prompt's tokens, including a motion score that the model appends, and how many of them the text
  // encoder reads. Where it reads fewer, the prompt's end has been cut off.
  int64_t prompt_tokens = 0, prompt_tokens_used = 0;
  // kSave. The checkpoint has a version and a checksum. Any engine with the same numerics_id and model_digest restores
  // it, on any machine.
  std::vector<std::byte> checkpoint;
};

// Progress of a session. Its passes come in this order: kEncodePrompt first, which also encodes the first image, then
// for each block `steps` times kDenoise and one kCommit. kDecode runs once for each latent frame of the committed
// blocks; all of a block's frames must be decoded before the next block's kCommit. kSave is valid once a block is
// committed, kRestore at any time.
struct SessionProgress {
  SessionSpec spec;          // its decoder is the one that decoded last
  int blocks = 0;            // in all
  int block = 0;             // being made; equals `blocks` when all are committed
  int block_frames = 0;      // latent frames of that block
  int step = 0;              // denoising steps done in it
  int steps = 0;             // denoising steps of it in all, fixed by its first kDenoise
  int committed_frames = 0;  // latent frames
  int decoded_latents = 0;   // latent frames decoded
  bool has_prompt = false;
};

class Engine {
 public:
  // Loads the model, allocates the memory of all sessions, and runs every kind of pass once, so that a shortage shows
  // now rather than in the middle of a video. Errors name the option, or the file and field at fault.
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const ModelInfo& model() const = 0;
  virtual std::vector<MemoryRegion> memory() const = 0;
  // True if the two lanes of a device run concurrently, false if they take turns.
  virtual bool lanes_overlap() const { return false; }
  virtual SessionMoves moves() const { return {}; }  // always 0 with one device
  // Bytes of host memory that the process may still take, by the tightest limit on it.
  virtual uint64_t host_bytes_left() const { return std::numeric_limits<uint64_t>::max(); }

  // Splits a video into blocks and returns their lengths in latent frames. The first block takes the remainder
  // (specification section 4). `first_image`: whether the video has one. Models that take it for a finished block of
  // one latent frame count the rule from the second latent frame on, and make the picture part of the first block.
  virtual std::vector<int> BlockLengths(int latent_frames, bool first_image) const = 0;

  // InvalidArgument names the field. FailedPrecondition: an adapter has another digest here. ResourceExhausted: no slot
  // is free. Unavailable: the device has failed.
  virtual absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) = 0;
  // Frees the slot once the session's passes have completed. Unknown ids are ignored.
  virtual void CloseSession(SessionId id) = 0;
  virtual absl::StatusOr<SessionProgress> progress(SessionId id) const = 0;
  // Returns what a kRestore of these bytes in a session of this spec would be refused with. Needs no session, so that
  // whoever cannot use a checkpoint can decide otherwise before one is opened. Reads all bytes: 1/8 s for 250 MB.
  virtual absl::Status CheckCheckpoint(const SessionSpec& spec, std::span<const std::byte> checkpoint) const = 0;

  // Appends the passes to the lane as one batch and returns at once. Batches of one lane run in the order of
  // submission, and so do the passes of one session across both lanes. Where lanes take turns, a decoder batch runs
  // before transformer batches that have not begun.
  //
  // A session may have one kEncodePrompt, one kDenoise or kCommit, and one kDecode or kSave in flight at a time. While
  // a kRestore is in flight it may have no other pass. Within one batch a session's kEncodePrompt runs before its other
  // passes.
  //
  // `done(i, result)` is called exactly once for each pass. A pass that is refused changes nothing; its status says
  // why:
  // - InvalidArgument: it belongs to the other lane, or its prompt is not valid text.
  // - NotFound: the session is unknown.
  // - FailedPrecondition: it is out of order, a pass of the same role is in flight, or the checkpoint is of another
  //   numerics_id, model_digest or spec, adapters' digests and the first image's pixels included.
  // - DataLoss: the checkpoint is truncated or corrupted.
  //
  // ResourceExhausted and Internal end the session, except after a kSave: its later passes complete with the same
  // status. Other sessions continue unless the device itself has failed, which OpenSession then reports.
  virtual void Submit(Lane lane, std::vector<Pass> passes,
                      std::function<void(size_t index, PassResult result)> done) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_ENGINE_H_
