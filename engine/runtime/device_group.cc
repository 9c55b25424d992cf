#include "engine/runtime/device_group.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"

namespace longtake {
namespace {

class DeviceGroup : public Engine {
 public:
  explicit DeviceGroup(std::vector<std::unique_ptr<Engine>> members)
      : members_(std::move(members)), open_(members_.size(), 0) {}

  const ModelInfo& model() const override { return members_.front()->model(); }
  bool lanes_overlap() const override { return members_.front()->lanes_overlap(); }

  std::vector<MemoryRegion> memory() const override {
    std::vector<MemoryRegion> sum = members_.front()->memory();
    for (size_t i = 1; i < members_.size(); ++i) {
      const std::vector<MemoryRegion> regions = members_[i]->memory();
      for (size_t r = 0; r < sum.size(); ++r) {
        sum[r].planned_bytes += regions[r].planned_bytes;
        sum[r].used_bytes += regions[r].used_bytes;
        sum[r].slots += regions[r].slots;
        sum[r].slots_used += regions[r].slots_used;
      }
    }
    return sum;
  }

  std::vector<int> BlockLengths(int latent_frames) const override {
    return members_.front()->BlockLengths(latent_frames);
  }

  absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) override {
    const std::lock_guard lock(mutex_);
    // All have equally many slots: the one with the fewest sessions has the most free.
    std::vector<size_t> order(members_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return open_[a] < open_[b]; });
    absl::Status status;
    for (const size_t member : order) {
      const absl::StatusOr<SessionId> id = members_[member]->OpenSession(spec);
      if (id.ok()) {
        ++open_[member];
        return *id * members_.size() + member;
      }
      status = id.status();
      if (!absl::IsResourceExhausted(status)) break;
    }
    return status;
  }

  void CloseSession(SessionId id) override {
    Engine& member = *members_[MemberOf(id)];
    {
      const std::lock_guard lock(mutex_);
      if (!member.progress(LocalId(id)).ok()) return;  // unknown, or closed before
      --open_[MemberOf(id)];
      member.CloseSession(LocalId(id));
    }
  }

  absl::StatusOr<SessionProgress> progress(SessionId id) const override {
    return members_[MemberOf(id)]->progress(LocalId(id));
  }

  void Submit(std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) override {
    struct Part {
      std::vector<Pass> passes;
      std::vector<size_t> index;  // in the submitted list
    };
    std::vector<Part> parts(members_.size());
    for (size_t i = 0; i < passes.size(); ++i) {
      Part& part = parts[MemberOf(passes[i].session)];
      passes[i].session = LocalId(passes[i].session);
      part.passes.push_back(std::move(passes[i]));
      part.index.push_back(i);
    }
    // Shared by the parts' completions, which come from as many threads.
    const auto shared = std::make_shared<Completion>(std::move(done));
    for (size_t m = 0; m < parts.size(); ++m) {
      if (parts[m].passes.empty()) continue;
      members_[m]->Submit(std::move(parts[m].passes),
                          [shared, index = std::move(parts[m].index)](size_t i, PassResult result) {
                            const std::lock_guard lock(shared->mutex);
                            shared->done(index[i], std::move(result));
                          });
    }
  }

 private:
  struct Completion {
    explicit Completion(std::function<void(size_t, PassResult)> f) : done(std::move(f)) {}
    std::mutex mutex;
    std::function<void(size_t, PassResult)> done;
  };

  size_t MemberOf(SessionId id) const { return id % members_.size(); }
  SessionId LocalId(SessionId id) const { return id / members_.size(); }

  const std::vector<std::unique_ptr<Engine>> members_;
  std::mutex mutex_;
  std::vector<int> open_ ABSL_GUARDED_BY(mutex_);  // sessions of each member
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeDeviceGroup(std::vector<std::unique_ptr<Engine>> members) {
  for (const auto& member : members) {
    if (member->model().numerics_id != members.front()->model().numerics_id) {
      return absl::FailedPreconditionError(absl::StrCat("devices: one computes as ", member->model().numerics_id,
                                                        ", another as ", members.front()->model().numerics_id));
    }
  }
  return std::make_unique<DeviceGroup>(std::move(members));
}

}  // namespace longtake
