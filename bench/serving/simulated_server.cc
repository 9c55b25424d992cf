#include "bench/serving/simulated_server.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

namespace longtake::bench {
namespace {

using scheduler::SessionId;

scheduler::Options SettingsOf(const SimulatedServerOptions& options, const PassTable& table,
                              std::shared_ptr<scheduler::Policy> policy) {
  server::StudioOptions studio = options.studio;
  if (studio.max_sessions < 1) studio.max_sessions = table.places;
  scheduler::Options settings = server::SchedulerOptions(studio);
  settings.policy = std::move(policy);
  return settings;
}

}  // namespace

SimulatedServer::SimulatedServer(const PassTable* table, EventLoop* loop, const SimulatedServerOptions& options,
                                 std::shared_ptr<scheduler::Policy> policy, Watcher* watcher)
    : table_(*table),
      watcher_(watcher),
      machine_(table, loop, options.devices, options.lanes, options.studio.encoder_threads, options.seed),
      scheduler_loop_(loop),
      scheduler_(SettingsOf(options, *table, std::move(policy)), &scheduler_loop_, &machine_, this) {}

scheduler::Request SimulatedServer::RequestOf(size_t visitor, const Visitor& wants) const {
  scheduler::Request request;
  request.id = SessionId{visitor};
  request.delivery = wants.live ? scheduler::Delivery::kLive : scheduler::Delivery::kOffline;
  request.block_latents = table_.Blocks(wants.seconds);
  request.first_latent_seconds = 1 / table_.fps;
  request.latent_seconds = table_.latent_seconds();
  request.ladder = {{.steps = table_.steps, .first_decode = 1.0 / table_.frames_per_latent}};
  request.latent_tokens = 1000 * wants.scale;
  request.tenant = std::to_string(wants.tenant);
  return request;
}

scheduler::Quote SimulatedServer::Enter(size_t visitor, const Visitor& wants, std::optional<int> made) {
  scheduler::Request request = RequestOf(visitor, wants);
  request.accepted_before = made.has_value();
  request.made_blocks = made.value_or(0);
  const auto begin = request.block_latents.begin();
  videos_[visitor] = {.scale = wants.scale, .decoded = std::accumulate(begin, begin + request.made_blocks, 0)};
  machine_.SetJob(visitor, wants.scale, request.block_latents, request.made_blocks);
  scheduler::Quote quote = scheduler_.Enter(std::move(request));
  if (!quote.ok()) {
    videos_.erase(visitor);
    machine_.Close(SessionId{visitor});
  }
  return quote;
}

scheduler::Quote SimulatedServer::GetQuote(size_t visitor, const Visitor& wants) {
  return scheduler_.GetQuote(RequestOf(visitor, wants));
}

void SimulatedServer::OnPass(SessionId session, const scheduler::PassReport& report) {
  pass_seconds_[static_cast<size_t>(report.kind)] += report.device_seconds;
  ++pass_count_[static_cast<size_t>(report.kind)];
  if (report.kind != PassKind::kDecode) return;
  const size_t visitor = Number(session);
  Video& video = videos_.at(visitor);
  const int latent = video.decoded++;
  const bool block_done = report.step == report.steps;
  // The video's first latent frame is one frame.
  const double frames = latent == 0 ? 1.0 / table_.frames_per_latent : 1;
  const double begin = report.step == 1 ? table_.encode_begin : 0;
  ++encoding_;
  machine_.Encode(visitor, video.scale * (frames * table_.encode + begin), [this, visitor, latent, block_done] {
    --encoding_;
    watcher_->OnEncoded(visitor, latent, block_done);
  });
}

void SimulatedServer::OnEnded(SessionId session, const absl::Status& status) {
  videos_.erase(Number(session));
  machine_.Close(session);  // one that never had a place is not closed by the scheduler
  watcher_->OnEnded(Number(session), status);
}

bool Step(EventLoop& loop, const std::vector<SimulatedServer*>& servers) {
  absl::Duration wake = absl::InfiniteDuration();
  for (const SimulatedServer* server : servers) wake = std::min(wake, server->wake());
  if (wake < loop.next()) {
    loop.AdvanceTo(wake);
  } else if (!loop.Step()) {
    return false;
  }
  for (SimulatedServer* server : servers) server->RunReady();
  return true;
}

}  // namespace longtake::bench
