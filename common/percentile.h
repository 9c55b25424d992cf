// Percentiles of measured values.
#ifndef LONGTAKE_COMMON_PERCENTILE_H_
#define LONGTAKE_COMMON_PERCENTILE_H_

#include <vector>

namespace longtake {

// Returns the smallest of the values that at least this share of them does not exceed; 0 if there are none.
double Percentile(std::vector<double> values, double share);

}  // namespace longtake

#endif  // LONGTAKE_COMMON_PERCENTILE_H_
