// Engine::Load: one device, or a group of devices.
#include "engine/engine.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/exception_status.h"
#include "common/status_macros.h"
#include "engine/core/memory_budget.h"
#include "engine/runtime/device_group.h"
#include "engine/runtime/load.h"

namespace longtake {

absl::StatusOr<std::unique_ptr<Engine>> Engine::Load(const EngineOptions& options) try {
  if (options.max_sessions < 1 || options.max_sessions > 4096) {
    return absl::InvalidArgumentError("max_sessions: must lie in 1 ... 4096");
  }
  if (options.decoder_cache_slots < 0) return absl::InvalidArgumentError("decoder_cache_slots: is negative");
  const auto count = static_cast<int>(options.devices.size());
  if (count < 1 || (count > 1 && options.backend != "cuda")) {
    return absl::InvalidArgumentError(absl::StrCat("devices: the ", options.backend, " backend has one, not ", count));
  }
  if (std::set<int>(options.devices.begin(), options.devices.end()).size() != options.devices.size()) {
    return absl::InvalidArgumentError("devices: one is named twice");
  }
  const int slots = (options.max_sessions + count - 1) / count;
  if (count == 1) return LoadSlotEngine(options, options.devices[0], slots);
  std::vector<std::unique_ptr<MovableEngine>> members;
  for (const int device : options.devices) {
    ASSIGN_OR_RETURN(std::unique_ptr<MovableEngine> member, LoadSlotEngine(options, device, slots));
    members.push_back(std::move(member));
  }
  return MakeDeviceGroup(std::move(members));
} catch (...) {
  const absl::Status status = StatusOfCurrentException();
  return WithWhatIsLeft(absl::Status(status.code(), absl::StrCat(options.model_dir, ": ", status.message())));
}

}  // namespace longtake
