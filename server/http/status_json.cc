#include "server/http/status_json.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "absl/time/time.h"

namespace longtake::server {
namespace {

using nlohmann::json;

json VideoJson(const Video& video, const VideoInfo& info) {
  const std::optional<absl::Duration> lead = video.lead();
  return {{"name", info.name},
          {"request_id", video.origin().request_id},
          {"tenant", video.tenant().id},
          {"state", Name(info.state)},
          {"delivery", video.live() ? "live" : "offline"},
          {"blocks", info.blocks},
          {"blocks_total", info.plan->blocks()},
          {"viewers", info.viewers},
          {"lead_seconds", lead.has_value() ? json(absl::ToDoubleSeconds(*lead)) : json()},
          {"age_seconds", absl::ToDoubleSeconds(video.elapsed())}};
}

}  // namespace

json StatusJson(const Studio* studio, const Quotas& quotas, const std::string& store) {
  json videos = json::array(), uses = json::array();
  int ended = 0;
  int64_t bytes = 0;
  if (studio != nullptr) {
    std::vector<std::shared_ptr<Video>> all = studio->videos();
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a->id() < b->id(); });
    for (const std::shared_ptr<Video>& video : all) {
      const VideoInfo info = video->info();
      bytes += info.size_bytes;
      if (IsEnd(info.state)) {
        ++ended;
      } else {
        videos.push_back(VideoJson(*video, info));
      }
    }
  }
  for (const Quotas::Use& use : quotas.uses()) {
    uses.push_back({{"tenant", use.tenant}, {"quota", use.quota}, {"used", use.used}, {"limit", use.limit}});
  }
  json out = {{"videos", videos}, {"ended_videos", ended}, {"chunk_bytes", bytes}, {"quotas", uses}};
  if (studio != nullptr) out["max_sessions"] = studio->options().max_sessions;
  if (!store.empty() && studio != nullptr) {
    out["store"] = {{"directory", store}, {"limit_bytes", studio->options().store_bytes}};
  }
  return out;
}

}  // namespace longtake::server
