#include "scheduler/forecast.h"

#include <algorithm>

namespace longtake::scheduler {

namespace {

// Rounding, over a sum of thousands.
constexpr double kRounding = 1e-9;

}  // namespace

double Demand::length() const {
  double sum = 0;
  for (const Slope& slope : slopes) sum += slope.length;
  return sum;
}

double Demand::total() const {
  double sum = work;
  for (const Slope& slope : slopes) sum += slope.rate * slope.length;
  return sum;
}

void Forecast::Add(const Demand& demand) {
  // A stream that is late does not play meanwhile: what follows is due from now on.
  double at = std::max(0.0, demand.at);
  turns_.push_back({at, demand.work, 0});
  for (const Demand::Slope& slope : demand.slopes) {
    if (slope.length <= 0) continue;
    turns_.push_back({at, 0, slope.rate});
    at += slope.length;
    turns_.push_back({at, 0, -slope.rate});
  }
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
  if (next.work > capacity_ * next.at + kRounding) return false;
  const double from = start + next.at;
  Forecast own(capacity_, company_);
  Demand moved = next;
  moved.at = from;
  own.Add(moved);
  // The sum is linear between turns, so it is above the lane's line somewhere only if it is there at a turn.
  double due = 0, slope = 0, last = 0;
  auto mine = own.turns_.begin();
  auto theirs = turns_.begin();
  while (mine != own.turns_.end() || theirs != turns_.end()) {
    const bool is_mine = theirs == turns_.end() || (mine != own.turns_.end() && mine->at < theirs->at);
    const Turn& turn = is_mine ? *mine++ : *theirs++;
    due += slope * (turn.at - last);
    if (turn.at >= from && due > capacity_ * turn.at + kRounding) return false;
    due += turn.step;
    slope += turn.slope;
    last = turn.at;
    if (turn.at >= from && due > capacity_ * turn.at + kRounding) return false;
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
