#include "engine/runtime/memory_plan.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace longtake {
namespace {

std::string MiB(double bytes) { return absl::StrCat(std::ceil(bytes / (1 << 20)), " MiB"); }

// In bytes. Floating point, because products of the numbers in a hostile model folder may exceed 64 bits.
struct Need {
  double of_slots, of_decoding, once;
  double of_others = 0;
  double sum() const { return of_slots + of_decoding + once + of_others; }
};

double SlotBytes(const SlotPlan& slot) {
  return static_cast<double>(slot.state) + static_cast<double>(slot.state_spare) + static_cast<double>(slot.latents) +
         static_cast<double>(slot.prompt);
}

double OffloadedBytes(const MemoryPlan& plan) {
  return plan.decoder_cache_slots < plan.slots ? static_cast<double>(plan.slot.decoder_cache) * plan.slots : 0;
}

Need DeviceNeed(const MemoryPlan& plan) {
  return {.of_slots = SlotBytes(plan.slot) * plan.slots,
          .of_decoding = static_cast<double>(plan.slot.decoder_cache) * plan.decoder_cache_slots,
          .once = static_cast<double>(plan.weights) + static_cast<double>(plan.adapters) +
                  static_cast<double>(plan.scratch)};
}

// What remains to be allocated on the host: weights and adapters are loaded already, but for what is mapped.
Need HostNeed(const MemoryPlan& plan) {
  Need need{.of_slots = 0,
            .of_decoding = OffloadedBytes(plan),
            .once = static_cast<double>(plan.mapped) + static_cast<double>(plan.frames) +
                    static_cast<double>(plan.checkpoint),
            .of_others = static_cast<double>(plan.others)};
  if (plan.device_memory > 0) return need;
  const Need device = DeviceNeed(plan);
  need.of_slots += device.of_slots;
  need.of_decoding += device.of_decoding;
  need.once += static_cast<double>(plan.scratch);
  return need;
}

absl::Status Check(const MemoryPlan& plan, const Need& need, double available, const std::string& of) {
  if (need.sum() <= available) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "max_sessions: ", plan.slots, " sessions of the model's largest size and longest block need ", MiB(need.sum()),
      " (", MiB(need.of_slots), " for the sessions, ", MiB(need.of_decoding), " for decoding, ", MiB(need.once),
      " once", need.of_others > 0 ? absl::StrCat(", ", MiB(need.of_others), " for the rest of the process") : "",
      "), and there are ", MiB(available), " of ", of));
}

}  // namespace

absl::Status CheckMemory(const MemoryPlan& plan, const MemoryBudget& host) {
  if (plan.device_memory > 0) {
    const absl::Status device =
        Check(plan, DeviceNeed(plan), static_cast<double>(plan.device_memory), "the device's memory");
    if (!device.ok()) return device;
  }
  const MemoryLimit* limit = host.tightest();
  if (limit == nullptr) return absl::OkStatus();
  return Check(plan, HostNeed(plan), static_cast<double>(limit->available()),
               absl::StrCat(limit->name, ", ", MiB(static_cast<double>(limit->bytes)), " less what is in use"));
}

std::string Describe(const MemoryPlan& plan, const MemoryBudget& host) {
  std::string line =
      absl::StrCat("memory: ", plan.slots, " sessions; weights ", MiB(static_cast<double>(plan.weights)));
  if (plan.adapters > 0) absl::StrAppend(&line, ", adapters ", MiB(static_cast<double>(plan.adapters)));
  if (plan.device_memory > 0) {
    absl::StrAppend(&line, ", ", MiB(DeviceNeed(plan).sum()), " of the device's ",
                    MiB(static_cast<double>(plan.device_memory)));
  }
  absl::StrAppend(&line, ", ", MiB(HostNeed(plan).sum()), " more on the host");
  if (const MemoryLimit* limit = host.tightest(); limit != nullptr) {
    absl::StrAppend(&line, ", where ", MiB(static_cast<double>(limit->available())), " are left of ", limit->name, ", ",
                    MiB(static_cast<double>(limit->bytes)));
  }
  return line;
}

}  // namespace longtake
