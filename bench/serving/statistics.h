// What a few seeds say: a mean and how far it can be trusted.
#ifndef LONGTAKE_BENCH_SERVING_STATISTICS_H_
#define LONGTAKE_BENCH_SERVING_STATISTICS_H_

#include <vector>

namespace longtake::bench {

struct Interval {
  double mean = 0;
  double half = 0;  // the true mean lies within mean ± half with 95 % confidence; infinite for one value
  // Zero lies outside. Of paired differences: the two differ significantly.
  bool excludes_zero() const { return mean > half || mean < -half; }
};

// Student's interval.
Interval MeanOf(const std::vector<double>& values);
// Of a[i] - b[i] and a[i] / b[i]; i is a seed, so that what both have from the trace cancels.
Interval Difference(const std::vector<double>& a, const std::vector<double>& b);
Interval Ratio(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_STATISTICS_H_
