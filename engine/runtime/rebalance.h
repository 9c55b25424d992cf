// Decides when a session is worth moving to another device.
#ifndef LONGTAKE_ENGINE_RUNTIME_REBALANCE_H_
#define LONGTAKE_ENGINE_RUNTIME_REBALANCE_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace longtake {

// The load of a session is the device seconds that it used, where a batch counts exp(-1) times as much for every
// kLoadBatches batches that followed it. Parked, waiting and finished sessions therefore fade to 0, and one batch
// without a pass of a session changes its load little. Sixteen batches are about two blocks of four steps, a commit and
// three frames.
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
  uint64_t batch_ = 0;  // the caller's batch counter; never decreases
};

struct DeviceLoad {
  double seconds = 0;  // sum of its sessions' loads
  int free_slots = 0;
};

// Describes a session that is about to begin a block.
struct MoveQuestion {
  std::span<const DeviceLoad> devices;
  size_t from = 0;            // its device
  double seconds = 0;         // its load, a part of devices[from].seconds
  double move_seconds = 0;    // estimated duration of the move
  uint64_t batches_here = 0;  // batches since it came to its device
};

// Returns the device that the session should move to, if any.
using MovePolicy = std::function<std::optional<size_t>(const MoveQuestion&)>;

// A batch finishes when its last device does, so a move gains what it takes off the busiest device, assuming that the
// next kLoadBatches batches are like the last ones. Only sessions of the busiest device move, to the least busy device
// with a free slot. With s the session's load, the gain is min(s, busiest - s - least). It must be at least
// - twice the cost of the move: once to go, and once to come back if the load shifts;
// - s / 2, for hysteresis. A session moves only if the devices differ by at least 1.5 s. The move reduces the
//   difference by 2 s, to -0.5 s or more, and moving back takes -1.5 s: noise smaller than one session's load moves
//   nothing back and forth.
// A session that has moved stays for at least kLoadBatches batches, the period over which a move is judged.
std::optional<size_t> Rebalance(const MoveQuestion& question);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_REBALANCE_H_
