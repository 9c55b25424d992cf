// The studio as the services see it: there once the model is loaded, gone when the server has ended.
#ifndef LONGTAKE_SERVER_VIDEO_STUDIO_SLOT_H_
#define LONGTAKE_SERVER_VIDEO_STUDIO_SLOT_H_

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "server/video/studio.h"

namespace longtake::server {

class StudioSlot {
 public:
  void Set(std::shared_ptr<Studio> studio);
  // Ends the studio, here, once nobody else holds it: whoever answers a call from a thread of the studio would
  // otherwise be the last, and a thread cannot wait for its own end.
  void Clear();
  // kModelLoading before there is one.
  absl::StatusOr<std::shared_ptr<Studio>> Get() const;

  // Streaming calls under way.
  void AddCall();
  void RemoveCall();
  bool has_calls() const;
  void AwaitNoCalls();

 private:
  mutable Mutex mutex_;
  ConditionVariable call_ended_;
  std::shared_ptr<Studio> studio_ ABSL_GUARDED_BY(mutex_);
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_STUDIO_SLOT_H_
