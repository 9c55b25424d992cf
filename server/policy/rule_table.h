// Rules by which a server decides itself what may be made, as an operator writes them.
#ifndef LONGTAKE_SERVER_POLICY_RULE_TABLE_H_
#define LONGTAKE_SERVER_POLICY_RULE_TABLE_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "re2/re2.h"
#include "server/policy/judge.h"

namespace longtake::server {

class RuleTable {
 public:
  // A JSON object whose "rules" are objects; docs/policy.md has their fields. An error names `path`, the rule by its
  // number, from 1, and the field.
  static absl::StatusOr<RuleTable> Parse(const std::string& path, const std::string& text);

  // What the first rule says whose conditions all hold; where there is none, it is allowed.
  Verdict Judge(const PolicyQuestion& question) const;

 private:
  struct Rule {
    Verdict verdict;
    // Conditions; one that is empty holds.
    std::set<std::string> tenants;
    std::set<PolicyPurpose> purposes;
    std::set<std::string> adapters;  // one of them is asked for; "*" is any
    std::optional<absl::Duration> over;
    std::vector<std::shared_ptr<const RE2>> patterns;  // any of them, in any of the prompts

    absl::Status Read(const std::string& field, const nlohmann::json& value);
    bool Holds(const PolicyQuestion& question) const;
  };

  std::vector<Rule> rules_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_POLICY_RULE_TABLE_H_
