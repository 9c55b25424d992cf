// Sessions' decoder caches, in slots of device memory. With more sessions than slots the others' caches are in host
// memory.
#ifndef LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_
#define LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/ops/ops.h"

namespace longtake {

// At 480p in bf16 a session's caches are 1.9 GB, and they are needed only while one of its latent frames is decoded;
// its state, needed in every pass, is 160 MB. So there may be fewer cache slots than sessions: a block's ten frames
// take longer to decode than its caches take to come back (1.9 GB at 50 GB/s: 38 ms of 300).
class DecoderCaches {
 public:
  // `slots` of `bytes` each for sessions numbered 0 ... sessions - 1. Host memory is allocated where there are fewer
  // slots than sessions. `ops`: the decoder's lane; caches are copied in its order. Throws bad_alloc.
  DecoderCaches(Ops& ops, size_t bytes, int sessions, int slots);

  // Returns the session's caches on the device, valid until the next call. They are copied back from the host where
  // they are there, and the caches used longest ago make room. `fresh`: the contents do not matter yet. A session keeps
  // its number for life; the next session of the number begins fresh.
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
  std::vector<int> slot_of_;     // of each session
  std::vector<int> session_in_;  // of each slot
  std::vector<uint64_t> used_;   // of each slot: the call that last returned it
  uint64_t calls_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_
