// What a load test measured, from the records of its viewers.
#ifndef LONGTAKE_CLIENTS_CLI_LOAD_REPORT_H_
#define LONGTAKE_CLIENTS_CLI_LOAD_REPORT_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "clients/cli/load/viewer.h"

namespace longtake::client {

// Events a second of the test.
class Timeline {
 public:
  void AddVideo(double at, double seconds) { Bin(at).video += seconds; }
  void AddStall(double at) { ++Bin(at).stalls; }
  void AddRefusal(double at) { ++Bin(at).refused; }
  void SetWatching(double at, int viewers) { Bin(at).watching = viewers; }
  // Seconds of video that arrived from `begin` to `end`, whole seconds. Before 0 none did.
  double Video(int begin, int end) const;
  nlohmann::json Json() const;  // arrays, one number a second

 private:
  struct Second {
    double video = 0;
    int stalls = 0, refused = 0, watching = 0;
  };
  Second& Bin(double at);
  std::vector<Second> seconds_;
};

struct LoadTotals {
  double warm = 0, ended = 0;  // the rate is that of the seconds between
  double cpu_seconds = 0;      // of this program
};

// "first_chunk_s": {"p50", "p95", "p99"} from the request to the first chunk, of live viewers that got one.
// "judged": live viewers that were accepted, except those that had gone before their first chunk was promised.
// "continuity": the share of them whose first chunk came by the promised moment, if one was promised, and whose picture
// never stood still: not for the last chunk, nor when they went.
// "late_first_chunks": of "judged", those whose promise was broken.
// "watching_mean": live viewers whose picture had started and not ended, mean over the seconds after `warm`.
// "quotes": accepted live viewers that were promised a first chunk, and got it or waited until the promised moment.
// "quote_kept": the share that had it by then, by the viewer's clock. "quote_over_actual_p50": of those that got it.
// "refuse_ms": from the request to the refusal. "each": the viewers one by one.
nlohmann::json Report(const std::vector<Record>& records, const Timeline& timeline, const LoadTotals& totals);

// The same as a table.
std::string Table(const nlohmann::json& report);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_LOAD_REPORT_H_
