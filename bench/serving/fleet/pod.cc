#include "bench/serving/fleet/pod.h"

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "bench/serving/policies.h"

namespace longtake::bench {
namespace {

// The server looks this often at what still runs (server/README.md).
constexpr double kWatchSeconds = 0.2;

}  // namespace

Pod::Pod(int number, const PodOptions& options, const PassTable* table, EventLoop* loop, Audience* audience,
         bool started, std::function<void()> changed)
    : number_(number),
      options_(options),
      table_(table),
      loop_(loop),
      audience_(audience),
      changed_(std::move(changed)),
      lifecycle_(options.lifecycle, loop, this),
      created_(loop->now()) {
  if (started) {
    running_since_ = ready_since_ = created_;
    listed_ = true;
    Loaded();
  } else {
    loop_->At(created_ + options_.schedule_seconds, [this] { Run(); });
  }
}

void Pod::Run() {
  if (gone()) return;
  running_since_ = loop_->now();
  lifecycle_.Advance({});
  loop_->At(running_since_ + options_.load_seconds, [this] { Loaded(); });
}

void Pod::Loaded() {
  if (!lifecycle_.Loaded()) return;  // it was told to stop before
  server_ = std::make_unique<SimulatedServer>(table_, loop_, options_.server,
                                              MakePolicy("ours", table_->block_seconds()), audience_);
  lifecycle_.Advance({});
}

void Pod::Publish(const server::Lifecycle::Probes& probes) {
  // That it is no longer ready is known to the cluster from its deletion.
  if (!probes.ready || ready()) return;
  const double probes_so_far = std::ceil((loop_->now() - running_since_) / options_.startup_probe_seconds);
  loop_->At(running_since_ + probes_so_far * options_.startup_probe_seconds, [this] {
    if (terminating()) return;
    ready_since_ = loop_->now();
    changed_();
    loop_->At(ready_since_ + options_.endpoint_seconds, [this] { listed_ = !terminating(); });
  });
}

void Pod::Terminate() {
  terminated_ = loop_->now();
  loop_->At(terminated_ + options_.endpoint_seconds, [this] { listed_ = false; });
  lifecycle_.Stop(/*grace=*/true);
  if (running()) return Watch();
  gone_ = loop_->now();  // nothing of it runs yet
  changed_();
}

void Pod::Watch() {
  const bool busy = server_ != nullptr && (server_->busy() || audience_->unread(server_.get()) > 0);
  lifecycle_.Advance({.busy = busy});
  if (lifecycle_.phase() != server::Lifecycle::Phase::kEnded) {
    loop_->At(loop_->now() + kWatchSeconds, [this] { Watch(); });
    return;
  }
  gone_ = loop_->now();
  listed_ = false;
  changed_();
}

void Pod::RefuseWork(server::Lifecycle::Refusal) {
  if (options_.drain == Drain::kHandOver) server_->CancelAll(absl::AbortedError("handed over"));
  server_->StopAdmission(absl::UnavailableError("shutting down"));
}

void Pod::EndVideos() { server_->CancelAll(absl::UnavailableError("shutting down")); }

void Pod::Scrape() {
  if (!running() || gone()) return;
  // While the model loads all series are there, at 0.
  const scheduler::Stats stats = server_ == nullptr ? scheduler::Stats() : server_->stats();
  Sample sample{.when = loop_->now(),
                .backlog_seconds = stats.live_backlog_seconds,
                .live_load = stats.live_load,
                .requests = static_cast<double>(stats.running + stats.waiting)};
  const double used = server_ == nullptr ? 0 : server_->machine().used_seconds();
  if (sample_.has_value()) sample.used = (used - used_before_) / (sample.when - sample_->when);
  used_before_ = used;
  sample_ = sample;
}

}  // namespace longtake::bench
