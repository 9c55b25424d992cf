#include "engine/runtime/decoder_caches.h"

#include <algorithm>

#include "engine/runtime/video_model.h"

namespace longtake {

DecoderCaches::DecoderCaches(Ops& ops, size_t bytes, int sessions, int places)
    : ops_(ops),
      bytes_(Aligned(bytes)),
      places_(places),
      device_(ops.device().Allocate(bytes_ * places)),
      parked_(places < sessions ? ops.device().AllocateHost(bytes_ * sessions) : nullptr),
      place_of_(sessions, kNowhere),
      session_in_(places, kNowhere),
      used_(places, 0) {}

std::byte* DecoderCaches::Bring(int session, bool fresh) {
  ++calls_;
  int place = place_of_[session];
  if (place == kNowhere) {
    place = static_cast<int>(std::min_element(used_.begin(), used_.end()) - used_.begin());
    if (const int other = session_in_[place]; other != kNowhere) {
      ops_.device().DownloadAsync(Place(place), Parked(other), bytes_);
      place_of_[other] = kNowhere;
      ++moves_;
    }
    if (!fresh) {
      ops_.device().Upload(Parked(session), Place(place), bytes_);
      ++moves_;
    }
    place_of_[session] = place;
    session_in_[place] = session;
  }
  used_[place] = calls_;
  return Place(place);
}

}  // namespace longtake
