// One simulated viewer: asks for a video, reads it as its visit says, and keeps a record of what it saw.
#ifndef LONGTAKE_CLIENTS_CLI_LOAD_VIEWER_H_
#define LONGTAKE_CLIENTS_CLI_LOAD_VIEWER_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "clients/cli/load/timetable.h"
#include "clients/cli/load/visits.h"
#include "common/mutex.h"
#include "common/playout.h"
#include "longtake/v1/video_service.grpc.pb.h"

namespace longtake::client {

enum class End {
  kFinished,  // all of the video arrived
  kRefused,   // before anything was made, with the time to try again
  kLeft,      // no first chunk within its patience
  kCut,       // the test was over
  kFailed,    // any other status, or chunks with a gap
};

const char* NameOf(End end);

// Times are seconds on the test's timetable.
struct Record {
  Visit visit;
  int slot = -1;  // of a fixed number of viewers
  double asked = 0;
  double accepted = -1;     // -1: was not
  double quoted = -1;       // seconds from the request in which the first chunk was promised; -1: nothing was
  double first_chunk = -1;  // -1: none
  double ended = 0;
  bool over = false;
  End end = End::kFailed;
  Playout playout;  // on the timetable's clock
  int chunks = 0;
  double retry_after = 0;  // of kRefused; seconds
  std::string error;       // of kFailed

  // A whole chunk of so many seconds of video is there. Returns whether the picture stood still for it.
  bool OnChunk(double now, double video_seconds, bool last_in_block);
  // The first chunk had been promised, and came later or not at all while its viewer was there. Nothing promised,
  // nothing late.
  bool first_chunk_late() const { return quoted >= 0 && (first_chunk >= 0 ? first_chunk : ended) - asked > quoted; }
};

// Lives until `on_done`, which may destroy it on another thread. Callbacks come on gRPC's threads.
class Viewer : public grpc::ClientReadReactor<v1::WatchVideoResponse> {
 public:
  struct Callbacks {
    std::function<void(double at, double video_seconds, bool stalled)> on_chunk;
    std::function<void()> on_done;  // last; copied before it is called
  };
  Viewer(Visit visit, int slot, Timetable* timetable, Callbacks callbacks);

  void Start(v1::VideoService::Stub* stub);
  // The viewer goes, unless it is done already.
  void Leave(End why);
  Record record() const;

  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  // Returns the seconds to wait before the next read.
  double Hear(const v1::WatchVideoResponse& event);

  Timetable* const timetable_;
  const Callbacks callbacks_;
  v1::GenerateVideoRequest request_;
  grpc::ClientContext context_;
  v1::WatchVideoResponse event_;  // the read's
  mutable Mutex mutex_;
  Record record_ ABSL_GUARDED_BY(mutex_);
  bool leaving_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;  // the event came
  int64_t frames_ ABSL_GUARDED_BY(mutex_) = 0;     // of chunks that arrived whole
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_LOAD_VIEWER_H_
