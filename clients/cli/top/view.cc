#include "clients/cli/top/view.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace longtake::client {
namespace {

constexpr int kBarWidth = 20;
constexpr double kGiB = 1 << 30;

// The kinds of passes that a lane runs. Where the device runs all of them on one lane the two shares add up to its own.
struct LaneKinds {
  const char* name;
  std::array<const char*, 3> kinds;  // null: no more
};
constexpr std::array<LaneKinds, 2> kLanes = {
    {{"transformer", {"encode_prompt", "denoise", "commit"}}, {"decoder", {"decode", nullptr, nullptr}}}};

std::string Printable(std::string text, size_t most) {
  for (char& c : text) {
    if (!absl::ascii_isprint(c)) c = '?';
  }
  if (text.size() > most) text = text.substr(0, most - 1) + "~";
  return text;
}

std::string Age(double seconds) {
  const auto whole = static_cast<int64_t>(std::max(0.0, seconds));
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string Bar(double share) {
  const int full = std::clamp(static_cast<int>(std::lround(share * kBarWidth)), 0, kBarWidth);
  return absl::StrCat("[", std::string(full, '#'), std::string(kBarWidth - full, '.'), "]");
}

// What was added between two samples, a second.
class Rates {
 public:
  Rates(const Sample* before, const Sample& now)
      : before_(before), now_(now), seconds_(before == nullptr ? 0 : absl::ToDoubleSeconds(now.time - before->time)) {}
  bool known() const { return seconds_ > 0; }
  double Added(const std::string& metric) const { return now_.Metric(metric) - before_->Metric(metric); }
  double Rate(const std::string& metric) const { return Added(metric) / seconds_; }

 private:
  const Sample* const before_;
  const Sample& now_;
  const double seconds_;
};

void AddDevice(const Rates& rates, const Sample& now, std::vector<std::string>& lines) {
  for (const LaneKinds& lane : kLanes) {
    if (!rates.known()) {
      lines.push_back(absl::StrFormat("%-12s busy      -", lane.name));
      continue;
    }
    double share = 0, passes = 0;
    for (const char* kind : lane.kinds) {
      if (kind == nullptr) continue;
      share += rates.Rate(absl::StrCat("longtake_pass_device_seconds_sum{kind=\"", kind, "\"}"));
      passes += rates.Rate(absl::StrCat("longtake_pass_device_seconds_count{kind=\"", kind, "\"}"));
    }
    lines.push_back(
        absl::StrFormat("%-12s busy %5.1f %% %s %8.1f passes/s", lane.name, 100 * share, Bar(share), passes));
  }
  std::string batches = "batches      ";
  const double count = rates.known() ? rates.Added("longtake_batch_passes_count") : 0;
  if (count > 0) {
    absl::StrAppendFormat(&batches, "%.2f passes each, ", rates.Added("longtake_batch_passes_sum") / count);
  }
  absl::StrAppendFormat(&batches, "%.0f passes in flight", now.Metric("longtake_passes_in_flight"));
  if (rates.known()) {
    absl::StrAppendFormat(&batches, ", %.2f s of video/s sent", rates.Rate("longtake_video_seconds_total"));
  }
  lines.push_back(std::move(batches));
}

void AddQueue(const Sample& now, std::vector<std::string>& lines) {
  const auto sessions = [&now](const char* state) {
    return now.Metric(absl::StrCat("longtake_sessions{state=\"", state, "\"}"));
  };
  lines.push_back(absl::StrFormat("places       %d: %.0f active, %.0f ahead, %.0f parked, %.0f asleep",
                                  now.max_sessions, sessions("active"), sessions("ahead"), sessions("parked"),
                                  sessions("asleep")));
  lines.push_back(absl::StrFormat(
      "queue        %.0f live, %.0f offline; backlog %.1f s live, %.1f s offline; live load %.0f %%",
      now.Metric("longtake_queue_length{delivery=\"live\"}"), now.Metric("longtake_queue_length{delivery=\"offline\"}"),
      now.Metric("longtake_backlog_seconds{delivery=\"live\"}"),
      now.Metric("longtake_backlog_seconds{delivery=\"offline\"}"), 100 * now.Metric("longtake_live_load_ratio")));
  lines.push_back(absl::StrFormat(
      "viewers      %.0f of live videos, %.0f of them have stalled; %.0f stalls",
      now.Metric("longtake_live_viewers{stalled=\"true\"}") + now.Metric("longtake_live_viewers{stalled=\"false\"}"),
      now.Metric("longtake_live_viewers{stalled=\"true\"}"), now.Metric("longtake_stalls_total")));
  std::string store = absl::StrFormat("chunks       %.2f GiB", now.chunk_bytes / kGiB);
  if (!now.store.empty()) {
    absl::StrAppendFormat(&store, " of at most %.2f GiB in %s, %.0f videos not stored", now.store_limit_bytes / kGiB,
                          Printable(now.store, 40), now.Metric("longtake_store_failures_total"));
  }
  lines.push_back(std::move(store));
}

void AddQuotas(const Sample& now, std::vector<std::string>& lines) {
  if (now.quotas.empty()) return;
  lines.push_back("");
  lines.push_back(absl::StrFormat("%-16s %-22s %12s %12s", "TENANT", "QUOTA", "USED", "LIMIT"));
  for (const QuotaRow& row : now.quotas) {
    lines.push_back(absl::StrFormat("%-16s %-22s %12.6g %12.6g", Printable(row.tenant, 16), Printable(row.quota, 22),
                                    row.used, row.limit));
  }
}

std::string VideoLine(const VideoRow& row) {
  const std::string lead = row.lead_seconds.has_value() ? absl::StrFormat("%.1f s", *row.lead_seconds) : "-";
  return absl::StrFormat("%-16s %-9s %-8s %5d/%-5d %9s %7d %9s  %s",
                         Printable(std::string(absl::StripPrefix(row.name, "videos/")), 16), Printable(row.state, 9),
                         Printable(row.delivery, 8), row.blocks, row.blocks_total, lead, row.viewers,
                         Age(row.age_seconds), Printable(row.tenant.empty() ? "(none)" : row.tenant, 24));
}

// The videos, in the rows that are left.
void AddVideos(const Sample& now, int rows, std::vector<std::string>& lines) {
  lines.push_back("");
  lines.push_back(absl::StrFormat("%-16s %-9s %-8s %11s %9s %7s %9s  %s", "VIDEO", "STATE", "DELIVERY", "BLOCKS",
                                  "LEAD", "VIEWERS", "AGE", "TENANT"));
  size_t shown = now.videos.size();
  if (rows > 0) {
    const int left = std::max(0, rows - static_cast<int>(lines.size()));
    if (shown > static_cast<size_t>(left)) shown = std::max(0, left - 1);  // a line says how many more there are
  }
  for (size_t i = 0; i < shown; ++i) lines.push_back(VideoLine(now.videos[i]));
  if (shown < now.videos.size()) lines.push_back(absl::StrFormat("... and %d more", now.videos.size() - shown));
}

}  // namespace

std::vector<std::string> View(const Sample* before, const Sample& now, ViewSize size) {
  const Rates rates(before, now);
  const std::string model = now.Label("longtake_model_info", "model");
  std::vector<std::string> lines = {
      absl::StrFormat("longtake %s (commit %s)  %s  %d videos wait or are made, %d have ended",
                      Printable(now.Label("longtake_build_info", "version"), 16),
                      Printable(now.Label("longtake_build_info", "commit"), 20),
                      model.empty() ? "the model is being loaded" : Printable("model " + model, 32), now.videos.size(),
                      now.ended_videos),
      ""};
  AddDevice(rates, now, lines);
  AddQueue(now, lines);
  AddQuotas(now, lines);
  AddVideos(now, size.rows, lines);
  if (size.rows > 0 && lines.size() > static_cast<size_t>(size.rows)) lines.resize(size.rows);
  if (size.columns > 0) {
    for (std::string& line : lines) line = line.substr(0, size.columns);
  }
  return lines;
}

}  // namespace longtake::client
