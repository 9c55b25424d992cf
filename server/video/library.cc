#include "server/video/library.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

absl::Status Reused(const std::string& request_id, const Video& known) {
  return MakeError(absl::StatusCode::kAlreadyExists,
                   absl::StrCat("request_id: \"", request_id, "\" has asked for another video"),
                   {.reason = Reason::kRequestIdReused, .resource = known.name()});
}

int64_t PictureBytes(const Video& video) { return static_cast<int64_t>(video.plan().spec.first_image.size()); }

}  // namespace

absl::StatusOr<std::shared_ptr<Video>> Library::Add(std::shared_ptr<Video> video) {
  const StoredVideo& asked = video->description();
  const std::string& request_id = asked.info.request_id;
  const MutexLock lock(mutex_);
  if (absl::StatusOr<std::shared_ptr<Video>> known = FindRequestLocked(asked); !known.ok() || *known != nullptr) {
    return known;
  }
  if (const auto found = entries_.find(video->name()); found != entries_.end()) return found->second.video;
  const uint64_t number = ++last_number_;
  by_number_[number] = video;
  if (!request_id.empty()) request_ids_[{asked.tenant, request_id}] = video->name();
  entries_[video->name()] = {video, number};
  return video;
}

absl::StatusOr<std::shared_ptr<Video>> Library::FindRequest(const StoredVideo& asked) const {
  const MutexLock lock(mutex_);
  return FindRequestLocked(asked);
}

absl::StatusOr<std::shared_ptr<Video>> Library::FindRequestLocked(const StoredVideo& asked) const {
  const std::string& request_id = asked.info.request_id;
  const auto found = request_ids_.find({asked.tenant, request_id});
  if (request_id.empty() || found == request_ids_.end()) return nullptr;
  const std::shared_ptr<Video>& known = entries_.at(found->second).video;
  if (known->description().spec == asked.spec && known->description().options == asked.options &&
      known->description().fork == asked.fork) {
    return known;
  }
  return Reused(request_id, *known);
}

absl::StatusOr<std::shared_ptr<Video>> Library::FindFork(const Tenant& tenant, const std::string& request_id,
                                                         const ForkSpec& fork, const DeliveryOptions& options) const {
  const MutexLock lock(mutex_);
  const auto found = request_ids_.find({tenant, request_id});
  if (request_id.empty() || found == request_ids_.end()) return nullptr;
  const std::shared_ptr<Video>& known = entries_.at(found->second).video;
  if (known->description().fork == fork && known->description().options == options) return known;
  return Reused(request_id, *known);
}

absl::StatusOr<std::shared_ptr<Video>> Library::Find(const Tenant& tenant, const std::string& name) const {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.video->tenant() != tenant) return NotFound(Reason::kVideoNotFound, name);
  return found->second.video;
}

std::shared_ptr<Video> Library::RemoveLocked(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  const Entry entry = std::move(found->second);
  const std::shared_ptr<Video>& video = entry.video;
  by_number_.erase(entry.number);
  if (entry.end_place.has_value()) {
    ended_.erase(*entry.end_place);
    picture_bytes_ -= PictureBytes(*video);
  }
  if (entry.log_place.has_value()) with_log_.erase(*entry.log_place);
  request_ids_.erase({video->tenant(), video->description().info.request_id});
  entries_.erase(found);
  return video;
}

std::shared_ptr<Video> Library::RemoveOldestLocked() {
  const std::string name = ended_.begin()->second;  // which goes with its place
  return RemoveLocked(name);
}

std::shared_ptr<Video> Library::Remove(const Tenant& tenant, const std::string& name) {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.video->tenant() != tenant) return nullptr;
  return RemoveLocked(name);
}

void Library::Drop(Video& video, const absl::Status& why) {
  {
    const MutexLock lock(mutex_);
    RemoveLocked(video.name());
  }
  Grow(-video.log().Discard(why));
}

