// What the passes of each block took, and how each block was made.
#ifndef LONGTAKE_SERVER_VIDEO_BLOCK_RECORDS_H_
#define LONGTAKE_SERVER_VIDEO_BLOCK_RECORDS_H_

#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "scheduler/scheduler.h"
#include "server/video/block_form.h"
#include "server/video/event.h"

namespace longtake::server {

// One record a block: where the lanes of a device overlap, passes of the next block come before the last decode of this
// one. Thread-safe.
class BlockRecords {
 public:
  // `accepted`: the moment from which reports count.
  explicit BlockRecords(absl::Duration accepted) : accepted_(accepted) {}

  // That of the blocks until another one is encoded.
  void SetPrompt(int prompt);
  void Add(const scheduler::PassReport& pass, const BlockForm& form);
  // What is known of the block by now.
  BlockReport Get(int block) const;
  // The same, and forgets it.
  BlockReport Take(int block);

 private:
  const absl::Duration accepted_;
  mutable Mutex mutex_;
  int prompt_ ABSL_GUARDED_BY(mutex_) = 0;  // the last one encoded
  std::map<int, BlockReport> reports_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_BLOCK_RECORDS_H_
