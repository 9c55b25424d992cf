// Rules that decide what may be made, and what the gate makes of a judge's verdicts; without a server.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/policy/policy_gate.h"
#include "server/policy/rule_table.h"
#include "server/video/error.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/server/fake_clock.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;
using testing::Not;

PolicyQuestion Question(const std::string& prompt, const std::string& tenant = "acme", double seconds = 5) {
  PolicyQuestion question{.tenant = {tenant}};
  question.spec.prompt = prompt;
  question.spec.duration = absl::Seconds(seconds);
  return question;
}

RuleTable Rules(const std::string& rules) {
  absl::StatusOr<RuleTable> table = RuleTable::Parse("rules", absl::StrCat("{\"rules\": [", rules, "]}"));
  EXPECT_TRUE(table.ok()) << table.status();
  return table.ok() ? *std::move(table) : RuleTable();
}

bool Allows(const RuleTable& table, const PolicyQuestion& question) { return table.Judge(question).allowed; }

TEST(RuleTable, WithoutARuleThatHoldsItIsAllowed) {
  EXPECT_TRUE(Allows(Rules(""), Question("anything")));
  EXPECT_TRUE(Allows(Rules(R"({"decision": "refuse", "tenants": ["umbrella"]})"), Question("anything")));
  EXPECT_FALSE(Allows(Rules(R"({"decision": "refuse"})"), Question("anything"))) << "a rule without conditions holds";
}

TEST(RuleTable, TheFirstRuleThatHoldsDecides) {
  const RuleTable table = Rules(R"({"decision": "allow", "tenants": ["acme"], "words": ["ball"]},
      {"decision": "refuse", "category": "balls", "message": "no balls here", "words": ["ball"]},
      {"decision": "refuse", "category": "later", "words": ["ball"]})");
  EXPECT_TRUE(Allows(table, Question("a ball", "acme")));
  const Verdict verdict = table.Judge(Question("a ball", "umbrella"));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.category, "balls");
  EXPECT_EQ(verdict.message, "no balls here");
}

TEST(RuleTable, WordsAreWholeAndInAnyCase) {
  const RuleTable table = Rules(R"({"decision": "refuse", "words": ["ball", "c++", "\u00e9toile", "two words"]})");
  for (const char* prompt :
       {"ball", "A BALL!", "ball,", "(ball)", "I like c++ a lot", "\xc3\x89TOILE", "an\n\xc3\xa9toile.", "Two words"}) {
    EXPECT_FALSE(Allows(table, Question(prompt))) << prompt;
  }
  for (const char* prompt :
       {"balloon", "football", "ball1", "ball\xc3\xa9", "\xc3\xa9toiles", "c+", "two  words", ""}) {
    EXPECT_TRUE(Allows(table, Question(prompt))) << prompt;
  }
}

TEST(RuleTable, PatternsAreSearchedInEveryPrompt) {
  const RuleTable table = Rules(R"({"decision": "refuse", "pattern": "(?i)red +ball$"})");
  EXPECT_FALSE(Allows(table, Question("a Red  ball")));
  EXPECT_TRUE(Allows(table, Question("a red ball bounces")));
  PolicyQuestion later = Question("a blue ball");
  later.spec.prompt_changes = {{"a cube", absl::Seconds(1)}, {"a red ball", absl::Seconds(2)}};
  EXPECT_FALSE(Allows(table, later));
  later.spec.prompt_changes.pop_back();
  EXPECT_TRUE(Allows(table, later));
  later.spec.negative_prompt = "a red ball";  // what shall not be seen
  EXPECT_TRUE(Allows(table, later));
}

TEST(RuleTable, AdaptersAreMeantByTheirNames) {
  PolicyQuestion question = Question("a ball");
  const RuleTable one = Rules(R"({"decision": "refuse", "adapters": ["faces", "logos"]})");
  const RuleTable any =
      Rules(R"({"decision": "allow", "tenants": ["editors"]}, {"decision": "refuse", "adapters": ["*"]})");
  EXPECT_TRUE(Allows(one, question));
  EXPECT_TRUE(Allows(any, question));
  question.spec.adapters = {{"watercolour"}};
  EXPECT_TRUE(Allows(one, question));
  EXPECT_FALSE(Allows(any, question));
  question.spec.adapters = {{"watercolour"}, {"logos"}};
  EXPECT_FALSE(Allows(one, question));
  question.tenant = {"editors"};
  EXPECT_TRUE(Allows(any, question));
}

