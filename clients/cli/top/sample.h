// What a server says of itself at one moment.
#ifndef LONGTAKE_CLIENTS_CLI_TOP_SAMPLE_H_
#define LONGTAKE_CLIENTS_CLI_TOP_SAMPLE_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace longtake::client {

struct VideoRow {
  std::string name, tenant, state, delivery;
  int blocks = 0, blocks_total = 0, viewers = 0;
  std::optional<double> lead_seconds;  // nothing: nobody watches
  double age_seconds = 0;
};

struct QuotaRow {
  std::string tenant, quota;
  double used = 0, limit = 0;
};

struct Sample {
  absl::Time time;
  std::map<std::string, double> metrics;  // by their names with labels, as /metrics spells them
  std::vector<VideoRow> videos;           // that wait or are being made
  std::vector<QuotaRow> quotas;
  int ended_videos = 0;
  int max_sessions = 0;  // 0: the model is being loaded
  double chunk_bytes = 0;
  std::string store;  // its directory; empty: there is none
  double store_limit_bytes = 0;

  // 0: there is none of this name.
  double Metric(const std::string& name) const;
  // The value of a label of the only metric of this name.
  std::string Label(const std::string& name, const std::string& label) const;
};

// From the bodies of /metrics and /status. The error names the one that is not understood.
absl::StatusOr<Sample> ParseSample(absl::Time time, const std::string& metrics, const std::string& status);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_TOP_SAMPLE_H_
