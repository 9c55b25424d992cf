// What the scheduler drives: devices that hold sessions and run passes over them. The server puts the engine behind
// this interface, tests and the simulator a fake.
#ifndef LONGTAKE_SCHEDULER_DEVICE_H_
#define LONGTAKE_SCHEDULER_DEVICE_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "common/pass_kind.h"

namespace longtake::scheduler {

using longtake::PassKind;

enum class SessionId : uint64_t {};  // chosen by who enters the request, never reused
enum class DeviceId : int {};        // from 0
enum class LaneId : int {};          // index into Device::lanes()

constexpr uint64_t Number(SessionId id) { return static_cast<uint64_t>(id); }
constexpr size_t Index(DeviceId id) { return static_cast<size_t>(id); }
constexpr size_t Index(LaneId id) { return static_cast<size_t>(id); }

// A lane is an ordered queue of batches on a device. A device either has one lane for all kinds of passes, or one for
// decodes and one for the other kinds, which run at the same time.
enum class LaneRole { kAll, kTransformer, kDecoder };

constexpr bool Runs(LaneRole role, PassKind kind) {
  return role == LaneRole::kAll || (role == LaneRole::kDecoder) == (kind == PassKind::kDecode);
}

struct LaneInfo {
  DeviceId device{};
  LaneRole role = LaneRole::kAll;
  // Sessions whose decoder memory can be on the device at a time; 0: all. The scheduler then decodes a session's block
  // without a break, so that nobody's memory is swapped in the middle of it.
  int decoder_places = 0;
};

struct Pass {
  PassKind kind = PassKind::kDenoise;
  SessionId session{};
  int prompt = 0;  // of kEncodePrompt: which of the session's, as Scheduler::ChangePrompt numbers them
  int level = 0;   // of kDenoise and kDecode: how its block is made, index into Request::ladder
  friend bool operator==(const Pass&, const Pass&) = default;
};

struct PassOutcome {
  absl::Status status;
  double device_seconds = 0;  // this pass's share of its batch
};

// One or several devices. All calls come from the scheduler's loop, one at a time; none may block for longer than a few
// milliseconds. Prompts and frames pass the scheduler by: the implementation knows them by the session's id.
class Device {
 public:
  using PassDone = std::function<void(size_t index, PassOutcome outcome)>;
  using Done = std::function<void(absl::Status status)>;

  virtual ~Device() = default;

  // Does not change.
  virtual std::vector<LaneInfo> lanes() const { return {LaneInfo()}; }

  // Gives the session a place on the device. An error ends the session with it.
  virtual absl::Status Open(SessionId session, DeviceId device) = 0;

  // Takes the place back, or what Suspend kept. Called once for each session that Open accepted, when none of its
  // passes is under way.
  virtual void Close(SessionId session) = 0;

  // Runs the passes as one batch of the lane, behind those submitted to the lane before, and returns at once. `done` is
  // called exactly once for each, on any thread, in any order, also within Submit.
  virtual void Submit(LaneId lane, std::vector<Pass> passes, PassDone done) = 0;

  // Whether a session can give its place back and get one again later. If not, the two below are not called.
  virtual bool can_suspend() const { return false; }
  // Copies what the session needs to go on into host memory and frees its place. Called between two blocks or before
  // the first one, with all of the session decoded and no pass under way. `done` as in Submit; after an error the
  // session still has its place.
  virtual void Suspend(SessionId session, Done done);
  // The reverse, on any device. Also, in place of Open, of a session with Request::made_blocks. After an error the
  // session ends with it.
  virtual void Resume(SessionId session, DeviceId device, Done done);
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_DEVICE_H_