TEST(RuleTable, AllConditionsOfARuleMustHold) {
  const RuleTable table = Rules(
      R"({"decision": "refuse", "tenants": ["acme", "umbrella"], "purposes": ["create", "fork"], "over_seconds": 10,
          "words": ["ball"]})");
  EXPECT_FALSE(Allows(table, Question("a ball", "acme", 11)));
  EXPECT_TRUE(Allows(table, Question("a ball", "acme", 10)));
  EXPECT_TRUE(Allows(table, Question("a ball", "other", 11)));
  EXPECT_TRUE(Allows(table, Question("a cube", "acme", 11)));
  PolicyQuestion change = Question("a ball", "umbrella", 11);
  EXPECT_FALSE(Allows(table, change));
  change.purpose = PolicyPurpose::kFork;
  EXPECT_FALSE(Allows(table, change));
  change.purpose = PolicyPurpose::kChangePrompt;
  EXPECT_TRUE(Allows(table, change));
}

TEST(RuleTable, WhatIsWrongIsNamed) {
  const auto why = [](const std::string& text) {
    return std::string(RuleTable::Parse("the/file", text).status().message());
  };
  const auto rule = [&](const std::string& second) {
    return why(absl::StrCat(R"({"rules": [{"decision": "allow"}, )", second, "]}"));
  };
  for (const char* text : {"", "[]", "{}", R"({"rules": {}})", R"({"rules": [], "more": 1})"}) {
    EXPECT_THAT(why(text), testing::StartsWith("the/file: is no JSON object with a list of")) << text;
  }
  EXPECT_EQ(rule("3"), "the/file: rule 2: is no object");
  EXPECT_EQ(rule(R"({"words": ["x"]})"), "the/file: rule 2: decision: is missing");
  EXPECT_EQ(rule(R"({"decision": "deny"})"), "the/file: rule 2: decision: is neither allow nor refuse");
  EXPECT_EQ(rule(R"({"decision": "allow", "word": ["x"]})"), "the/file: rule 2: word: is not known");
  EXPECT_EQ(rule(R"({"decision": "allow", "words": []})"), "the/file: rule 2: words: is no list of texts");
  EXPECT_EQ(rule(R"({"decision": "allow", "tenants": [""]})"), "the/file: rule 2: tenants: is no text");
  EXPECT_EQ(rule(R"({"decision": "allow", "adapters": "logos"})"), "the/file: rule 2: adapters: is no list of texts");
  EXPECT_EQ(rule(R"({"decision": "allow", "purposes": ["watch"]})"),
            "the/file: rule 2: purposes: are create, fork and change_prompt");
  EXPECT_EQ(rule(R"({"decision": "allow", "over_seconds": "5"})"),
            "the/file: rule 2: over_seconds: is no number from 0");
  EXPECT_THAT(rule(R"({"decision": "allow", "pattern": "(a"})"), testing::StartsWith("the/file: rule 2: pattern: "));
}

class PolicyGateTest : public testing::Test {
 protected:
  // Says what the test has told it.
  class ScriptedJudge : public Judge {
   public:
    explicit ScriptedJudge(const absl::StatusOr<Verdict>* verdict) : verdict_(verdict) {}
    void Ask(PolicyQuestion /*question*/, Done done) override { done(*verdict_); }

   private:
    const absl::StatusOr<Verdict>* const verdict_;
  };

  void TearDown() override { std::remove(path.c_str()); }
  absl::Status Ask(bool fail_open = false) {
    PolicyGate gate(std::make_unique<ScriptedJudge>(&verdict), fail_open, &clock, &metrics, &logger);
    return Ask(gate);
  }
  static absl::Status Ask(PolicyGate& gate) {
    std::optional<absl::Status> answer;
    gate.Ask(Question("an unmistakable ball"), [&answer](const absl::Status& status) {
      EXPECT_FALSE(answer.has_value()) << "twice";
      answer = status;
    });
    return answer.value_or(absl::InternalError("no answer"));
  }

  const std::string path = absl::StrCat(testing::TempDir(), "/rules_", getpid());
  absl::StatusOr<Verdict> verdict = Verdict{.allowed = true};
  FakeClock clock;
  Metrics metrics;
  std::ostringstream log;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)};
};