absl::StatusOr<VideoPage> Library::List(const Tenant& tenant, size_t page_size, const std::string& token) const {
  uint64_t before = 0;  // the number of the last video on the page before
  if (!token.empty() && (!absl::SimpleAtoi(token, &before) || before == 0)) {
    return InvalidRequest({{"page_token", "is not one that this server gave"}});
  }
  std::vector<std::shared_ptr<Video>> videos;
  VideoPage page;
  {
    const MutexLock lock(mutex_);
    auto at = token.empty() ? by_number_.end() : by_number_.lower_bound(before);
    uint64_t last = 0;
    while (at != by_number_.begin()) {
      --at;
      if (at->second->tenant() != tenant) continue;
      if (videos.size() == page_size) {
        page.next_token = absl::StrCat(last);
        break;
      }
      videos.push_back(at->second);
      last = at->first;
    }
  }
  for (const std::shared_ptr<Video>& video : videos) page.videos.push_back(video->info());
  return page;
}

std::vector<std::shared_ptr<Video>> Library::all() const {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Video>> videos;
  videos.reserve(by_number_.size());
  for (const auto& [number, video] : by_number_) videos.push_back(video);
  return videos;
}

void Library::Grow(int64_t bytes) {
  {
    const MutexLock lock(mutex_);
    bytes_ += bytes;
    if (bytes_ <= keep_bytes_) return;
  }
  Trim();
}

void Library::Trim() {
  std::vector<std::shared_ptr<Video>> discarded;
  {
    const MutexLock lock(mutex_);
    int64_t excess = bytes_ - keep_bytes_;
    for (size_t left = with_log_.size(); excess > 0 && left > 0; --left) {
      Entry& entry = entries_.at(with_log_.front());
      ChunkLog& log = entry.video->log();
      if (log.stored()) {
        // Whoever watches it reads it again, so it keeps its place, behind the others.
        with_log_.splice(with_log_.end(), with_log_, with_log_.begin());
        const int64_t freed = log.DropStored();
        excess -= freed;
        bytes_ -= freed;
      } else {
        excess -= log.bytes();
        discarded.push_back(entry.video);
        entry.log_place.reset();
        with_log_.pop_front();
      }
    }
    while (excess > 0) {
      // The longest log has the oldest chunks, or nearly so.
      int64_t freed = 0, longest = 0;
      Video* from = nullptr;
      for (const auto& [number, video] : by_number_) {
        const int64_t length = video->log().bytes();
        if (length > longest && !video->log().closed()) {
          longest = length;
          from = video.get();
        }
      }
      if (from != nullptr) freed = from->log().DropOldestBlock();
      if (freed == 0) break;
      excess -= freed;
      bytes_ -= freed;
    }
  }
  for (const std::shared_ptr<Video>& video : discarded) {
    Grow(-video->log().Discard(MakeError(absl::StatusCode::kOutOfRange, "the video's chunks are no longer kept",
                                         {.reason = Reason::kBlockNotKept, .resource = video->name()})));
  }
}

void Library::OnEnded(const Video& video) {
  std::vector<std::shared_ptr<Video>> forgotten;
  const absl::Time end_time = video.info().end_time.value_or(absl::InfiniteFuture());
  {
    const MutexLock lock(mutex_);
    const auto found = entries_.find(video.name());
    // One that was dropped may have been read from the store again, as another object.
    if (found == entries_.end() || found->second.video.get() != &video) return;
    Entry& entry = found->second;
    if (entry.end_place.has_value()) return;
    entry.end_place = ended_.emplace(end_time, video.name()).first;
    entry.log_place = with_log_.insert(with_log_.end(), video.name());
    picture_bytes_ += PictureBytes(video);
    while (ended_.size() > keep_ended_ || (picture_bytes_ > keep_bytes_ / 4 && ended_.size() > 1)) {
      forgotten.push_back(RemoveOldestLocked());
    }
  }
  for (const std::shared_ptr<Video>& each : forgotten) {
    each->Forget();
    Grow(-each->log().Discard(NotFound(Reason::kVideoNotFound, each->name())));
  }
}

std::vector<std::shared_ptr<Video>> Library::TakeExpired(absl::Time ended_before, int64_t max_bytes) {
  std::vector<std::shared_ptr<Video>> expired;
  const MutexLock lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [number, video] : by_number_) bytes += video->info().size_bytes;
  while (!ended_.empty() && (bytes > max_bytes || ended_.begin()->first < ended_before)) {
    expired.push_back(RemoveOldestLocked());
    bytes -= expired.back()->info().size_bytes;
  }
  return expired;
}

}  // namespace longtake::server
