// Where sessions' decoder caches are: on the device, or parked in host memory when there are more sessions than places.
#ifndef LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_
#define LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/ops/ops.h"

namespace longtake {

// At 480p in bf16 a session's caches are 1.9 GB and are needed while one of its latent frames is decoded only; its
// state, needed in every pass, is 160 MB. So the number of places may be smaller than that of sessions: a block's ten
// frames take longer to decode than caches take to come back (1.9 GB at 50 GB/s: 38 ms of 300).
class DecoderCaches {
 public:
  // `places` of `bytes` each for sessions numbered 0 ... sessions - 1. Host memory is taken where places do not
  // suffice. `ops`: the lane that decodes; caches move in its order, beside what other lanes do.
  DecoderCaches(Ops& ops, size_t bytes, int sessions, int places);

  // The session's caches on the device, until the next call. Where they were parked they are brought back, and in
  // either case the caches used longest ago make room. `fresh`: their contents do not matter yet. A session keeps its
  // number for life; the next one of the number begins fresh.
  std::byte* Bring(int session, bool fresh);

  int places() const { return places_; }
  size_t host_bytes() const { return parked_ == nullptr ? 0 : parked_->size(); }
  uint64_t moves() const { return moves_; }  // to the host and back, in all

 private:
  static constexpr int kNowhere = -1;
  std::byte* Place(int place) const { return static_cast<std::byte*>(device_->data()) + place * bytes_; }
  std::byte* Parked(int session) const { return static_cast<std::byte*>(parked_->data()) + session * bytes_; }

  Ops& ops_;
  size_t bytes_;  // of one session, aligned
  int places_;
  std::unique_ptr<Buffer> device_, parked_;
  std::vector<int> place_of_;    // of each session
  std::vector<int> session_in_;  // of each place
  std::vector<uint64_t> used_;   // of each place: when, in calls
  uint64_t calls_ = 0, moves_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_DECODER_CACHES_H_
