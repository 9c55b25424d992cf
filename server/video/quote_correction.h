// From the scheduler's prediction of a first chunk to a promise that is kept: what earlier predictions missed by.
#ifndef LONGTAKE_SERVER_VIDEO_QUOTE_CORRECTION_H_
#define LONGTAKE_SERVER_VIDEO_QUOTE_CORRECTION_H_

#include <cstddef>
#include <mutex>
#include <vector>

#include "absl/base/thread_annotations.h"

namespace longtake::server {

// The scheduler predicts when a chunk is decoded, by pass times. A promise also covers encoding and sending, of which a
// mean is kept, and what the prediction cannot know (requests that come later, threads that compete): it is longer by
// the largest factor that any of the last kWindow first chunks would have needed. If the next one is like those, it is
// late with probability 1 / (kWindow + 1). Thread-safe; all in seconds since the request.
class QuoteCorrection {
 public:
  static constexpr size_t kWindow = 256;

  double Promise(double predicted) const;
  // A first chunk that was predicted, promised, decoded and sent at these times.
  void Observe(double predicted, double promised, double decoded, double delivered);
  // Share of the promises that were kept, (kept + 1) / (given + 2).
  double Confidence() const;

 private:
  mutable std::mutex mutex_;
  double delivery_ ABSL_GUARDED_BY(mutex_) = 0;               // mean from decoded to delivered
  std::vector<double> factors_ ABSL_GUARDED_BY(mutex_) = {};  // a ring
  size_t observed_ ABSL_GUARDED_BY(mutex_) = 0, kept_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_QUOTE_CORRECTION_H_
