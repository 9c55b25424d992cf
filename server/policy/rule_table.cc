#include "server/policy/rule_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/json_depth.h"
#include "common/status_macros.h"

namespace longtake::server {
namespace {

using nlohmann::json;

absl::Status Wrong(const std::string& field, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

absl::StatusOr<std::string> Text(const json& value, const std::string& field) {
  if (!value.is_string() || value.get<std::string>().empty()) return Wrong(field, "is no text");
  return value.get<std::string>();
}

absl::StatusOr<std::vector<std::string>> Texts(const json& value, const std::string& field) {
  if (!value.is_array() || value.empty()) return Wrong(field, "is no list of texts");
  std::vector<std::string> texts;
  for (const json& each : value) {
    ASSIGN_OR_RETURN(std::string text, Text(each, field));
    texts.push_back(std::move(text));
  }
  return texts;
}

absl::StatusOr<std::set<std::string>> Names(const json& value, const std::string& field) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, Texts(value, field));
  return std::set<std::string>(names.begin(), names.end());
}

absl::StatusOr<PolicyPurpose> PurposeOf(const std::string& name) {
  if (name == "create") return PolicyPurpose::kCreate;
  if (name == "fork") return PolicyPurpose::kFork;
  if (name == "change_prompt") return PolicyPurpose::kChangePrompt;
  return Wrong("purposes", "are create, fork and change_prompt");
}

absl::StatusOr<std::shared_ptr<const RE2>> Compile(const std::string& pattern, bool ignore_case,
                                                   const std::string& field) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_case_sensitive(!ignore_case);
  auto compiled = std::make_shared<const RE2>(pattern, options);
  if (!compiled->ok()) return Wrong(field, compiled->error());
  return compiled;
}

// Any of the words, whole: no letter and no digit of any script stands beside it. RE2's own \b knows ASCII alone.
std::string PatternOf(const std::vector<std::string>& words) {
  const std::string any = absl::StrJoin(
      words, "|", [](std::string* out, const std::string& word) { absl::StrAppend(out, RE2::QuoteMeta(word)); });
  return absl::StrCat("(?:^|[^\\pL\\pN])(?:", any, ")(?:$|[^\\pL\\pN])");
}

}  // namespace

absl::Status RuleTable::Rule::Read(const std::string& field, const json& value) {
  if (field == "decision") {
    if (value != "allow" && value != "refuse") return Wrong(field, "is neither allow nor refuse");
    verdict.allowed = value == "allow";
  } else if (field == "category") {
    ASSIGN_OR_RETURN(verdict.category, Text(value, field));
  } else if (field == "message") {
    ASSIGN_OR_RETURN(verdict.message, Text(value, field));
  } else if (field == "tenants") {
    ASSIGN_OR_RETURN(tenants, Names(value, field));
  } else if (field == "adapters") {
    ASSIGN_OR_RETURN(adapters, Names(value, field));
  } else if (field == "purposes") {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, Texts(value, field));
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(const PolicyPurpose purpose, PurposeOf(name));
      purposes.insert(purpose);
    }
  } else if (field == "over_seconds") {
    if (!value.is_number() || value < 0) return Wrong(field, "is no number from 0");
    over = absl::Seconds(value.get<double>());
  } else if (field == "words") {
    ASSIGN_OR_RETURN(const std::vector<std::string> words, Texts(value, field));
    ASSIGN_OR_RETURN(patterns.emplace_back(), Compile(PatternOf(words), /*ignore_case=*/true, field));
  } else if (field == "pattern") {
    ASSIGN_OR_RETURN(const std::string pattern, Text(value, field));
    ASSIGN_OR_RETURN(patterns.emplace_back(), Compile(pattern, /*ignore_case=*/false, field));
  } else {
    return Wrong(field, "is not known");
  }
  return absl::OkStatus();
}

bool RuleTable::Rule::Holds(const PolicyQuestion& question) const {
  if (!tenants.empty() && !tenants.contains(question.tenant.id)) return false;
  if (!purposes.empty() && !purposes.contains(question.purpose)) return false;
  if (over.has_value() && question.spec.duration <= *over) return false;
  const auto is_named = [this](const Adapter& asked) {
    return adapters.contains("*") || adapters.contains(asked.name);
  };
  if (!adapters.empty() && !std::any_of(question.spec.adapters.begin(), question.spec.adapters.end(), is_named)) {
    return false;
  }
  if (patterns.empty()) return true;
  const auto matches = [this](const std::string& prompt) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&prompt](const auto& pattern) { return RE2::PartialMatch(prompt, *pattern); });
  };
  const std::vector<PromptChange>& changes = question.spec.prompt_changes;
  return matches(question.spec.prompt) || std::any_of(changes.begin(), changes.end(), [&](const PromptChange& change) {
           return matches(change.prompt);
         });
}

absl::StatusOr<RuleTable> RuleTable::Parse(const std::string& path, const std::string& text) {
  const json parsed = JsonNestsDeeper(text) ? json() : json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object() || parsed.size() != 1 || !parsed.contains("rules") || !parsed["rules"].is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is no JSON object with a list of \"rules\" alone"));
  }
  RuleTable table;
  for (const json& given : parsed["rules"]) {
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": rule ", table.rules_.size() + 1, ": ", what));
    };
    if (!given.is_object()) return error("is no object");
    // A rule that forgets to say so would refuse everything, or nothing.
    if (!given.contains("decision")) return error("decision: is missing");
    Rule rule;
    for (const auto& [field, value] : given.items()) {
      if (const absl::Status read = rule.Read(field, value); !read.ok()) return error(read.message());
    }
    table.rules_.push_back(std::move(rule));
  }
  return table;
}

Verdict RuleTable::Judge(const PolicyQuestion& question) const {
  for (const Rule& rule : rules_) {
    if (rule.Holds(question)) return rule.verdict;
  }
  return {.allowed = true};
}

}  // namespace longtake::server
