#include "engine/runtime/decoder_caches.h"

#include <algorithm>

#include "engine/ops/arena.h"
#include "engine/runtime/device_memory.h"

namespace longtake {

DecoderCaches::DecoderCaches(Ops& ops, size_t bytes, int sessions, int slots)
    : ops_(ops),
      bytes_(Aligned(bytes)),
      slots_(slots),
      device_(AllocateTouched(ops, bytes_ * slots)),
      on_host_(slots < sessions ? AllocateHostTouched(ops, bytes_ * sessions) : nullptr),
      slot_of_(sessions, kNone),
      session_in_(slots, kNone),
      used_(slots, 0) {}

std::byte* DecoderCaches::Bring(int session, bool fresh) {
  ++calls_;
  int slot = slot_of_[session];
  if (slot == kNone) {
    slot = static_cast<int>(std::min_element(used_.begin(), used_.end()) - used_.begin());
    if (const int other = session_in_[slot]; other != kNone) {
      ops_.device().DownloadAsync(InSlot(slot), OnHost(other), bytes_);
      slot_of_[other] = kNone;
    }
    if (!fresh) ops_.device().Upload(OnHost(session), InSlot(slot), bytes_);
    slot_of_[session] = slot;
    session_in_[slot] = session;
  }
  used_[slot] = calls_;
  return InSlot(slot);
}

}  // namespace longtake
