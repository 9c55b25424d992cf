// How much the store keeps, and for how long.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/telemetry/log_format.h"
#include "server/video/error.h"
#include "server/video/studio.h"

namespace longtake::server {
namespace {

// Two small files are read of each. The store has thousands, and a viewer's silence is looked for by the same thread.
constexpr int kReadAtOnce = 64;

}  // namespace

void Studio::RemoveExpired() {
  if (storage_.registry != nullptr) {
    // One server does it, for the limits are on what all have made. Should two think that they are it, both remove the
    // oldest videos: the same ones.
    const absl::StatusOr<bool> leads = storage_.registry->Leads();
    if (!leads.ok() || !*leads || !KnowAllEnded()) return;
  }
  for (const auto& video : library_.TakeExpired(absl::Now() - options_.store_age, options_.store_bytes)) Forget(video);
}

bool Studio::KnowAllEnded() {
  // In this order: what has ended before the store is listed is in the list, unless somebody has removed it.
  std::set<std::string> known, gone;
  for (const std::shared_ptr<Video>& video : library_.all()) {
    known.insert(video->name());
    if (video->log().closed() && video->log().stored()) gone.insert(video->name());
  }
  const Store& store = *storage_.store;
  const absl::StatusOr<std::vector<std::string>> ids = store.List(kVideosFolder);
  if (!ids.ok()) {
    logger_->error("the store cannot be read error={}", LogValue(ids.status().message()));
    return false;
  }
  int left = kReadAtOnce;
  std::set<std::string> unreadable;
  for (const std::string& id : *ids) {
    const std::string name = absl::StrCat(kVideosFolder, "/", id);
    gone.erase(name);
    if (unreadable_.contains(name)) unreadable.insert(name);
    if (left == 0 || known.contains(name) || unreadable.contains(name) || !HasEnded(store, name)) continue;
    --left;
    const absl::StatusOr<Found> found = Read(name);
    if (!found.ok() || RestoreOne(*found, /*token=*/0) == nullptr) unreadable.insert(name);
  }
  unreadable_ = std::move(unreadable);  // without those that are there no more
  for (const std::shared_ptr<Video>& video : library_.all()) {
    if (gone.contains(video->name())) library_.Drop(*video, NotFound(Reason::kVideoNotFound, video->name()));
  }
  return true;
}

}  // namespace longtake::server
