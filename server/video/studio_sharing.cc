// What the store has of videos, and which of them other servers make that share it.
#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "server/telemetry/log_format.h"
#include "server/video/error.h"
#include "server/video/studio.h"
#include "server/video/video_name.h"

namespace longtake::server {
namespace {

constexpr int kDefaultPage = 50, kMaxPage = 1000;

// By then an accepted video is stored, or is not going to be.
constexpr absl::Duration kStoredBy = absl::Minutes(10);

// Of what another server has left, this one takes so many in a row, so that all servers get some. A look comes each
// second: 30 videos of a server that was killed are with two others in 8 s at most, and more servers take them faster.
constexpr size_t kTakeAtOnce = 2;
// A video that nobody makes at the moment is taken within two looks.
constexpr absl::Duration kRetryOrphan = absl::Seconds(1);

absl::Status OtherServer(const std::string& name, const Registry::Owner& owner) {
  ErrorDetails details{.reason = Reason::kOtherServer, .retry_delay = kRetryOrphan, .resource = name};
  if (!owner.address.empty()) details.metadata["server"] = owner.address;
  if (!owner.http_address.empty()) details.metadata["http_server"] = owner.http_address;
  return MakeError(absl::StatusCode::kUnavailable,
                   absl::StrCat(owner.address.empty() ? "no server makes " : "another server makes ", name, " now"),
                   details);
}

bool IsOtherServer(const absl::Status& status) { return DetailsOf(status).reason == Reason::kOtherServer; }

absl::Status RegistryError(const absl::Status& why) {
  return MakeError(absl::StatusCode::kUnavailable, std::string(why.message()),
                   {.reason = Reason::kStoreFailed, .retry_delay = absl::Seconds(1)});
}

absl::Status FenceAndWait(Store& store, const std::string& folder, uint64_t token) {
  absl::Notification done;
  absl::Status fenced;
  store.Fence(folder, token, [&](const absl::Status& status) {
    fenced = status;
    done.Notify();
  });
  done.WaitForNotification();
  return fenced;
}

}  // namespace

// It stays where it is, for somebody to look at.
void Studio::LogUnreadable(const std::string& name, const absl::Status& why) const {
  logger_->error("a stored video cannot be read name={} error={}", name, LogValue(why.message()));
}

absl::StatusOr<Studio::Found> Studio::Read(const std::string& name) const {
  absl::StatusOr<StoredVideo> video = ReadStoredVideo(*storage_.store, name);
  absl::StatusOr<StoredEnd> end = video.ok() ? ReadStoredEnd(*storage_.store, name, *video->info.plan) : video.status();
  if (video.ok() && end.ok()) return Found{*std::move(video), *std::move(end)};
  if (video.ok() && absl::IsNotFound(end.status())) return Found{*std::move(video), std::nullopt};
  LogUnreadable(name, end.status());
  return end.status();
}

std::shared_ptr<Video> Studio::RestoreOne(const Found& found, uint64_t token) {
  const std::string& name = found.video.info.name;
  // The call that asked for it was another process's, so the log has an id of its own for what follows.
  CallOrigin origin;
  origin.request_id = RequestIdFrom("");
  VideoCreation creation{.id = production_.NewId(),
                         .origin = std::move(origin),
                         .description = found.video,
                         .serializer = serializer_for_(name),
                         .max_unread = options_.max_unread,
                         .store = storage_.store,
                         .token = token};
  absl::StatusOr<std::shared_ptr<Video>> video =
      Video::Restore(std::move(creation), found.end, clock_, production_.encoders(), &production_);
  if (!video.ok()) {
    LogUnreadable(name, video.status());
    return nullptr;
  }
  const absl::StatusOr<std::shared_ptr<Video>> known = library_.Add(*video);
  if (!known.ok() || (*known)->name() != name) {
    logger_->error("a stored video has the request id of another name={}", name);
    return nullptr;
  }
  if (*known != *video) return *known;  // somebody else has found it at the same time
  if (found.end.has_value()) {
    library_.OnEnded(**video);
    return *video;
  }
  if (const absl::Status& damage = (*video)->damage(); !damage.ok()) {
    logger_->warn("stored blocks are damaged, and are made again name={} error={}", name, LogValue(damage.message()));
  }
  absl::Status goes_on = CheckNumerics(found.video);
  if (goes_on.ok()) {
    goes_on = production_.accounts()->OnNew((*video)->id(), (*video)->tenant(), name, (*video)->plan().options.delivery,
                                            /*restored=*/true);
  }
  if (goes_on.ok()) {
    production_.Enter(*video, absl::InfiniteDuration());
  } else {
    production_.End(*video, goes_on);
  }
  return *video;
}

absl::StatusOr<std::shared_ptr<Video>> Studio::Find(const Tenant& tenant, const std::string& name) {
  const absl::StatusOr<std::shared_ptr<Video>> known = library_.Find(tenant, name);
  if (storage_.registry == nullptr) return known;
  if (!known.ok()) return FindElsewhere(tenant, name);
  RETURN_IF_ERROR(CheckWhole(name, (*known)->info().error));
  // Another server may have removed it.
  if (!(*known)->log().closed() || !(*known)->log().stored() || WasAccepted(*storage_.store, name)) return known;
  library_.Drop(**known, NotFound(Reason::kVideoNotFound, name));
  return NotFound(Reason::kVideoNotFound, name);
}

absl::StatusOr<std::optional<Registry::Owner>> Studio::OtherOwnerOf(const std::string& name) const {
  absl::StatusOr<std::optional<Registry::Owner>> owner = storage_.registry->OwnerOf(name);
  if (!owner.ok()) return RegistryError(owner.status());
  if (owner->has_value() && (*owner)->self) return std::nullopt;
  return owner;
}

absl::Status Studio::CheckWhole(const std::string& name, const absl::Status& error) const {
  if (error.ok() || DetailsOf(error).reason != Reason::kStoreFailed) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<Registry::Owner> owner, OtherOwnerOf(name));
  return owner.has_value() ? OtherServer(name, *owner) : absl::OkStatus();
}

