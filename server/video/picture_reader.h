// Reads the pictures that videos begin with.
#ifndef LONGTAKE_SERVER_VIDEO_PICTURE_READER_H_
#define LONGTAKE_SERVER_VIDEO_PICTURE_READER_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/worker_pool.h"
#include "engine/engine.h"
#include "server/video/request.h"

namespace longtake::server {

// Decodes on one thread of its own: a picture of 16 megapixels takes 0.1 to 0.3 s and 64 MiB, and those that serve
// calls must not wait for it.
class PictureReader {
 public:
  // The most that may wait, as a multiple of the largest picture that a request may have.
  static constexpr int64_t kWaiting = 4;

  // Throws std::system_error where the system gives no thread.
  explicit PictureReader(const RequestLimits& limits) : limits_(limits) {}

  // Calls `done` with a PNG of this size, which shows the picture: on the reader's thread, or at once with an error.
  // INVALID_REQUEST: the picture cannot be decoded. QUEUE_FULL: too many bytes of pictures wait, or there is no memory
  // for it.
  void Read(std::string file, Size size, std::function<void(absl::StatusOr<std::string>)> done);

 private:
  const RequestLimits limits_;
  Mutex mutex_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of files that wait or are being decoded
  WorkerPool pool_{1};                         // last, so that it ends first
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_PICTURE_READER_H_
