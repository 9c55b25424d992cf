#include "server/policy/policy_gate.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/policy/remote_judge.h"
#include "server/policy/rule_judge.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

constexpr size_t kMaxCategory = 64, kMaxMessage = 1000;
// By then a service that was restarted is back.
constexpr absl::Duration kRetry = absl::Seconds(5);

// A category is for programs, and stands in a header.
std::string Plain(std::string category) {
  category.resize(std::min(category.size(), kMaxCategory));
  for (char& c : category) {
    if (!absl::ascii_isalnum(c) && c != '.' && c != '_' && c != '-') c = '_';
  }
  return category.empty() ? "unspecified" : category;
}

// At most so many bytes, cut between characters of UTF-8.
std::string Cut(std::string text) {
  if (text.size() <= kMaxMessage) return text;
  size_t end = kMaxMessage;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
  return text;
}

absl::Status Refused(const Verdict& verdict) {
  const std::string why = Cut(verdict.message);
  return MakeError(absl::StatusCode::kPermissionDenied,
                   absl::StrCat("the policy of this server refuses it", why.empty() ? "" : ": ", why),
                   {.reason = Reason::kPolicyRefused, .metadata = {{"category", Plain(verdict.category)}}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<PolicyGate>> PolicyGate::Open(const PolicyOptions& options, const Clock* clock,
                                                             Metrics* metrics, spdlog::logger* logger) {
  if (!options.service.empty() && !options.rules.empty()) {
    return absl::InvalidArgumentError("policy-rules: there is a policy-service too; one of them decides");
  }
  std::unique_ptr<Judge> judge;
  if (!options.service.empty()) {
    ASSIGN_OR_RETURN(judge, OpenRemoteJudge(options, logger));
  } else if (!options.rules.empty()) {
    ASSIGN_OR_RETURN(judge, OpenRuleJudge(options.rules, clock, logger));
  } else {
    return std::unique_ptr<PolicyGate>();
  }
  return std::make_unique<PolicyGate>(std::move(judge), options.fail_open, clock, metrics, logger);
}

void PolicyGate::Ask(PolicyQuestion question, std::function<void(const absl::Status&)> done) {
  bool closing = false;
  {
    const MutexLock lock(mutex_);
    closing = closing_;
    if (!closing) ++asked_;
  }
  if (closing) {
    return done(MakeError(absl::StatusCode::kUnavailable, "the server is shutting down",
                          {.reason = Reason::kShuttingDown, .retry_delay = kRetry}));
  }
  judge_->Ask(std::move(question),
              [this, began = clock_->Now(), done = std::move(done)](const absl::StatusOr<Verdict>& verdict) mutable {
                // Gone with all that it holds, a studio perhaps, before this counts as answered: Close lets that go.
                std::exchange(done, nullptr)(Decide(verdict, clock_->Now() - began));
                const MutexLock lock(mutex_);
                --asked_;
                answered_.NotifyAll();  // under the lock: once it is free the gate may be gone
              });
}

absl::Status PolicyGate::Decide(const absl::StatusOr<Verdict>& verdict, absl::Duration took) {
  if (!verdict.ok()) {
    bool closing = false;
    {
      const MutexLock lock(mutex_);
      closing = closing_;
    }
    // Whatever the policy says of failures: this is none of its.
    if (closing) {
      return MakeError(absl::StatusCode::kUnavailable, "the server is shutting down",
                       {.reason = Reason::kShuttingDown, .retry_delay = kRetry});
    }
    metrics_->PolicyAnswered(PolicyOutcome::kFailed, absl::ToDoubleSeconds(took));
    OnFailure(verdict.status());
    if (fail_open_) return absl::OkStatus();
    return MakeError(absl::StatusCode::kPermissionDenied, "the policy of this server cannot be asked now",
                     {.reason = Reason::kPolicyUnavailable, .retry_delay = kRetry});
  }
  metrics_->PolicyAnswered(verdict->allowed ? PolicyOutcome::kAllowed : PolicyOutcome::kRefused,
                           absl::ToDoubleSeconds(took));
  bool was_failing = false;
  {
    const MutexLock lock(mutex_);
    was_failing = std::exchange(failing_, false);
  }
  if (was_failing) logger_->info("the policy answers again");
  return verdict->allowed ? absl::OkStatus() : Refused(*verdict);
}

// Once for each time that it stops to answer: the metric counts the rest.
void PolicyGate::OnFailure(const absl::Status& why) {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(failing_, true)) return;
  }
  logger_->error("the policy does not answer, so requests are {}: {}", fail_open_ ? "let through" : "refused",
                 std::string(why.message()));
}

void PolicyGate::Close() {
  MutexLock lock(mutex_);
  closing_ = true;
  lock.Unlock();
  judge_->Cancel();
  lock.Lock();
  answered_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return asked_ == 0; });
}

}  // namespace longtake::server
