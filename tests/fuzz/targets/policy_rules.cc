// A file of policy rules, and the verdicts by them.
#include <cstdint>
#include <string>

#include "server/policy/rule_table.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace longtake::server;  // NOLINT(google-build-using-namespace): libFuzzer's function stands outside of it
  const std::string text(longtake::fuzz::ToText(data, size));
  const absl::StatusOr<RuleTable> rules = RuleTable::Parse("rules.json", text);
  if (!rules.ok()) {
    longtake::fuzz::Check(rules.status().message().substr(0, 10) == "rules.json", "an error does not name the file");
    return 0;
  }
  PolicyQuestion question;
  for (const PolicyPurpose purpose : {PolicyPurpose::kCreate, PolicyPurpose::kFork, PolicyPurpose::kChangePrompt}) {
    question.purpose = purpose;
    question.tenant.id = purpose == PolicyPurpose::kCreate ? "" : "acme";
    question.spec.prompt = "A red ball bounces; \u00fc\xff";
    question.spec.prompt_changes = {{.prompt = "night falls", .at = absl::Seconds(1)}};
    question.spec.duration = absl::Seconds(5);
    (void)rules->Judge(question);
  }
  return 0;
}
