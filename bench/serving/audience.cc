#include "bench/serving/audience.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "common/percentile.h"

namespace longtake::bench {

Audience::Audience(const std::vector<Visitor>* trace, const PassTable* table, EventLoop* loop, double latest_first,
                   std::function<void(size_t)> handed_over)
    : trace_(*trace),
      table_(*table),
      loop_(loop),
      latest_first_(latest_first),
      handed_over_(std::move(handed_over)),
      viewers_(trace->size()) {}

void Audience::Send(size_t visitor, SimulatedServer* server) {
  Viewer& viewer = viewers_[visitor];
  viewer.server = server;
  const scheduler::Quote quote = server->Enter(visitor, trace_[visitor]);
  if (!quote.ok()) return Refuse(visitor, scheduler::Name(quote.refusal));
  viewer.visit.accepted = true;
  if (!trace_[visitor].live) return;
  if (quote.first_chunk < absl::InfiniteDuration()) viewer.visit.quoted = absl::ToDoubleSeconds(quote.first_chunk);
  loop_->At(trace_[visitor].arrives + trace_[visitor].patience, [this, visitor] { LeaveIfNothingCame(visitor); });
}

void Audience::Move(size_t visitor, SimulatedServer* server) {
  Viewer& viewer = viewers_[visitor];
  if (viewer.visit.left) return;
  viewer.server = server;
  const scheduler::Quote quote = server->Enter(visitor, trace_[visitor], viewer.blocks);
  if (!quote.ok()) OnEnded(visitor, absl::UnavailableError(scheduler::Name(quote.refusal)));
}

void Audience::TurnAway(size_t visitor, const std::string& why) { Refuse(visitor, why); }

void Audience::Refuse(size_t visitor, const std::string& why) {
  viewers_[visitor].visit.refused = why;
  Fail(visitor);
}

void Audience::Fail(size_t visitor) {
  failures_ += trace_[visitor].live && !viewers_[visitor].failed ? 1 : 0;
  viewers_[visitor].failed = true;
}

void Audience::LeaveIfNothingCame(size_t visitor) {
  Viewer& viewer = viewers_[visitor];
  if (viewer.visit.first >= 0 || !viewer.visit.refused.empty() || closed_) return;
  viewer.visit.left = true;
  Fail(visitor);
  viewer.server->Cancel(visitor, absl::CancelledError("impatient"));
}

void Audience::OnEncoded(size_t visitor, int latent, bool block_done) {
  Viewer& viewer = viewers_[visitor];
  if (latent < viewer.encoded) return viewer.server->Delivered(visitor, EndOf(latent));  // made again
  viewer.encoded = latent + 1;
  viewer.blocks += block_done ? 1 : 0;
  const double seconds = latent == 0 ? 1 / table_.fps : table_.latent_seconds();
  video_seconds_ += seconds;
  if (!trace_[visitor].slow) return Read(visitor, latent, block_done);
  // Chunks of one viewer are read one after the other.
  viewer.read = std::max(viewer.read, loop_->now()) + 0.5 * seconds;
  ++unread_[viewer.server];
  loop_->At(viewer.read, [this, visitor, latent, block_done, server = viewer.server] {
    --unread_[server];
    Read(visitor, latent, block_done);
  });
}

int Audience::unread(const SimulatedServer* server) const {
  const auto found = unread_.find(server);
  return found == unread_.end() ? 0 : found->second;
}

void Audience::Read(size_t visitor, int latent, bool block_done) {
  Viewer& viewer = viewers_[visitor];
  Visit& visit = viewer.visit;
  if (visit.left || visit.cut) return;
  if (latent == 0) {
    visit.first = loop_->now();
    if (visit.first - trace_[visitor].arrives > latest_first_) Fail(visitor);
  }
  const absl::Duration until = EndOf(latent);
  // The picture is there with the first chunk, which is one frame; it begins to move when the first block is there.
  if (viewer.playout.started() || block_done) viewer.playout.Arrive(loop_->Now(), until);
  if (viewer.playout.stalls() > 0) Fail(visitor);
  viewer.server->Delivered(visitor, until);
}

void Audience::OnEnded(size_t visitor, const absl::Status& status) {
  Visit& visit = viewers_[visitor].visit;
  visit.done = status.ok();
  if (absl::IsAborted(status) && handed_over_) return handed_over_(visitor);
  // What a server that shuts down does to a video that waits, and to one that is being made.
  if (!absl::IsUnavailable(status) || visit.left) return;
  if (visit.first < 0) {
    Refuse(visitor, "shutting_down");
  } else {
    visit.cut = true;
    Fail(visitor);
  }
}

Attendance Audience::Sum(bool whole) const {
  Attendance sum;
  std::vector<double> first, quote_over_actual;
  for (size_t i = 0; i < trace_.size(); ++i) {
    const Viewer& viewer = viewers_[i];
    Visit visit = viewer.visit;
    visit.stalls = viewer.playout.stalls();
    visit.stalled = absl::ToDoubleSeconds(viewer.playout.stalled());
    sum.visits.push_back(visit);
    if (!trace_[i].live) {
      ++sum.offline;
      sum.offline_done += visit.done;
      continue;
    }
    ++sum.live;
    sum.admitted += visit.accepted;
    if (!visit.refused.empty()) {
      ++sum.refused;
      ++sum.refusals[visit.refused];
    }
    sum.left += visit.left;
    sum.cut += visit.cut;
    sum.stalled += visit.stalls > 0;
    sum.stall_seconds += visit.stalled;
    sum.smooth += visit.done && !viewer.failed;
    const double took = visit.first - trace_[i].arrives;
    if (visit.first >= 0) {
      first.push_back(took);
      sum.late += took > latest_first_;
    }
    if (visit.quoted < 0 || !whole) continue;
    if (visit.first >= 0) {
      ++sum.quotes;
      sum.quotes_kept += took <= visit.quoted;
      quote_over_actual.push_back(visit.quoted / took);
    } else if (visit.left && trace_[i].patience > visit.quoted) {
      ++sum.quotes;  // it waited in vain
    }
  }
  sum.first_p50 = Percentile(first, 0.5);
  sum.first_p95 = Percentile(first, 0.95);
  sum.first_p99 = Percentile(first, 0.99);
  sum.quote_over_actual_p50 = Percentile(quote_over_actual, 0.5);
  return sum;
}

}  // namespace longtake::bench