TEST_F(PolicyGateTest, ARefusalSaysWhyAndOfWhichKind) {
  verdict = Verdict{.category = "violence", .message = "not in this house"};
  const absl::Status refused = Ask();
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("not in this house"));
  EXPECT_EQ(DetailsOf(refused).reason, Reason::kPolicyRefused);
  EXPECT_EQ(DetailsOf(refused).metadata.at("category"), "violence");
  EXPECT_FALSE(DetailsOf(refused).retry_delay.has_value());

  verdict = Verdict{};
  EXPECT_EQ(DetailsOf(Ask()).metadata.at("category"), "unspecified");
  verdict = Verdict{.category = "a b\r\nc" + std::string(100, 'x'), .message = std::string(999, 'm') + "\xc3\xa9 more"};
  EXPECT_EQ(DetailsOf(Ask()).metadata.at("category"), "a_b__c" + std::string(58, 'x'));
  EXPECT_TRUE(absl::EndsWith(Ask().message(), ": " + std::string(999, 'm'))) << "cut between two characters";
  EXPECT_THAT(metrics.Text(), HasSubstr("longtake_policy_answers_total{outcome=\"refused\"} 4"));
  EXPECT_THAT(metrics.Text(), HasSubstr("longtake_policy_seconds_count 4"));
}

TEST_F(PolicyGateTest, WithoutAVerdictItIsAsTheOperatorSays) {
  verdict = absl::UnavailableError("nobody is there");
  const absl::Status closed = Ask();
  EXPECT_EQ(DetailsOf(closed).reason, Reason::kPolicyUnavailable);
  EXPECT_EQ(DetailsOf(closed).retry_delay, absl::Seconds(5));
  EXPECT_TRUE(Ask(/*fail_open=*/true).ok());
  EXPECT_THAT(metrics.Text(), HasSubstr("longtake_policy_answers_total{outcome=\"failed\"} 2"));
  verdict = Verdict{.category = "violence"};
  EXPECT_EQ(DetailsOf(Ask(/*fail_open=*/true)).reason, Reason::kPolicyRefused) << "what is refused stays refused";
}

TEST_F(PolicyGateTest, TheLogSaysOnceThatItFailsAndThatItIsBack) {
  PolicyGate gate(std::make_unique<ScriptedJudge>(&verdict), /*fail_open=*/false, &clock, &metrics, &logger);
  verdict = absl::UnavailableError("nobody is there");
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Ask(gate).ok());
  const std::string failing = log.str();
  EXPECT_THAT(failing, HasSubstr("so requests are refused: nobody is there"));
  EXPECT_EQ(failing.find("nobody"), failing.rfind("nobody"));
  verdict = Verdict{.category = "violence", .message = "unmistakable too"};
  EXPECT_FALSE(Ask(gate).ok());
  EXPECT_THAT(log.str(), testing::AllOf(HasSubstr("answers again"), Not(HasSubstr("unmistakable"))));
}

TEST_F(PolicyGateTest, AClosedGateRefuses) {
  PolicyGate gate(std::make_unique<ScriptedJudge>(&verdict), /*fail_open=*/true, &clock, &metrics, &logger);
  gate.Close();
  EXPECT_EQ(DetailsOf(Ask(gate)).reason, Reason::kShuttingDown);
}

TEST_F(PolicyGateTest, RulesAreReadAgain) {
  const auto write = [this](const std::string& text) {
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
    clock.Advance(absl::Seconds(2));
  };
  write(R"({"rules": []})");
  auto gate = PolicyGate::Open({.rules = path}, &clock, &metrics, &logger);
  ASSERT_TRUE(gate.ok()) << gate.status();
  EXPECT_TRUE(Ask(**gate).ok());
  write(R"({"rules": [{"decision": "refuse", "words": ["ball"], "category": "balls"}]})");
  EXPECT_EQ(DetailsOf(Ask(**gate)).metadata.at("category"), "balls");
  write("{");
  EXPECT_EQ(DetailsOf(Ask(**gate)).reason, Reason::kPolicyRefused) << "what it said before stays in force";
}

TEST_F(PolicyGateTest, OptionsAreChecked) {
  const auto open = [this](const PolicyOptions& options) {
    return PolicyGate::Open(options, &clock, &metrics, &logger);
  };
  const auto none = open({});
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
  EXPECT_THAT(std::string(open({.service = "localhost:1", .rules = path}).status().message()),
              testing::StartsWith("policy-rules: "));
  EXPECT_THAT(std::string(open({.rules = path}).status().message()), HasSubstr(path + ": cannot be read"));
  EXPECT_THAT(std::string(open({.service = "localhost:1", .authorities = path}).status().message()),
              HasSubstr(path + ": cannot be read"));
  EXPECT_THAT(std::string(open({.service = "localhost:1", .timeout = absl::ZeroDuration()}).status().message()),
              testing::StartsWith("policy-timeout-seconds: "));
}

}  // namespace
}  // namespace longtake::server
