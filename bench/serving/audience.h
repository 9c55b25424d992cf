// The viewers of one trace, whatever serves them: when they leave, what they see, and what became of them in the end.
#ifndef LONGTAKE_BENCH_SERVING_AUDIENCE_H_
#define LONGTAKE_BENCH_SERVING_AUDIENCE_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bench/serving/event_loop.h"
#include "bench/serving/pass_table.h"
#include "bench/serving/simulated_server.h"
#include "bench/serving/trace.h"
#include "common/playout.h"

namespace longtake::bench {

// What happened to one visitor. Times are seconds from the trace's begin; below 0: never.
struct Visit {
  bool accepted = false, left = false, done = false;
  bool cut = false;     // the server ended its video before the end
  std::string refused;  // why: a scheduler::Refusal, or what was wrong with the fleet
  double quoted = -1;   // seconds from the request in which the first chunk was promised
  double first = -1;    // when the first chunk had gone out
  int stalls = 0;
  double stalled = 0;  // seconds
};

// Of all visitors.
struct Attendance {
  int live = 0;  // viewers that came
  // Of them: got a first chunk in time, and saw all of their video without a stall.
  int smooth = 0;
  int admitted = 0, refused = 0, left = 0, late = 0, stalled = 0, cut = 0;
  std::map<std::string, int> refusals;  // by reason
  double stall_seconds = 0;
  // Seconds from arrival to the first chunk, of those that got one.
  double first_p50 = 0, first_p95 = 0, first_p99 = 0;
  int offline = 0, offline_done = 0;
  // Of live requests that were promised a first chunk, and got it or waited for it beyond the promised time.
  int quotes = 0, quotes_kept = 0;
  double quote_over_actual_p50 = 0;
  std::vector<Visit> visits;

  // Of all live viewers who came.
  double continuity() const { return live == 0 ? 1 : static_cast<double>(smooth) / live; }
  // Of those who were admitted and did not leave: the share without a stall, as the load generator counts.
  double continuity_of_admitted() const {
    return admitted == left ? 1 : 1 - static_cast<double>(stalled) / (admitted - left);
  }
  double quotes_kept_share() const { return quotes == 0 ? 1 : static_cast<double>(quotes_kept) / quotes; }
};

class Audience : public SimulatedServer::Watcher {
 public:
  // A first chunk that comes `latest_first` seconds after the request or later does not count as seen without
  // interruption. What is pointed to outlives it.
  // `handed_over`: called with each visitor whose video its server has ended as kAborted, for another to go on with it.
  Audience(const std::vector<Visitor>* trace, const PassTable* table, EventLoop* loop, double latest_first,
           std::function<void(size_t visitor)> handed_over = {});

  // The visitor asks the server for its video.
  void Send(size_t visitor, SimulatedServer* server);
  // Its video goes on there, behind the blocks that are finished. Nothing happens if the viewer has left.
  void Move(size_t visitor, SimulatedServer* server);
  // The visitor is refused because there is no server that it could ask.
  void TurnAway(size_t visitor, const std::string& why);
  // Nobody leaves any more.
  void Close() { closed_ = true; }

  // Live viewers so far that did not see all of their video as they should.
  int failures() const { return failures_; }
  double video_seconds() const { return video_seconds_; }  // encoded so far
  // Chunks that a slow viewer of this server has not read yet.
  int unread(const SimulatedServer* server) const;

  void OnEncoded(size_t visitor, int latent, bool block_done) override;
  void OnEnded(size_t visitor, const absl::Status& status) override;

  // `whole`: the trace was played to its end, so that quotes can be judged.
  Attendance Sum(bool whole) const;

 private:
  struct Viewer {
    Visit visit;
    SimulatedServer* server = nullptr;
    int encoded = 0, blocks = 0;  // latent frames so far, blocks of which all are
    double read = 0;              // when the last chunk so far has been read
    bool failed = false;          // counts against continuity
    Playout playout;
  };

  void Fail(size_t visitor);
  void Refuse(size_t visitor, const std::string& why);
  void LeaveIfNothingCame(size_t visitor);
  void Read(size_t visitor, int latent, bool block_done);
  absl::Duration EndOf(int latent) const { return absl::Seconds(1 / table_.fps + latent * table_.latent_seconds()); }

  const std::vector<Visitor>& trace_;
  const PassTable& table_;
  EventLoop* const loop_;
  const double latest_first_;
  const std::function<void(size_t)> handed_over_;
  std::vector<Viewer> viewers_;
  std::map<const SimulatedServer*, int> unread_;
  bool closed_ = false;
  int failures_ = 0;
  double video_seconds_ = 0;
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_AUDIENCE_H_