absl::Status Studio::FindUnstored(const Tenant& tenant, const std::string& name) const {
  ASSIGN_OR_RETURN(const std::optional<Registry::Owner> owner, OtherOwnerOf(name));
  if (!owner.has_value() || owner->tenant != tenant.id) return NotFound(Reason::kVideoNotFound, name);
  return OtherServer(name, *owner);
}

absl::StatusOr<std::shared_ptr<Video>> Studio::FindElsewhere(const Tenant& tenant, const std::string& name) {
  if (!IsVideoName(name)) return NotFound(Reason::kVideoNotFound, name);
  if (!WasAccepted(*storage_.store, name)) return FindUnstored(tenant, name);
  const absl::StatusOr<Found> found = Read(name);
  if (!found.ok()) {
    const absl::Status unstored = FindUnstored(tenant, name);
    return IsOtherServer(unstored) ? unstored : StoreError(found.status());
  }
  if (found->video.tenant != tenant) return NotFound(Reason::kVideoNotFound, name);
  if (found->end.has_value()) {
    RETURN_IF_ERROR(CheckWhole(name, found->end->error));
    if (std::shared_ptr<Video> video = RestoreOne(*found, /*token=*/0); video != nullptr) return video;
    return StoreError(absl::DataLossError(absl::StrCat("store: ", name, " cannot be read")));
  }
  ASSIGN_OR_RETURN(const std::optional<Registry::Owner> owner, OtherOwnerOf(name));
  // One of this server's that the library does not have is being taken over.
  return OtherServer(name, owner.value_or(Registry::Owner()));
}

VideoInfo Studio::InfoOf(const Found& found) const {
  VideoInfo info = found.video.info;
  if (found.end.has_value()) {
    const StoredEnd& end = *found.end;
    info.state = end.state;
    info.error = end.error;
    info.start_time = end.start_time;
    info.end_time = end.end_time;
    info.blocks = end.blocks;
    info.size_bytes = end.size_bytes;
    return info;
  }
  // What others know by the store: the server that makes it knows more.
  info.state = State::kMaking;
  info.blocks = StoredBlocks(*storage_.store, info.name);
  if (info.blocks == 0) info.state = State::kQueued;
  return info;
}

