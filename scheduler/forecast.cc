#include "scheduler/forecast.h"

#include <algorithm>
#include <array>

namespace longtake::scheduler {

void Forecast::Add(const Demand& demand) {
  const double at = std::max(0.0, demand.at);
  turns_.push_back({at, demand.work, demand.rate});
  // What is late already does not play meanwhile: its viewer waits.
  turns_.push_back({at + demand.length, 0, -demand.rate});
  total_ += demand.total();
}

void Forecast::Sort() {
  std::sort(turns_.begin(), turns_.end(), [](const Turn& a, const Turn& b) { return a.at < b.at; });
}

std::vector<double> Forecast::DoneBy(std::vector<double> times) const {
  std::sort(times.begin(), times.end());
  double due = 0, slope = 0, last = 0;
  auto turn = turns_.begin();
  for (double& time : times) {
    for (; turn != turns_.end() && turn->at <= time; ++turn) {
      due += slope * (turn->at - last) + turn->step;
      slope += turn->slope;
      last = turn->at;
    }
    time = (due + slope * std::max(0.0, time - last)) / capacity_;
  }
  return times;
}

double Forecast::FirstChunk(double work) const {
  // From then on the device's line is `work` above the sum of demands.
  double room = 0, slope = 0, last = 0, from = 0;
  for (const Turn& turn : turns_) {
    const double gain = capacity_ - slope, before = room + gain * (turn.at - last);
    if (room < work && before >= work) from = last + (work - room) / gain;
    room = before - turn.step;
    if (room < work) from = turn.at;
    slope += turn.slope;
    last = turn.at;
  }
  return room < work ? last + (work - room) / capacity_ : from;
}

bool Forecast::Fits(const Demand& next, double start) const {
  const double from = start + next.at, until = from + next.length;
  if (next.work > capacity_ * next.at + 1e-9 || (next.length > 0 && next.rate > capacity_)) return false;
  const std::array<Turn, 2> own = {Turn{from, next.work, next.rate}, Turn{until, 0, -next.rate}};
  // The sum is linear between turns, so it is above the device's line somewhere only if it is there at a turn.
  double due = 0, slope = 0, last = 0;
  auto mine = own.begin();
  auto theirs = turns_.begin();
  while (mine != own.end() || theirs != turns_.end()) {
    const bool is_mine = theirs == turns_.end() || (mine != own.end() && mine->at < theirs->at);
    const Turn& turn = is_mine ? *mine++ : *theirs++;
    due += slope * (turn.at - last);
    // Rounding, over a sum of thousands.
    if (turn.at >= from && due > capacity_ * turn.at + 1e-9) return false;
    due += turn.step;
    slope += turn.slope;
    last = turn.at;
    if (turn.at >= from && due > capacity_ * turn.at + 1e-9) return false;
  }
  return true;
}

double Forecast::EarliestStart(const Demand& next) const {
  if (Fits(next, 0)) return 0;
  double no = 0, yes = total_ / capacity_;
  while (yes - no > std::max(0.02, 0.02 * no)) {
    const double middle = (no + yes) / 2;
    (Fits(next, middle) ? yes : no) = middle;
  }
  return yes;
}

}  // namespace longtake::scheduler
