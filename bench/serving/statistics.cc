#include "bench/serving/statistics.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace longtake::bench {
namespace {

// Student's t at 97.5 %, by degrees of freedom from 1; beyond them the last, which is the safer one.
constexpr double kStudent[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};

}  // namespace

Interval MeanOf(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (double value : values) sum += value;
  const double mean = sum / n;
  if (values.size() < 2) return {mean, std::numeric_limits<double>::infinity()};
  for (double value : values) squares += (value - mean) * (value - mean);
  const double t = kStudent[std::min(values.size() - 1, std::size(kStudent)) - 1];
  return {mean, t * std::sqrt(squares / (n - 1) / n)};
}

Interval Difference(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> values;
  for (size_t i = 0; i < a.size(); ++i) values.push_back(a[i] - b[i]);
  return MeanOf(values);
}

Interval Ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> values;
  for (size_t i = 0; i < a.size(); ++i) values.push_back(a[i] / b[i]);
  return MeanOf(values);
}

}  // namespace longtake::bench