// A token is the creation time of the last video on the page, in microseconds, and its name.
absl::StatusOr<VideoPage> Studio::ListShared(const Tenant& tenant, int page_size, const std::string& token) const {
  std::optional<Registry::Listed> behind;
  if (!token.empty()) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(token, absl::MaxSplits(':', 1));
    int64_t micros = 0;
    if (!absl::SimpleAtoi(parts.first, &micros) || !IsVideoName(parts.second)) {
      return InvalidRequest({{"page_token", "is not one that this server gave"}});
    }
    behind = {.video = parts.second, .create_time = absl::FromUnixMicros(micros)};
  }
  const auto listed = storage_.registry->ListVideos(tenant.id, behind, page_size + 1);
  if (!listed.ok()) return RegistryError(listed.status());
  VideoPage page;
  for (const Registry::Listed& each : *listed) {
    if (static_cast<int>(page.videos.size()) == page_size) {
      page.next_token = absl::StrCat(absl::ToUnixMicros(behind->create_time), ":", behind->video);
      break;
    }
    behind = each;
    if (const auto known = library_.Find(tenant, each.video); known.ok()) {
      page.videos.push_back((*known)->info());
    } else if (WasAccepted(*storage_.store, each.video)) {
      if (const absl::StatusOr<Found> found = Read(each.video); found.ok()) page.videos.push_back(InfoOf(*found));
    } else if (absl::Now() - each.create_time > kStoredBy) {
      storage_.registry->RemoveVideo(tenant.id, each.video);
    }
  }
  return page;
}

absl::StatusOr<VideoPage> Studio::List(const Tenant& tenant, int page_size, const std::string& token) const {
  if (page_size < 0) return InvalidRequest({{"page_size", absl::StrCat(page_size, " is below 0")}});
  const int size = page_size == 0 ? kDefaultPage : std::min(page_size, kMaxPage);
  if (storage_.registry != nullptr) return ListShared(tenant, size, token);
  return library_.List(tenant, static_cast<size_t>(size), token);
}

absl::StatusOr<std::shared_ptr<Video>> Studio::FindRequest(const Tenant& tenant, const std::string& request_id,
                                                           const FindHere& find) {
  absl::StatusOr<std::shared_ptr<Video>> known = find();
  if (!known.ok() || *known != nullptr || storage_.registry == nullptr || request_id.empty()) return known;
  const absl::StatusOr<std::string> video = storage_.registry->FindRequest(tenant.id, request_id);
  if (!video.ok()) return RegistryError(video.status());
  if (video->empty()) return nullptr;
  const absl::Status found = FindClaimed(tenant, *video);
  if (found.ok()) return find();
  if (absl::IsNotFound(found)) return nullptr;
  return found;
}

absl::Status Studio::FindClaimed(const Tenant& tenant, const std::string& video) {
  const absl::Status found = Find(tenant, video).status();
  if (!absl::IsNotFound(found)) return found;
  // A server that has claimed it a moment ago has not stored it yet. Whoever asks that one waits for what it says.
  const absl::StatusOr<std::optional<Registry::Owner>> owner = storage_.registry->OwnerOf(video);
  if (!owner.ok()) return RegistryError(owner.status());
  if (!owner->has_value()) return found;
  return OtherServer(video, (*owner)->self ? Registry::Owner() : **owner);
}

absl::StatusOr<uint64_t> Studio::Claim(const StoredVideo& asked) {
  Registry& registry = *storage_.registry;
  const std::string &name = asked.info.name, &request_id = asked.info.request_id;
  const absl::StatusOr<uint64_t> token = registry.Take(name, asked.tenant.id);
  if (!token.ok()) return RegistryError(token.status());
  for (int attempt = 0; attempt < 2 && !request_id.empty(); ++attempt) {
    const absl::StatusOr<std::string> claimed = registry.ClaimRequest(asked.tenant.id, request_id, name);
    if (claimed.ok() && *claimed == name) break;
    const absl::Status known = claimed.ok() ? FindClaimed(asked.tenant, *claimed) : RegistryError(claimed.status());
    if (absl::IsNotFound(known)) {
      registry.ForgetRequest(asked.tenant.id, request_id, *claimed);
      continue;
    }
    registry.Release(name, *token, Registry::Left::kEnded);
    if (!known.ok()) return known;
    return 0;
  }
  return *token;
}

