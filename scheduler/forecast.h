// Private to scheduler/: whether all live streams of a lane would be in time, before anything is promised to one more.
#ifndef LONGTAKE_SCHEDULER_FORECAST_H_
#define LONGTAKE_SCHEDULER_FORECAST_H_

#include <array>
#include <vector>

namespace longtake::scheduler {

// What one live stream needs of a lane and by when. Seconds; times count from now.
struct Demand {
  // Work that is due evenly over some time: `rate` lane seconds a second, for `length` seconds.
  struct Slope {
    double rate = 0, length = 0;
  };

  double at = 0;                     // the next chunk is due
  double work = 0;                   // lane seconds that it still needs
  std::array<Slope, 3> slopes = {};  // what is due after it, one after the other

  double length() const;
  double total() const;
};

// The demand-bound test of earliest-deadline-first scheduling: streams on one lane can all be in time if and only if,
// for every moment t, what is due by t is not more than the lane can do by t. Work within a block counts as if it were
// due bit by bit while what comes before it plays, which asks for no less at any moment.
class Forecast {
 public:
  // `capacity`: lane seconds a second that may be promised. `company`: streams that share the batches.
  Forecast(double capacity, int company) : capacity_(capacity), company_(company) {}

  void Add(const Demand& demand);
  // Before the questions below. n log n.
  void Sort();

  double capacity() const { return capacity_; }
  int company() const { return company_; }
  // When all that is due by each of these times can be done, if it goes first. In their order; n log n.
  std::vector<double> DoneBy(std::vector<double> times) const;
  // When the first chunk of a stream that starts now can be there without making anybody's next ones late. Linear.
  double FirstChunk(double work) const;
  // Whether nobody would be late from next.at on, with `next` moved by `start`. Linear.
  bool Fits(const Demand& next, double start) const;
  // The least start with which it fits, up to a fiftieth. It is at the latest when all that is there is done.
  double EarliestStart(const Demand& next) const;

 private:
  struct Turn {
    double at = 0, step = 0, slope = 0;  // the sum of all demands rises by `step` at once, and its slope changes
  };
  const double capacity_;
  const int company_;
  std::vector<Turn> turns_;  // by time
  double total_ = 0;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_FORECAST_H_
