#include "engine/runtime/device_group.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "engine/runtime/batch_part.h"

namespace longtake {
namespace {

// Estimated cost of a move until moves have been measured: 10 GB/s each way, less than half of what 16 lanes of PCIe 4
// carry. The estimate has the weight of kAssumedBytes measured bytes.
constexpr double kAssumedSecondsPerByte = 2 / 10e9, kAssumedBytes = 64 << 20;

using Clock = std::chrono::steady_clock;

class DeviceGroup : public Engine {
 public:
  DeviceGroup(std::vector<std::unique_ptr<MovableEngine>> members, MovePolicy policy)
      : policy_(std::move(policy)),
        members_(std::move(members)),
        image_(members_.front()->AllocateImage()),
        open_(members_.size(), 0) {}

  ~DeviceGroup() override {
    {
      MutexLock lock(mutex_);
      move_ended_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !move_.has_value(); });
    }
    image_.reset();
    // The members run what was submitted to its end. Their completions use the other fields of this class, so members
    // are destroyed first.
    for (auto& member : members_) member.reset();
  }

  const ModelInfo& model() const override { return members_.front()->model(); }
  bool lanes_overlap() const override { return members_.front()->lanes_overlap(); }

  uint64_t host_bytes_left() const override { return members_.front()->host_bytes_left(); }
  std::vector<MemoryRegion> memory() const override {
    const MutexLock lock(mutex_);  // a moving session changes its slot under this lock
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
    sum.push_back({.name = "moving_session", .planned_bytes = image_->size(), .used_bytes = image_->size()});
    return sum;
  }

  SessionMoves moves() const override {
    const MutexLock lock(mutex_);
    return moves_;
  }

  std::vector<int> BlockLengths(int latent_frames, bool first_image) const override {
    return members_.front()->BlockLengths(latent_frames, first_image);
  }

  absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) override {
    const MutexLock lock(mutex_);
    absl::StatusOr<Place> place = OpenOnAny(spec, std::nullopt);
    if (!place.ok()) return place.status();
    ++open_[place->member];
    Session& session = sessions_[++last_id_];
    session.place = *place;
    session.came = batch_;
    return last_id_;
  }

  void CloseSession(SessionId id) override {
    const MutexLock lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end()) return;
    const Place place = it->second.place;
    --open_[place.member];
    sessions_.erase(it);
    if (move_.has_value() && move_->session == id) {
      move_->closed = true;  // EndMove closes it, once its held passes are submitted
    } else {
      members_[place.member]->CloseSession(place.local);
    }
  }

  absl::StatusOr<SessionProgress> progress(SessionId id) const override {
    const MutexLock lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end()) return absl::NotFoundError("session: unknown");
    if (move_.has_value() && move_->session == id) return move_->progress;
    return members_[it->second.place.member]->progress(it->second.place.local);
  }

  absl::Status CheckCheckpoint(const SessionSpec& spec, std::span<const std::byte> checkpoint) const override {
    return members_.front()->CheckCheckpoint(spec, checkpoint);
  }

  void Submit(Lane lane, std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) override {
    const auto completion = std::make_shared<Completion>(std::move(done));
    std::vector<Part> parts(members_.size(), Part{.lane = lane});
    const MutexLock lock(mutex_);
    ++batch_;
    ConsiderMove(passes);
    for (size_t i = 0; i < passes.size(); ++i) {
      const SessionId id = passes[i].session;
      const auto it = sessions_.find(id);
      const Place place = it == sessions_.end() ? Place{} : it->second.place;
      if (it != sessions_.end()) ++it->second.under_way;
      const bool moves = move_.has_value() && move_->session == id;
      Part& part = moves ? move_->held.emplace_back(Part{.lane = lane}) : parts[place.member];
      part.passes.push_back(std::move(passes[i]));
      part.passes.back().session = place.local;
      part.owners.push_back({id, completion, i});
    }
    for (size_t m = 0; m < parts.size(); ++m) SubmitPart(m, std::move(parts[m]));
  }

 private:
  struct Place {
    size_t member = 0;
    SessionId local = 0;  // id on the member; 0: unknown there, so the member refuses its passes
  };
  struct Session {
    Place place;
    int under_way = 0;  // passes in flight
    RecentLoad load;
    uint64_t came = 0;  // value of batch_ when it came to its device
  };
  struct Move {
    SessionId session = 0;
    SessionProgress progress;  // reported while the session moves
    Place from, to;
    size_t bytes = 0;
    Clock::time_point begun;
    SessionPosition position;  // valid once TakeSession is done
    std::vector<Part> held;    // passes submitted during the move, one a Part
    bool closed = false;
  };

  // Opens on the device with the fewest sessions that has a free slot, except `but`. All devices have equally many
  // slots.
  absl::StatusOr<Place> OpenOnAny(const SessionSpec& spec, std::optional<size_t> but)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<size_t> order(members_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_[a] < open_[b]; });
    absl::Status status;
    for (const size_t member : order) {
      if (member == but) continue;
      const absl::StatusOr<SessionId> local = members_[member]->OpenSession(spec);
      if (local.ok()) return Place{member, *local};
      // Prefer ResourceExhausted, which is temporary, to the Unavailable of a device that has failed for good.
      if (!absl::IsResourceExhausted(status)) status = local.status();
      if (!absl::IsResourceExhausted(local.status()) && !absl::IsUnavailable(local.status())) break;
    }
    return status;
  }

  void SubmitPart(size_t member, Part part) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (part.passes.empty()) return;
    members_[member]->Submit(part.lane, std::move(part.passes),
                             [this, owners = std::move(part.owners)](size_t i, PassResult result) {
                               Complete(owners[i], std::move(result));
                             });
  }

  void Complete(const Part::Owner& owner, PassResult result) {
    {
      const MutexLock lock(mutex_);
      if (const auto it = sessions_.find(owner.session); it != sessions_.end()) {
        --it->second.under_way;
        it->second.load.Add(batch_, result.device_seconds);
      }
    }
    owner.completion->Complete(owner.index, std::move(result));
  }

  // ---- Moves
  void ConsiderMove(const std::vector<Pass>& passes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (move_.has_value()) return;
    std::vector<DeviceLoad> devices;
    for (const Pass& pass : passes) {
      const auto it = sessions_.find(pass.session);
      if (pass.kind != PassKind::kDenoise || it == sessions_.end() || it->second.under_way > 0) continue;
      const Session& session = it->second;
      const absl::StatusOr<SessionProgress> at = members_[session.place.member]->progress(session.place.local);
      if (!at.ok() || !at->has_prompt || at->step > 0 || at->block == at->blocks) continue;
      if (devices.empty()) devices = Loads();
      const size_t bytes = members_[session.place.member]->ImageBytes(session.place.local);
      const double rate = (kAssumedBytes * kAssumedSecondsPerByte + moves_.seconds) /
                          (kAssumedBytes + static_cast<double>(moves_.bytes));
      const std::optional<size_t> to = policy_({.devices = devices,
                                                .from = session.place.member,
                                                .seconds = session.load.At(batch_),
                                                .move_seconds = static_cast<double>(bytes) * rate,
                                                .batches_here = batch_ - session.came});
      if (to.has_value() && *to != session.place.member && BeginMove(pass.session, *to, *at, bytes)) return;
    }
  }

  std::vector<DeviceLoad> Loads() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<DeviceLoad> devices(members_.size());
    for (size_t i = 0; i < members_.size(); ++i) devices[i].free_slots = members_[i]->free_slots();
    for (const auto& [id, session] : sessions_) devices[session.place.member].seconds += session.load.At(batch_);
    return devices;
  }

  bool BeginMove(SessionId id, size_t to, const SessionProgress& at, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::StatusOr<SessionId> local = members_[to]->OpenSession(at.spec);
    if (!local.ok()) return false;
    const Place from = sessions_.at(id).place;
    move_ = Move();
    move_->session = id;
    move_->progress = at;
    move_->bytes = bytes;
    move_->begun = Clock::now();
    move_->from = from;
    MoveTo({to, *local});
    members_[from.member]->TakeSession(
        from.local, *image_, [this](absl::StatusOr<SessionPosition> position) { OnTaken(std::move(position)); });
    return true;
  }

  void MoveTo(Place to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    move_->to = to;
    for (Part& part : move_->held) part.passes[0].session = to.local;
    const auto it = sessions_.find(move_->session);
    if (it == sessions_.end()) return;  // closed meanwhile
    --open_[it->second.place.member];
    ++open_[to.member];
    it->second.place = to;
    it->second.came = batch_;
  }

  void OnTaken(absl::StatusOr<SessionPosition> position) {
    MutexLock lock(mutex_);
    if (!position.ok()) {
      members_[move_->to.member]->CloseSession(move_->to.local);
      if (absl::IsFailedPrecondition(position.status())) {  // the session has not left its device
        MoveTo(move_->from);
        EndMove();
      } else {
        Lose(lock, position.status());
      }
      return;
    }
    move_->position = *position;
    Put();
  }

  void Put() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    members_[move_->to.member]->PutSession(move_->to.local, move_->position, *image_,
                                           [this](const absl::Status& status) { OnPut(status); });
  }

  void OnPut(const absl::Status& status) {
    MutexLock lock(mutex_);
    const Place to = move_->to;
    if (!status.ok()) {  // the target has failed; the image is intact
      members_[to.member]->CloseSession(to.local);
      const absl::StatusOr<Place> other = OpenOnAny(move_->progress.spec, to.member);
      if (!other.ok()) {
        Lose(lock, status);
        return;
      }
      MoveTo(*other);
      Put();
      return;
    }
    ++moves_.count;
    moves_.bytes += move_->bytes;
    moves_.seconds += std::chrono::duration<double>(Clock::now() - move_->begun).count();
    EndMove();
  }

  // Submits the held passes to the device that the session is on now.
  void EndMove() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const Place to = move_->to;
    for (Part& part : move_->held) SubmitPart(to.member, std::move(part));
    if (move_->closed) members_[to.member]->CloseSession(to.local);
    move_.reset();
    move_ended_.NotifyAll();
  }

  // The session's memory is lost. Passes held by the move complete with `status`; later passes are refused as those of
  // a closed session.
  // The analysis does not follow a lock that a caller passes.
  void Lose(MutexLock& lock, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const std::vector<Part> held = std::move(move_->held);
    if (const auto it = sessions_.find(move_->session); it != sessions_.end()) it->second.place.local = 0;
    move_.reset();
    move_ended_.NotifyAll();
    lock.Unlock();
    for (const Part& part : held) Complete(part.owners[0], {.status = status});
  }

  const MovePolicy policy_;
  std::vector<std::unique_ptr<MovableEngine>> members_;
  std::unique_ptr<Buffer> image_;  // staging memory of the moving session
  // Locked before the members' own locks; not held while a completion runs.
  mutable Mutex mutex_;
  ConditionVariable move_ended_;
  std::map<SessionId, Session> sessions_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> open_ ABSL_GUARDED_BY(mutex_);  // number of sessions on each member
  std::optional<Move> move_ ABSL_GUARDED_BY(mutex_);
  SessionMoves moves_ ABSL_GUARDED_BY(mutex_);
  SessionId last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t batch_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeDeviceGroup(std::vector<std::unique_ptr<MovableEngine>> members,
                                                        MovePolicy policy) {
  for (const auto& member : members) {
    if (member->model().numerics_id != members.front()->model().numerics_id) {
      return absl::FailedPreconditionError(absl::StrCat("devices: one computes as ", member->model().numerics_id,
                                                        ", another as ", members.front()->model().numerics_id));
    }
  }
  return std::make_unique<DeviceGroup>(std::move(members), std::move(policy));
}

}  // namespace longtake