void Studio::GiveUp(const Video& video) {
  if (storage_.registry == nullptr) return;
  // The caller may be the scheduler's loop, which does not wait for Redis.
  production_.encoders()->Post([registry = storage_.registry, name = video.name(), token = video.token(),
                                tenant = video.tenant().id, request_id = video.description().info.request_id] {
    registry->Release(name, token, Registry::Left::kEnded);
    if (!request_id.empty()) registry->ForgetRequest(tenant, request_id, name);
  });
}

void Studio::HandOver(const absl::Status& why) {
  if (storage_.registry == nullptr || !storage_.registry->has_others()) return;
  logger_->info("videos are handed over to other servers");
  production_.EndAll(why);
}

void Studio::Adopt() {
  Registry& registry = *storage_.registry;
  if (const uint64_t lapses = registry.lapses(); lapses != lapses_) {
    bool known = true;
    for (const std::shared_ptr<Video>& video : library_.all()) {
      const bool ended = video->log().closed();
      if (video->token() == 0 || (ended && !video->lacks_in_store())) continue;
      const absl::StatusOr<bool> kept = registry.Keep(video->tenant().id, video->name(), video->token());
      if (ended && kept.ok()) registry.Release(video->name(), video->token(), Registry::Left::kEndedUnstored);
      if (kept.ok() && !*kept && !ended) {
        logger_->warn("video was taken by another server name={}", video->name());
        video->Lose();
      }
      known = known && kept.ok();
    }
    if (known) lapses_ = lapses;
  }
  absl::StatusOr<std::vector<std::string>> orphans = registry.Orphans();
  if (!orphans.ok()) return;  // the registry has said so
  std::shuffle(orphans->begin(), orphans->end(), std::mt19937(std::random_device()()));
  orphans->resize(std::min(orphans->size(), kTakeAtOnce));
  for (const std::string& name : *orphans) TakeOver(name);
}

void Studio::TakeOver(const std::string& name) {
  Registry& registry = *storage_.registry;
  const absl::StatusOr<uint64_t> token = registry.Take(name, std::nullopt);
  if (!token.ok()) return;  // another one was faster
  if (const absl::Status fenced = FenceAndWait(*storage_.store, name, *token); !fenced.ok()) {
    LogUnreadable(name, fenced);
    return registry.Release(name, *token, Registry::Left::kUnfinished);
  }
  if (!WasAccepted(*storage_.store, name)) {
    storage_.store->Remove(name, /*token=*/0, [](const absl::Status& /*status*/) {});
    return registry.Release(name, *token, Registry::Left::kEnded);
  }
  const absl::StatusOr<Found> found = Read(name);
  if (!found.ok()) {
    // What is damaged stays so: nobody can go on with it, and it counts as its tenant's no longer. All else may be
    // readable a moment later, by this server or another one.
    const bool damaged = absl::IsDataLoss(found.status()) || absl::IsNotFound(found.status());
    return registry.Release(name, *token, damaged ? Registry::Left::kEnded : Registry::Left::kUnfinished);
  }
  if (found->end.has_value()) {
    registry.Release(name, *token, Registry::Left::kEnded);
    RestoreOne(*found, /*token=*/0);
    return;
  }
  logger_->info("video is taken over name={}", name);
  const std::shared_ptr<Video> video = RestoreOne(*found, *token);
  // It cannot be read now, or what this server had lost before is still ending here. Whoever looks next takes it.
  if (video == nullptr || video->token() != *token) {
    registry.Release(name, *token, Registry::Left::kUnfinished);
  }
}

}  // namespace longtake::server
