// A judge that another process is: a longtake.policy.v1.PolicyService.
#ifndef LONGTAKE_SERVER_POLICY_REMOTE_JUDGE_H_
#define LONGTAKE_SERVER_POLICY_REMOTE_JUDGE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/policy/judge.h"
#include "server/policy/policy_options.h"
#include "spdlog/logger.h"

namespace longtake::server {

// Connects when it is first asked, stays connected, and connects again where the connection breaks. An error names the
// option. `logger` is used in this call only.
absl::StatusOr<std::unique_ptr<Judge>> OpenRemoteJudge(const PolicyOptions& options, spdlog::logger* logger);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_POLICY_REMOTE_JUDGE_H_
