#include "clients/cli/load/report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/percentile.h"

namespace longtake::client {
namespace {

nlohmann::json Percentiles(const std::vector<double>& values) {
  return {{"p50", Percentile(values, 0.5)}, {"p95", Percentile(values, 0.95)}, {"p99", Percentile(values, 0.99)}};
}

nlohmann::json Json(const Record& r) {
  nlohmann::json out = {{"asked", r.asked},         {"ended", r.ended},           {"end", NameOf(r.end)},
                        {"live", !r.visit.offline}, {"seconds", r.visit.seconds}, {"chunks", r.chunks}};
  if (!r.visit.size.empty()) out["size"] = r.visit.size;
  if (r.visit.slow) out["slow"] = true;
  if (r.first_chunk >= 0) {
    out["first_chunk"] = r.first_chunk - r.asked;
    out["stalls"] = r.playout.stalls();
    out["stall_seconds"] = absl::ToDoubleSeconds(r.playout.stalled());
  }
  if (r.quoted >= 0) out["quoted"] = r.quoted;
  if (!r.error.empty()) out["error"] = r.error;
  return out;
}

}  // namespace

Timeline::Second& Timeline::Bin(double at) {
  const auto second = static_cast<size_t>(std::max(0.0, at));
  if (second >= seconds_.size()) seconds_.resize(second + 1);
  return seconds_[second];
}

double Timeline::Video(int begin, int end) const {
  double video = 0;
  for (int i = std::max(0, begin); i < end && i < static_cast<int>(seconds_.size()); ++i) video += seconds_[i].video;
  return video;
}

nlohmann::json Timeline::Json() const {
  nlohmann::json video = nlohmann::json::array(), stalls = video, refused = video, watching = video;
  for (const Second& second : seconds_) {
    video.push_back(second.video);
    stalls.push_back(second.stalls);
    refused.push_back(second.refused);
    watching.push_back(second.watching);
  }
  return {{"video_s", video}, {"stalls", stalls}, {"refused", refused}, {"watching", watching}};
}

nlohmann::json Report(const std::vector<Record>& records, const Timeline& timeline, const LoadTotals& totals) {
  std::map<End, int> ends;
  int live = 0, admitted = 0, judged = 0, smooth = 0, late = 0, stalls = 0;
  double stall_seconds = 0, video = 0;
  std::vector<double> first, refusals, quoted_over_actual;
  int quotes = 0, kept = 0;
  std::string error;
  nlohmann::json each = nlohmann::json::array();
  for (const Record& r : records) {
    ++ends[r.end];
    each.push_back(Json(r));
    video += absl::ToDoubleSeconds(r.playout.arrived());
    if (error.empty()) error = r.error;
    if (r.end == End::kRefused) refusals.push_back(1000 * (r.ended - r.asked));
    admitted += r.accepted >= 0;
    if (r.visit.offline) continue;
    ++live;
    if (r.first_chunk >= 0) first.push_back(r.first_chunk - r.asked);
    if (r.quoted >= 0 && r.first_chunk >= 0) {
      ++quotes;
      kept += !r.first_chunk_late();
      quoted_over_actual.push_back(r.quoted / first.back());
    } else if (r.first_chunk_late()) {
      ++quotes;  // waited in vain
    }
    if (r.accepted < 0) continue;
    const bool gone = r.end == End::kLeft || r.end == End::kCut;
    if (gone && !r.playout.started() && !r.first_chunk_late()) continue;  // nothing to judge yet
    ++judged;
    late += r.first_chunk_late();
    smooth += r.end != End::kFailed && r.playout.stalls() == 0 && !r.first_chunk_late();
    stalls += r.playout.stalls();
    stall_seconds += absl::ToDoubleSeconds(r.playout.stalled());
  }
  const int begin = static_cast<int>(totals.warm), end = static_cast<int>(totals.ended);
  const nlohmann::json seconds = timeline.Json();
  double watching = 0;
  for (int i = begin; i < end && i < static_cast<int>(seconds["watching"].size()); ++i) {
    watching += seconds["watching"][i].get<double>();
  }
  nlohmann::json out = {
      {"seconds", totals.ended},
      {"viewers", records.size()},
      {"live", live},
      {"admitted", admitted},
      {"finished", ends[End::kFinished]},
      {"refused", ends[End::kRefused]},
      {"left", ends[End::kLeft]},
      {"cut", ends[End::kCut]},
      {"failed", ends[End::kFailed]},
      {"first_chunk_s", Percentiles(first)},
      {"judged", judged},
      {"continuity", judged == 0 ? 1.0 : static_cast<double>(smooth) / judged},
      {"late_first_chunks", late},
      {"stalls", stalls},
      {"stall_s", stall_seconds},
      {"watching_mean", end > begin ? watching / (end - begin) : 0.0},
      {"video_s", video},
      {"video_s_per_s", end > begin ? timeline.Video(begin, end) / (end - begin) : 0.0},
      {"quotes", quotes},
      {"quote_kept", quotes == 0 ? 1.0 : static_cast<double>(kept) / quotes},
      {"quote_over_actual_p50", Percentile(quoted_over_actual, 0.5)},
      {"refuse_ms", Percentiles(refusals)},
      {"client_cpu_s", totals.cpu_seconds},
  };
  if (!error.empty()) out["error"] = error;
  out["timeline"] = seconds;
  out["each"] = std::move(each);
  return out;
}

std::string Table(const nlohmann::json& r) {
  std::string out;
  const auto line = [&](const char* name, const std::string& value) {
    absl::StrAppendFormat(&out, "%-24s%s\n", name, value);
  };
  const auto count = [&](const char* key) { return r[key].get<int64_t>(); };
  const auto number = [&](const char* key) { return r[key].get<double>(); };
  const auto three = [&](const char* key, const char* format_unit) {
    const nlohmann::json& p = r[key];
    return absl::StrFormat("%.3f  %.3f  %.3f %s", p["p50"].get<double>(), p["p95"].get<double>(),
                           p["p99"].get<double>(), format_unit);
  };
  line("viewers", absl::StrCat(count("viewers"), ", ", count("live"), " of them live, in ",
                               absl::StrFormat("%.1f s", number("seconds"))));
  line("accepted", absl::StrCat(count("admitted"), ": ", count("finished"), " finished, ", count("left"), " left, ",
                                count("cut"), " cut at the end, ", count("failed"), " failed"));
  line("refused",
       count("refused") == 0 ? "0" : absl::StrCat(count("refused"), ", after p50 p95 p99  ", three("refuse_ms", "ms")));
  line("first chunk p50 p95 p99", three("first_chunk_s", "s"));
  if (count("quotes") > 0) {
    line("quoted first chunk", absl::StrFormat("%.4f of %d kept, quoted / actual p50 %.2f", number("quote_kept"),
                                               count("quotes"), number("quote_over_actual_p50")));
  }
  line("continuity", absl::StrFormat("%.4f of %d viewers", number("continuity"), count("judged")));
  line("stalls", absl::StrFormat("%d, %.2f s", count("stalls"), number("stall_s")));
  line("watching", absl::StrFormat("%.2f viewers on average", number("watching_mean")));
  line("video", absl::StrFormat("%.1f s, %.2f s made per second", number("video_s"), number("video_s_per_s")));
  line("this program's CPU", absl::StrFormat("%.2f s", number("client_cpu_s")));
  if (r.contains("error")) line("first error", r["error"].get<std::string>());
  return out;
}

}  // namespace longtake::client
