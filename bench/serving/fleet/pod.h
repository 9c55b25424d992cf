// One pod of a fleet: it starts, serves, shuts down and is gone. The server's own state machine decides what it does
// when.
#ifndef LONGTAKE_BENCH_SERVING_FLEET_POD_H_
#define LONGTAKE_BENCH_SERVING_FLEET_POD_H_

#include <functional>
#include <memory>
#include <optional>

#include "bench/serving/audience.h"
#include "bench/serving/event_loop.h"
#include "bench/serving/simulated_server.h"
#include "server/lifecycle/lifecycle.h"

namespace longtake::bench {

// What becomes of the videos of a server that shuts down.
enum class Drain {
  kFinish,    // they are finished within its time, or cut: a server whose store is its own
  kHandOver,  // others go on with them as soon as it takes no new ones: servers that share a store (docs/servers.md)
};

struct PodOptions {
  SimulatedServerOptions server = {.studio = {.max_sessions = 16}};  // as the base's server.toml
  // As the server's; the limit is that of the overlay autoscaled, as long as the longest live video and a minute.
  server::LifecycleOptions lifecycle = {.shutdown_limit = absl::Seconds(300)};
  Drain drain = Drain::kFinish;
  // From the pod's creation until its container runs: it gets a node, and the image is pulled. An assumption, between
  // the seconds that a node with the image needs and the minutes that it takes to bring up another node.
  double schedule_seconds = 60;
  // From the container's start until the model is loaded. The bundled model's server takes 0.3 s of a core until it is
  // ready; the rest is for the container itself.
  double load_seconds = 1;
  // Of statefulset.yaml: the startup probe is asked so often, and only when it has said yes may the pod be ready.
  double startup_probe_seconds = 5;
  // Until whoever balances knows that a pod is ready, or no longer is. An assumption: the server's grace is five times
  // as long.
  double endpoint_seconds = 1;
};

class Pod : private server::Lifecycle::Actions {
 public:
  // What an autoscaler is shown of a pod, as of its last scrape.
  struct Sample {
    double when = 0;
    double backlog_seconds = 0;  // longtake_backlog_seconds{delivery="live"}
    double live_load = 0;        // longtake_live_load_ratio
    double requests = 0;         // accepted and not made, live and offline: longtake_sessions + longtake_queue_length
    std::optional<double> used;  // share of its cores since the scrape before; none at the first one
  };

  // Begins to start; `started`: it is ready, as if it had been there before. `changed` is called when the pod becomes
  // ready later and when it is gone. Pointers outlive the pod.
  Pod(int number, const PodOptions& options, const PassTable* table, EventLoop* loop, Audience* audience, bool started,
      std::function<void()> changed);

  // As the kubelet does when the pod is deleted: SIGTERM, and SIGKILL when its grace is over, which is 5 s longer than
  // the server takes at most. Once.
  void Terminate();
  // Reads what the pod serves at /metrics. Before it runs there is nothing.
  void Scrape();

  int number() const { return number_; }
  bool running() const { return running_since_ >= 0; }  // its container runs, or ran
  bool ready() const { return ready_since_ >= 0 && !terminating(); }
  bool terminating() const { return terminated_ >= 0; }
  bool gone() const { return gone_ >= 0; }
  // Whether balancers send requests to it.
  bool listed() const { return listed_; }
  // Null until the model is loaded. It may have something under way for some moments after the pod is gone.
  SimulatedServer* server() const { return server_.get(); }
  const std::optional<Sample>& sample() const { return sample_; }

  double created() const { return created_; }
  double running_since() const { return running_since_; }
  double ready_since() const { return ready_since_; }  // below 0: never
  double gone_at() const { return gone_; }             // below 0: it is there

 private:
  void Publish(const server::Lifecycle::Probes& probes) override;
  void RefuseWork(server::Lifecycle::Refusal why) override;
  void EndVideos() override;

  void Run();
  void Loaded();
  // Lets the lifecycle do what is due, as the server does five times a second, until it has ended.
  void Watch();

  const int number_;
  const PodOptions options_;
  const PassTable* const table_;
  EventLoop* const loop_;
  Audience* const audience_;
  const std::function<void()> changed_;
  server::Lifecycle lifecycle_;
  std::unique_ptr<SimulatedServer> server_;
  std::optional<Sample> sample_;
  const double created_;
  double running_since_ = -1, ready_since_ = -1, terminated_ = -1, gone_ = -1;
  bool listed_ = false;
  double used_before_ = 0;  // seconds of the cores at the last scrape
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_FLEET_POD_H_
