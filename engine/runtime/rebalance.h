// When a session is worth moving to another device.
#ifndef LONGTAKE_ENGINE_RUNTIME_REBALANCE_H_
#define LONGTAKE_ENGINE_RUNTIME_REBALANCE_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace longtake {

// A load is the device seconds of the last kLoadBatches batches, the older ones fading: what parked, waiting and ended
// sessions do not need counts for nothing, and a batch in which a session happens to have no pass changes little.
// Sixteen batches are about two blocks of four steps, a commit and three frames.
constexpr double kLoadBatches = 16;

class RecentLoad {
 public:
  double At(uint64_t batch) const { return seconds_ * std::exp(-static_cast<double>(batch - batch_) / kLoadBatches); }
  void Add(uint64_t batch, double seconds) {
    seconds_ = At(batch) + seconds;
    batch_ = batch;
  }

 private:
  double seconds_ = 0;
  uint64_t batch_ = 0;  // counted by who adds; never less than before
};

struct DeviceLoad {
  double seconds = 0;  // of its sessions' loads
  int free_slots = 0;
};

// Of a session that is about to begin a block.
struct MoveQuestion {
  std::span<const DeviceLoad> devices;
  size_t from = 0;            // where it is
  double seconds = 0;         // its load, a part of that device's
  double move_seconds = 0;    // what the move is expected to take
  uint64_t batches_here = 0;  // since it came
};

// The device to which it should go, if any.
using MovePolicy = std::function<std::optional<size_t>(const MoveQuestion&)>;

// A batch ends with its last device, so a move is worth what it takes off the busiest one, if the next kLoadBatches
// batches are as the last ones were: only sessions of the busiest device move, to the least busy one with a free slot.
// The gain, min(s, busiest - s - least), has to be
// - twice the move: once for the way, and once for the way back should the load turn;
// - half of the session's own load s: two devices that differ by one session's worth, 0.5 s more or less, stay as they
//   are. After a move the difference is 2 s less, and going back would take one of 1.5 s the other way round: between
//   the two lies a whole session, so noise moves nothing back and forth.
// A session stays where it came to for kLoadBatches, over which a move is weighed.
std::optional<size_t> Rebalance(const MoveQuestion& question);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_REBALANCE_H_
