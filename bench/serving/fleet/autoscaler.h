// The arithmetic of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), by which KEDA scales as well. It knows no
// cluster: numbers go in and come out.
#ifndef LONGTAKE_BENCH_SERVING_FLEET_AUTOSCALER_H_
#define LONGTAKE_BENCH_SERVING_FLEET_AUTOSCALER_H_

#include <optional>
#include <vector>

namespace longtake::bench {

// One entry of `policies`: how much the number of pods may change within `period` seconds.
struct ScalingPolicy {
  enum class Kind { kPods, kPercent };
  Kind kind = Kind::kPods;
  int value = 0;
  double period = 0;
};

// `scaleUp` or `scaleDown`. Of several policies the one that permits the largest change holds (selectPolicy: Max, which
// is the default).
struct ScalingRules {
  double window = 0;  // stabilizationWindowSeconds
  std::vector<ScalingPolicy> policies;
};

struct ScalingOptions {
  int least = 2, most = 8;  // minReplicas, maxReplicas
  ScalingRules up, down;
};

// What deploy/kubernetes/components/{hpa,keda} say; tests/deploy compares.
ScalingOptions ManifestScaling();

// No change is recommended where the metric is this close to its target: the controller's default.
inline constexpr double kTolerance = 0.1;

// A metric of type External with AverageValue, which KEDA uses: `total` over `target` pods' worth. `status_pods` are
// the pods that exist, those that are shutting down included where the workload counts them; within the tolerance they
// are the recommendation.
int PodsForTotal(double total, double target, int status_pods);

// A metric of type Pods or Resource: the mean of the pods' own values against the target. Pods that shut down are not
// among them.
struct PodValues {
  std::vector<double> known;  // of pods that run and have a value
  int unready = 0;            // not started, or too young for their value to count: they count as 0 where it goes up
  int missing = 0;            // without a value: they count as 0 where it goes up, as `fallback` where it goes down
};
// None: there is no value at all, and nothing changes.
std::optional<int> PodsForValues(const PodValues& values, double target, double fallback, int pods);

// Turns recommendations into changes. It remembers those of the past.
class Autoscaler {
 public:
  explicit Autoscaler(ScalingOptions options) : options_(std::move(options)) {}

  // At `now`, in seconds and never earlier than before, with `pods` asked for so far: how many to ask for from now on.
  // None recommended: the metric is not there.
  int Next(double now, int pods, std::optional<int> recommended);

 private:
  struct Event {
    double when = 0;
    int pods = 0;  // recommended, or by how many they changed
  };

  int Stabilize(double now, int pods, int recommended);
  int Limit(double now, int pods, int wanted) const;
  // The pods that there were `period` seconds ago.
  int Before(double now, double period, int pods) const;

  const ScalingOptions options_;
  std::vector<Event> recommendations_, added_, removed_;
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_FLEET_AUTOSCALER_H_
