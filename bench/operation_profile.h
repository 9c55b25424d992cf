// Where the time of passes went, by operation.
#ifndef LONGTAKE_BENCH_OPERATION_PROFILE_H_
#define LONGTAKE_BENCH_OPERATION_PROFILE_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/ops/ops.h"
#include "engine/ops/profiler.h"

namespace longtake {

class OperationProfile {
 public:
  // Of the operations of all `parts`, which must outlive it; the default is of none.
  OperationProfile() = default;
  explicit OperationProfile(std::vector<Ops*> parts) : parts_(std::move(parts)) {}

  // Call these while no pass is under way.
  void Enable(bool enabled) const;
  void Reset() const;

  // Of all parts, added up by name, the longest first.
  std::vector<Profiler::Zone> zones() const;
  // A line for each operation, the longest first, then for what lies between them: calls and seconds of one round, and
  // the share of `seconds`, which all `rounds` took together. Empty where there are no parts.
  std::string Table(double seconds, int rounds) const;

 private:
  std::vector<Ops*> parts_;
};

}  // namespace longtake

#endif  // LONGTAKE_BENCH_OPERATION_PROFILE_H_
