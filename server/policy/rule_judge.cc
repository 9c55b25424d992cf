#include "server/policy/rule_judge.h"

#include <utility>

#include "common/status_macros.h"
#include "server/access/watched_file.h"
#include "server/policy/rule_table.h"

namespace longtake::server {
namespace {

class RuleJudge : public Judge {
 public:
  explicit RuleJudge(std::unique_ptr<WatchedFile<RuleTable>> rules) : rules_(std::move(rules)) {}
  // RE2 takes time in proportion to the prompts, which are short: microseconds, so on the caller's thread.
  void Ask(PolicyQuestion question, Done done) override { done(rules_->Get()->Judge(question)); }

 private:
  const std::unique_ptr<WatchedFile<RuleTable>> rules_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Judge>> OpenRuleJudge(const std::string& path, const Clock* clock,
                                                     spdlog::logger* logger) {
  const auto parse = [path](const std::string& text) { return RuleTable::Parse(path, text); };
  ASSIGN_OR_RETURN(auto rules, WatchedFile<RuleTable>::Open(path, parse, clock, logger));
  return std::make_unique<RuleJudge>(std::move(rules));
}

}  // namespace longtake::server
