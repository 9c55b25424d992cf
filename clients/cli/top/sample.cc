#include "clients/cli/top/sample.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace longtake::client {
namespace {

using nlohmann::json;

// Of a field that is missing, or null: what it stands for in an older server.
template <typename T>
T Get(const json& from, const char* field, T otherwise = {}) {
  const auto found = from.find(field);
  return found == from.end() || found->is_null() ? otherwise : found->get<T>();
}

VideoRow ToVideo(const json& from) {
  VideoRow row{.name = Get<std::string>(from, "name"),
               .tenant = Get<std::string>(from, "tenant"),
               .state = Get<std::string>(from, "state"),
               .delivery = Get<std::string>(from, "delivery"),
               .blocks = Get<int>(from, "blocks"),
               .blocks_total = Get<int>(from, "blocks_total"),
               .viewers = Get<int>(from, "viewers"),
               .age_seconds = Get<double>(from, "age_seconds")};
  if (from.contains("lead_seconds") && from["lead_seconds"].is_number()) row.lead_seconds = from["lead_seconds"];
  return row;
}

}  // namespace

double Sample::Metric(const std::string& name) const {
  const auto found = metrics.find(name);
  return found == metrics.end() ? 0 : found->second;
}

std::string Sample::Label(const std::string& name, const std::string& label) const {
  const auto found = metrics.lower_bound(name + "{");
  if (found == metrics.end() || !absl::StartsWith(found->first, name + "{")) return "";
  const std::string begin = label + "=\"";
  const size_t at = found->first.find(begin);
  if (at == std::string::npos) return "";
  const size_t from = at + begin.size();
  return found->first.substr(from, found->first.find('"', from) - from);
}

absl::StatusOr<Sample> ParseSample(absl::Time time, const std::string& metrics, const std::string& status) {
  Sample sample{.time = time};
  for (const absl::string_view line : absl::StrSplit(metrics, '\n', absl::SkipEmpty())) {
    if (line.front() == '#') continue;
    // A label's value may have blanks, the value has none.
    const size_t blank = line.rfind(' ');
    double value = 0;
    if (blank == absl::string_view::npos || !absl::SimpleAtod(line.substr(blank + 1), &value)) {
      return absl::InvalidArgumentError(absl::StrCat("/metrics: not understood: ", line));
    }
    sample.metrics[std::string(line.substr(0, blank))] = value;
  }
  try {
    const json parsed = json::parse(status);
    for (const json& video : parsed.at("videos")) sample.videos.push_back(ToVideo(video));
    for (const json& use : parsed.at("quotas")) {
      sample.quotas.push_back({Get<std::string>(use, "tenant"), Get<std::string>(use, "quota"),
                               Get<double>(use, "used"), Get<double>(use, "limit")});
    }
    sample.ended_videos = Get<int>(parsed, "ended_videos");
    sample.max_sessions = Get<int>(parsed, "max_sessions");
    sample.chunk_bytes = Get<double>(parsed, "chunk_bytes");
    if (parsed.contains("store")) {
      sample.store = Get<std::string>(parsed["store"], "directory");
      sample.store_limit_bytes = Get<double>(parsed["store"], "limit_bytes");
    }
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("/status: not understood: ", error.what()));
  }
  return sample;
}

}  // namespace longtake::client
