#include "server/access/quota_table.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/json_depth.h"
#include "common/status_macros.h"

namespace longtake::server {
namespace {

using nlohmann::json;

struct Field {
  const char* name;
  std::optional<double> Quota::*value;
  bool whole;       // a number of things
  bool above_zero;  // 0 would be no limit but an end
  double most;
};
constexpr double kMost = 1e12;
constexpr std::array<Field, 5> kFields = {{
    {"concurrent_videos", &Quota::concurrent_videos, true, false, kMost},
    {"device_seconds_a_day", &Quota::device_seconds_a_day, false, false, kMost},
    {"queue_share", &Quota::queue_share, false, false, 1},
    {"calls_a_second", &Quota::calls_a_second, false, true, kMost},
    {"watches", &Quota::watches, true, false, kMost},
}};

// What `given` says, and for the rest `others`.
absl::StatusOr<Quota> Read(const json& given, const Quota& others) {
  if (!given.is_object()) return absl::InvalidArgumentError("is no object");
  Quota quota = others;
  for (const auto& [name, value] : given.items()) {
    const Field* field = nullptr;
    for (const Field& known : kFields) {
      if (name == known.name) field = &known;
    }
    if (field == nullptr) return absl::InvalidArgumentError(absl::StrCat(name, ": is no quota"));
    if (value.is_null()) {  // no limit, whatever "*" says
      (quota.*field->value).reset();
      continue;
    }
    const double number = value.is_number() ? value.get<double>() : -1;
    if (number < 0 || number > field->most || (field->above_zero && number == 0) ||
        (field->whole && number != std::floor(number))) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": is no ", field->whole ? "whole " : "", "number ",
                                                     field->above_zero ? "above 0" : "from 0",
                                                     field->most == 1 ? " to 1" : ""));
    }
    quota.*field->value = number;
  }
  return quota;
}

}  // namespace

absl::StatusOr<QuotaTable> QuotaTable::Parse(const std::string& path, const std::string& text) {
  const auto error = [&path](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
  };
  const json parsed = JsonNestsDeeper(text) ? json() : json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return error("is no JSON object");
  QuotaTable table;
  const auto read = [&](const std::string& tenant, const json& given, Quota& quota) -> absl::Status {
    absl::StatusOr<Quota> made = Read(given, table.others_);
    if (!made.ok()) return error(absl::StrCat("\"", tenant, "\": ", std::string(made.status().message())));
    quota = *made;
    return absl::OkStatus();
  };
  if (parsed.contains("*")) RETURN_IF_ERROR(read("*", parsed["*"], table.others_));
  for (const auto& [tenant, given] : parsed.items()) {
    if (tenant != "*") RETURN_IF_ERROR(read(tenant, given, table.tenants_[tenant]));
  }
  return table;
}

const Quota& QuotaTable::Of(const Tenant& tenant) const {
  const auto found = tenants_.find(tenant.id);
  return found == tenants_.end() ? others_ : found->second;
}

}  // namespace longtake::server
