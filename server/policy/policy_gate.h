// The policy that a server has: what its judge says, counted, with an answer where the judge has none. The header of
// this room that server.cc includes, with those that it names.
#ifndef LONGTAKE_SERVER_POLICY_POLICY_GATE_H_
#define LONGTAKE_SERVER_POLICY_POLICY_GATE_H_

#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "server/policy/judge.h"
#include "server/policy/policy_options.h"
#include "server/telemetry/metrics.h"
#include "spdlog/logger.h"

namespace longtake::server {

class PolicyGate : public Policy {
 public:
  // Null: the options name no policy. An error names the option, or the file and its rule. All pointers outlive it.
  static absl::StatusOr<std::unique_ptr<PolicyGate>> Open(const PolicyOptions& options, const Clock* clock,
                                                          Metrics* metrics, spdlog::logger* logger);
  PolicyGate(std::unique_ptr<Judge> judge, bool fail_open, const Clock* clock, Metrics* metrics, spdlog::logger* logger)
      : fail_open_(fail_open), clock_(clock), metrics_(metrics), logger_(logger), judge_(std::move(judge)) {}
  ~PolicyGate() override { Close(); }

  void Ask(PolicyQuestion question, std::function<void(const absl::Status&)> done) override;
  // Waits until all that was asked has been answered, which it hastens; from now on the answer is SHUTTING_DOWN. So
  // nothing that `done` uses is needed any more when it returns.
  void Close();

 private:
  // What the caller is told, and what is counted and logged.
  absl::Status Decide(const absl::StatusOr<Verdict>& verdict, absl::Duration took);
  void OnFailure(const absl::Status& why);

  const bool fail_open_;
  const Clock* const clock_;
  Metrics* const metrics_;
  spdlog::logger* const logger_;
  Mutex mutex_;
  ConditionVariable answered_;
  int asked_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool failing_ ABSL_GUARDED_BY(mutex_) = false;  // the last question had no verdict
  const std::unique_ptr<Judge> judge_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_POLICY_POLICY_GATE_H_
