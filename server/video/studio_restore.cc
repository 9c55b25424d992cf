// What a server finds in its store when it starts.
#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/thread.h"
#include "server/telemetry/log_format.h"
#include "server/video/studio.h"

namespace longtake::server {
namespace {

// So many videos are read at once when a server starts: reading one from a store in a network takes some round trips,
// and nothing of a processor.
constexpr size_t kReaders = 16;

// Calls `each` with every number below `count`, on some threads at once.
void ForEach(size_t count, const std::function<void(size_t)>& each) {
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) each(i);
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(count, kReaders); ++i) {
    absl::StatusOr<std::thread> thread = StartThread("the store's readers", work);
    if (!thread.ok()) break;  // fewer do it too
    threads.push_back(*std::move(thread));
  }
  work();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

void Studio::Restore() {
  Store& store = *storage_.store;
  absl::StatusOr<std::vector<std::string>> ids = store.List(kVideosFolder);
  if (!ids.ok()) return logger_->error("the store cannot be read error={}", LogValue(ids.status().message()));
  std::vector<std::optional<Found>> read(ids->size());
  ForEach(ids->size(), [&](size_t i) {
    const std::string name = absl::StrCat(kVideosFolder, "/", (*ids)[i]);
    if (WasAccepted(store, name)) {
      if (absl::StatusOr<Found> one = Read(name); one.ok()) read[i] = *std::move(one);
    } else if (storage_.registry == nullptr) {  // with a registry another server may be about to accept it
      store.Remove(name, /*token=*/0, [](const absl::Status& /*status*/) {});
    }
  });
  std::vector<Found> found;
  for (std::optional<Found>& one : read) {
    if (one.has_value()) found.push_back(*std::move(one));
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.video.info.create_time < b.video.info.create_time; });
  for (const Found& one : found) {
    const VideoInfo& info = one.video.info;
    // In a Redis that was emptied it is missing.
    if (storage_.registry != nullptr) storage_.registry->AddVideo(one.video.tenant.id, info.name, info.create_time);
    if (storage_.registry == nullptr || one.end.has_value()) {
      RestoreOne(one, /*token=*/0);
    } else {
      storage_.registry->AddUnfinished(info.name);
    }
  }
  logger_->info("store videos={}", found.size());
}

}  // namespace longtake::server
