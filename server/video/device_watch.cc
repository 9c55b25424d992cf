#include "server/video/device_watch.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longtake::server {
namespace {

size_t IndexOf(PassKind kind) {
  return static_cast<size_t>(std::find(kPassKinds.begin(), kPassKinds.end(), kind) - kPassKinds.begin());
}

}  // namespace

void DeviceWatch::OnOpened(const absl::Status& status) {
  if (!absl::IsUnavailable(status)) return;
  const MutexLock lock(mutex_);
  if (lost_.empty()) lost_ = absl::StrCat("the device is lost: ", std::string(status.message()));
}

// A kind of which no pass is done yet counts as `stuck_after_`: a pass of a large model on a CPU takes half a minute.
absl::Duration DeviceWatch::Predicted(const Counts& passes) const {
  absl::Duration sum;
  for (size_t i = 0; i < passes.size(); ++i) {
    sum += passes[i] * (longest_[i] > absl::ZeroDuration() ? longest_[i] : stuck_after_);
  }
  return sum;
}

uint64_t DeviceWatch::OnSubmit(const std::vector<PassKind>& passes) {
  Counts counts = {};
  for (const PassKind kind : passes) ++counts[IndexOf(kind)];
  const MutexLock lock(mutex_);
  Batch batch{.left = counts, .all = counts, .submitted = clock_->Now(), .predicted = Predicted(counts)};
  for (const auto& [number, other] : batches_) batch.predicted += Predicted(other.left);
  batches_[++last_batch_] = batch;
  return last_batch_;
}

void DeviceWatch::OnPassDone(uint64_t batch, PassKind kind, double device_seconds) {
  const size_t index = IndexOf(kind);
  const MutexLock lock(mutex_);
  longest_[index] = std::max(longest_[index], absl::Seconds(device_seconds));
  const auto found = batches_.find(batch);
  if (found == batches_.end()) return;
  Counts& left = found->second.left;
  --left[index];
  if (std::all_of(left.begin(), left.end(), [](int count) { return count <= 0; })) batches_.erase(found);
}

DeviceHealth DeviceWatch::health() const {
  const MutexLock lock(mutex_);
  if (!lost_.empty()) return {DeviceHealth::State::kLost, lost_};
  const absl::Duration now = clock_->Now();
  for (const auto& [number, batch] : batches_) {
    const absl::Duration age = now - batch.submitted;
    if (age <= std::max(stuck_after_, stuck_factor_ * batch.predicted)) continue;
    std::string passes;
    for (size_t i = 0; i < batch.all.size(); ++i) {
      if (batch.all[i] == 0) continue;
      absl::StrAppend(&passes, passes.empty() ? "" : ", ", batch.all[i], " ", Name(kPassKinds[i]));
    }
    return {DeviceHealth::State::kStuck,
            absl::StrFormat("the device is stuck: a batch of %s has been under way for %.0f s, predicted %.2f s",
                            passes.c_str(), absl::ToDoubleSeconds(age), absl::ToDoubleSeconds(batch.predicted))};
  }
  return {};
}

}  // namespace longtake::server
