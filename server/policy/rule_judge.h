// A judge that a file of rules is.
#ifndef LONGTAKE_SERVER_POLICY_RULE_JUDGE_H_
#define LONGTAKE_SERVER_POLICY_RULE_JUDGE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "server/policy/judge.h"
#include "spdlog/logger.h"

namespace longtake::server {

// RuleTable says what is in the file; it is read again when it changes. An error names the file and the rule. `clock`
// and `logger` outlive it.
absl::StatusOr<std::unique_ptr<Judge>> OpenRuleJudge(const std::string& path, const Clock* clock,
                                                     spdlog::logger* logger);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_POLICY_RULE_JUDGE_H_
