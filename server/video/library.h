// The videos that a server knows: by name, by request id, and how much of them is kept.
#ifndef LONGTAKE_SERVER_VIDEO_LIBRARY_H_
#define LONGTAKE_SERVER_VIDEO_LIBRARY_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "server/video/request.h"
#include "server/video/tenant.h"
#include "server/video/video.h"

namespace longtake::server {

struct VideoPage {
  std::vector<VideoInfo> videos;  // the newest first
  std::string next_token;         // empty: there are no more
};

// Thread-safe. No video is called under its lock but for its log's bytes.
class Library {
 public:
  // `keep_bytes`: of all logs; above it the oldest ended videos lose theirs, then those being made their oldest blocks;
  // both only from memory where they are stored.
  // `keep_ended`: above it the oldest ended videos are forgotten, as they are while the first pictures of all ended
  // videos take more than a quarter of keep_bytes.
  Library(int64_t keep_bytes, size_t keep_ended) : keep_bytes_(keep_bytes), keep_ended_(keep_ended) {}

  // Adds the video, or returns the one of its name, or that its request id asked for before, of the same tenant.
  // REQUEST_ID_REUSED: that was for another spec or other options. An empty id is nobody's.
  absl::StatusOr<std::shared_ptr<Video>> Add(std::shared_ptr<Video> video);
  // The video that this request id asked for before; nothing: the id is new. REQUEST_ID_REUSED as Add.
  absl::StatusOr<std::shared_ptr<Video>> FindRequest(const StoredVideo& asked) const;
  // The video that this request id asked for, if that was the fork; nothing: the id is new.
  absl::StatusOr<std::shared_ptr<Video>> FindFork(const Tenant& tenant, const std::string& request_id,
                                                  const ForkSpec& fork, const DeliveryOptions& options) const;
  // VIDEO_NOT_FOUND, byte for byte the same for another tenant's video: whether a name exists is not for others to
  // know.
  absl::StatusOr<std::shared_ptr<Video>> Find(const Tenant& tenant, const std::string& name) const;
  // Forgets it. Returns it, or nothing if the tenant has no such video.
  std::shared_ptr<Video> Remove(const Tenant& tenant, const std::string& name);

  // Of the tenant's. `token`: of the page before, or empty. InvalidRequest: a token that is none.
  absl::StatusOr<VideoPage> List(const Tenant& tenant, size_t page_size, const std::string& token) const;
  std::vector<std::shared_ptr<Video>> all() const;

  // Forgets a video that another server makes now, or has removed; what is read of its log from now on is `why`.
  void Drop(Video& video, const absl::Status& why);

  // A log has grown, or shrunk.
  void Grow(int64_t bytes);
  // The video's log is closed.
  void OnEnded(const Video& video);
  // Forgets the oldest ended videos: those that ended before `ended_before`, and those without which the chunks of all
  // videos are `max_bytes` at most. Returns them.
  std::vector<std::shared_ptr<Video>> TakeExpired(absl::Time ended_before, int64_t max_bytes);

 private:
  using Ended = std::set<std::pair<absl::Time, std::string>>;  // names by the time of their end
  struct Entry {
    std::shared_ptr<Video> video;
    uint64_t number = 0;  // in the order of creation
    // Of one that has ended: its places below.
    std::optional<Ended::iterator> end_place = {};
    std::optional<std::list<std::string>::iterator> log_place = {};
  };
  absl::StatusOr<std::shared_ptr<Video>> FindRequestLocked(const StoredVideo& asked) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Trim();
  // Forgets the video of this name and its places. Null: there is none.
  std::shared_ptr<Video> RemoveLocked(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of those that have ended, of which there is one.
  std::shared_ptr<Video> RemoveOldestLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t keep_bytes_;
  const size_t keep_ended_;
  mutable Mutex mutex_;
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);                               // by name
  std::map<std::pair<Tenant, std::string>, std::string> request_ids_ ABSL_GUARDED_BY(mutex_);  // to names
  std::map<uint64_t, std::shared_ptr<Video>> by_number_ ABSL_GUARDED_BY(mutex_);
  Ended ended_ ABSL_GUARDED_BY(mutex_);
  std::list<std::string> with_log_ ABSL_GUARDED_BY(mutex_);  // of them, those that still have their log
  int64_t picture_bytes_ ABSL_GUARDED_BY(mutex_) = 0;        // of all in ended_
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_LIBRARY_H_
