#include "engine/runtime/rebalance.h"

#include <algorithm>

namespace longtake {

std::optional<size_t> Rebalance(const MoveQuestion& q) {
  if (static_cast<double>(q.batches_here) < kLoadBatches) return std::nullopt;
  std::optional<size_t> to;
  for (size_t i = 0; i < q.devices.size(); ++i) {
    if (q.devices[i].seconds > q.devices[q.from].seconds) return std::nullopt;  // another is busier
    if (i == q.from || q.devices[i].free_slots == 0) continue;
    if (!to.has_value() || q.devices[i].seconds < q.devices[*to].seconds) to = i;
  }
  if (!to.has_value() || q.seconds <= 0) return std::nullopt;
  const double gain = std::min(q.seconds, q.devices[q.from].seconds - q.seconds - q.devices[*to].seconds);
  return gain >= std::max(2 * q.move_seconds, q.seconds / 2) ? to : std::nullopt;
}

}  // namespace longtake
