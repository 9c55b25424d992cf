// Keeps sessions' decoder caches in slots of device memory. If there are fewer slots than sessions, the caches without
// a slot are kept in host memory.
#ifndef LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_
#define LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/ops/ops.h"

namespace longtake {

// A session's caches take 1.9 GB at 480p in bfloat16 and are needed only while one of its latent frames is decoded. Its
// state takes 160 MB and is needed in every pass. There may therefore be fewer cache slots than sessions: decoding a
// block's ten frames takes longer (300 ms) than copying its caches back to the device (1.9 GB at 50 GB/s: 38 ms).
class DecoderCaches {
 public:
  // Allocates `slots` slots of `bytes` each, for sessions numbered 0 ... sessions - 1, and host memory for all sessions
  // if there are fewer slots than sessions. `ops` belongs to the decoder's lane; caches are copied in that stream's
  // order. Throws bad_alloc.
  DecoderCaches(Ops& ops, size_t bytes, int sessions, int slots);

  // Returns the session's caches in device memory. The pointer is valid until the next call. If the caches are in host
  // memory they are copied back, and the least recently used slot is evicted to make room. With `fresh` the old
  // contents are not copied. Session numbers are reused: the first call for a new session of a number must pass
  // `fresh`.
  std::byte* Bring(int session, bool fresh);

  int sessions() const { return static_cast<int>(slot_of_.size()); }
  int slots() const { return slots_; }
  size_t host_bytes() const { return on_host_ == nullptr ? 0 : on_host_->size(); }

 private:
  static constexpr int kNone = -1;
  std::byte* InSlot(int slot) const { return static_cast<std::byte*>(device_->data()) + slot * bytes_; }
  std::byte* OnHost(int session) const { return static_cast<std::byte*>(on_host_->data()) + session * bytes_; }

  Ops& ops_;
  size_t bytes_;  // of one session, aligned
  int slots_;
  std::unique_ptr<Buffer> device_, on_host_;
  std::vector<int> slot_of_;     // slot of each session, or kNone
  std::vector<int> session_in_;  // session in each slot, or kNone
  std::vector<uint64_t> used_;   // for each slot, the value of calls_ when it was last returned (for the LRU choice)
  uint64_t calls_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_
