// Runs viewers against a server: either they come by themselves, whether or not the server keeps up, or a fixed number
// of them is there all the time.
#ifndef LONGTAKE_CLIENTS_CLI_LOAD_LOAD_TEST_H_
#define LONGTAKE_CLIENTS_CLI_LOAD_LOAD_TEST_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "clients/cli/load/report.h"
#include "clients/cli/load/timetable.h"
#include "clients/cli/load/viewer.h"
#include "clients/cli/load/visits.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace longtake::client {

struct LoadPlan {
  Mix mix;
  uint64_t seed = 1;
  double duration = 60;  // seconds in which viewers come
  double rate = 0;       // arrivals a second, when `viewers` is 0
  int viewers = 0;       // at the same time: one who has seen all of the video is followed by the next at once
  double warm = 0;       // seconds at the beginning that do not count for rates and means
};

// What a test under way looks like.
struct LoadProgress {
  double now = 0;
  int asking = 0;    // requests without a first chunk
  int watching = 0;  // live viewers whose picture runs or stands still
  int offline = 0;   // offline requests under way
  int done = 0, refused = 0, stalls = 0;
  double video = 0;  // seconds that arrived in the last whole second
};

class LoadTest {
 public:
  using Stubs = std::function<std::unique_ptr<v1::VideoService::Stub>()>;  // each on a connection of its own
  LoadTest(LoadPlan plan, Stubs connect, std::function<void(const LoadProgress&)> show);

  // Blocks until all viewers are done: of a fixed number the last ones are cut at the end of the duration; those that
  // came by themselves get all of their videos.
  nlohmann::json Run();

  // Cuts everybody; Run returns soon after. From any thread.
  void Interrupt();

 private:
  void Enter(Visit visit, int slot);
  void Follow(int slot, double when);  // the slot's next viewer
  void OnDone(uint64_t number);        // on the timetable
  void CutAll();
  void EndIfDone();
  void Sample();  // in the middle of each second
  v1::VideoService::Stub* StubFor(const Visit& visit);

  const LoadPlan plan_;
  const Stubs connect_;
  const std::function<void(const LoadProgress&)> show_;
  // All but the timeline belongs to the timetable's thread.
  std::vector<std::unique_ptr<v1::VideoService::Stub>> stubs_;
  uint64_t entered_ = 0;
  std::vector<Crowd> crowds_;                          // of each slot
  std::vector<Visit> visits_;                          // that come by themselves
  std::map<uint64_t, std::unique_ptr<Viewer>> there_;  // by the order of entering
  std::vector<Record> records_;
  bool closing_ = false;
  Mutex mutex_;
  Timeline timeline_ ABSL_GUARDED_BY(mutex_);
  MonotonicClock clock_;
  Timetable timetable_{&clock_};  // last: what it holds refers to the others
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_LOAD_LOAD_TEST_H_
